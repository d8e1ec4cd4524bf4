"""make.py SNAPSHOT DIRECTORY: 480 small snapshots, 20 hosts at the 24 hours of a day, out of one.

Each has some of its flows, header and trailer in the form of the format, and is compressed by the zstd tool. On gw7 one
client fills the table between 03:00 and 04:00 and stays.
"""
import json
import pathlib
import subprocess
import sys

sample, fleet = sys.argv[1], pathlib.Path(sys.argv[2])
lines = subprocess.run(["zstd", "-dcq", sample], stdout=subprocess.PIPE, check=True).stdout.splitlines()
header, flows = json.loads(lines[0]), lines[1:-1]
MIDNIGHT = 1_769_817_600  # 2026-01-31T00:00:00Z


def flood(number):
    return json.dumps({"family": "ipv4", "protocol": "tcp", "src": "10.66.6.6", "dst": "192.0.2.7", "sport": 1024 + number,
                       "dport": 443, "status": ["confirmed"], "state": "SYN_SENT", "timeout": 100}).encode()


for host in range(1, 21):
    place = fleet / f"gw{host}"
    place.mkdir(parents=True)
    for hour in range(24):
        seconds = MIDNIGHT + hour * 3600
        # More by day, another part of the sample on each host.
        few = flows[host * 37 + hour::300 - 4 * hour]
        few = few + [flood(number) for number in range(400 if host == 7 and hour > 3 else 0)]
        first = dict(header, host=f"gw{host}", time_ns=seconds * 1_000_000_000 + 123_456_789, count=len(few))
        last = {"trailer": {"flows": len(few), "undecoded": 0, "resized": False}}
        text = b"\n".join([json.dumps(first).encode(), *few, json.dumps(last).encode(), b""])
        (place / f"20260131T{hour:02}0000Z-init.jsonl").write_bytes(text)
subprocess.run(["zstd", "--rm", "-q", "-r", str(fleet)], check=True)
assert len(list(fleet.glob("*/*.jsonl.zst"))) == 480
