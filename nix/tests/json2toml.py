"""JSON on stdin -> TOML on stdout: the part of nixpkgs' `formats.toml` that the tests need. `toml` would do, but not
everywhere; TOML of JSON is this short."""

import json
import sys


def inline(value):
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(key)} = {inline(child)}" for key, child in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def table(path, value):
    tables = {key: child for key, child in value.items() if isinstance(child, dict)}
    if path and (len(value) > len(tables) or not tables):
        print(f"\n[{'.'.join(map(json.dumps, path))}]")
    for key, child in value.items():
        if key not in tables:
            print(f"{json.dumps(key)} = {inline(child)}")
    for key, child in tables.items():
        table([*path, key], child)


table([], json.load(sys.stdin))
