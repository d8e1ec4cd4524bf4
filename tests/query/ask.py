"""ask.py PAGE DIRECTORY: runs the SQL of the page in the directory, and compares it with counted.tsv there."""
import collections
import os
import pathlib
import re
import sys
import time

import duckdb

page, scratch = pathlib.Path(sys.argv[1]).read_text(), sys.argv[2]
os.chdir(scratch)
statements = {}
for block in re.findall(r"^```sql\n(.*?)^```", page, re.M | re.S):
    statements[re.match(r"-- (\w+):", block).group(1)] = block

# The other count, of lines that no SQL touched.
flows = collections.Counter()
for line in open("counted.tsv"):
    host, taken, src, answered = line.rstrip("\n").split("\t")
    flows[host, taken, src, answered == "true"] += 1


def of(**wanted):
    names = ("host", "taken", "src", "answered")
    return sum(n for key, n in flows.items() if all(key[names.index(name)] == value for name, value in wanted.items()))


base = duckdb.connect()
base.execute(statements.pop("flows"))


def ask(name):
    started = time.monotonic()
    rows = base.execute(statements.pop(name)).fetchall()
    print(f"{name}: {len(rows)} rows in {time.monotonic() - started:.2f} s")
    return rows


def at(taken):
    return taken.strftime("%Y-%m-%dT%H:%M:%SZ")


def same(what, found, wanted):
    if found != wanted:
        sys.exit(f"tests/query: {what}: {found!r}, and jq counts {wanted!r}")


same("files that lack flows", ask("incomplete"), [])

first, last = "2026-01-31T00:00:00Z", "2026-01-31T23:00:00Z"
hosts = sorted({key[0] for key in flows})
change = collections.Counter()
for (host, taken, src, _), number in flows.items():
    if taken in (first, last):
        change[host, src] += number if taken == last else -number
wanted = []
for host in hosts:
    grown = sorted((-n, src) for (one, src), n in change.items() if one == host and n > 0)[:3]
    wanted += [(host, src, -n) for n, src in grown]
rows = ask("growers")
same("top growers", [(host, src, growth) for host, src, _, _, growth in rows], wanted)
same("who grew on gw7", [row[1:] for row in rows if row[0] == "gw7"][0], ("10.66.6.6", 0, 400, 400))
for host, src, before, after, _ in rows:
    same(f"{src} on {host}", (before, after), (of(host=host, taken=first, src=src), of(host=host, taken=last, src=src)))

rows = ask("fullest")
same("who filled the fullest table", (rows[0][0], rows[0][3]), ("gw7", "10.66.6.6"))
for host, taken, entries, src, number, unreplied in rows:
    here = {"host": host, "taken": at(taken)}
    same(f"{src} on {host}", (entries, number, unreplied), (of(**here), of(**here, src=src), of(**here, src=src, answered=False)))

rows = ask("hours")
same("times", len(rows), 24)
for taken, number, entries, unreplied in rows:
    same(f"the fleet at {at(taken)}", (number, entries, unreplied),
         (20, of(taken=at(taken)), of(taken=at(taken), answered=False)))

same("statements that nothing checks", list(statements), [])
print(f"tests/query/run: {sum(flows.values())} flows of 480 snapshots, every answer is jq's")
