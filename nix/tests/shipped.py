"""shipped.py SHIPPED RENDERED: the units that the module renders mean what those in systemd/ mean.

Let out: the program's path and policy, the conditions that there is a policy, what systemd does with [Install] (the module's
tests look at that), and NixOS' own keys."""

import pathlib
import sys

PAIRS = {
    "conntidy.service": "conntidy.service",
    "conntidy-module.service": "conntidy-module.service",
    "conntidy-reconcile.service": "conntidy-reconcile.service",
    "conntidy-reconcile.timer": "conntidy-reconcile.timer",
    "conntidy@.service": "conntidy-netns-guests.service",
    "conntidy@.timer": "conntidy-netns-guests.timer",
}
BOOLEANS = {"true": "yes", "false": "no"}


def meaning(path):
    keys, section = set(), None
    for line in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        line = line.strip().replace("%i", "guests")
        if line.startswith("["):
            section = line
        elif line and line[0] not in "#;" and section != "[Install]":
            key, _, value = line.partition("=")
            value = BOOLEANS.get(value, value)
            if key == "ExecStart":
                value = " ".join(word.strip('"') for word in value.split() if word.strip('"').startswith(("apply", "--boot", "--due")))
            if key.startswith("X-") or (key.startswith("ConditionPath") and "conntidy/" in value):
                continue
            lists = key in {"After", "Before", "Wants", "Conflicts", "Documentation"}
            keys.update((section, key, part) for part in (value.split() if lists else [value]))
    return {key for key in keys if key[1] != "Description"}


shipped, rendered = map(pathlib.Path, sys.argv[1:])
ours = {file.name for file in shipped.glob("conntidy*.service")} | {file.name for file in shipped.glob("conntidy*.timer")}
wrong = [f"{name} has no counterpart" for name in sorted(ours ^ set(PAIRS))]
for name, counterpart in PAIRS.items():
    if name not in ours:
        continue
    one, other = meaning(shipped / name), meaning(rendered / counterpart)
    wrong += [f"{name} alone: {' '.join(map(str, key))}" for key in sorted(one - other)]
    wrong += [f"{counterpart} alone: {' '.join(map(str, key))}" for key in sorted(other - one)]
print("\n".join(wrong), end="\n" if wrong else "")
sys.exit(bool(wrong))
