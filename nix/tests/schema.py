"""Holds the options to the policy's JSON Schema, which jsonschema judges.

schema.py paths SCHEMA OPTIONS      each key of the schema is an option, and each option a key
schema.py samples SCHEMA            values for each key, as JSON, for accepts.nix
schema.py judge SCHEMA SAMPLES TOOK did the options take what the schema takes, and nothing else?"""

import json
import sys

from jsonschema import Draft202012Validator as Validator

NAME = "x"
VALUES = ["word", "", 7, -1, 1.5, True, None, [], ["word"], [7], [True], {}, {"value": 7}, {"value": []}, {"mode": "no"}]


def load(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def resolve(schema, node):
    if "$ref" in node:
        return schema["$defs"][node["$ref"].rpartition("/")[2]]
    return node


def keys(schema, node, path=()):
    """Each key with the node of its value; a table by name has the name NAME."""
    node = resolve(schema, node)
    for key, child in node.get("properties", {}).items():
        yield (*path, key), child
        yield from keys(schema, child, (*path, key))
    if isinstance(node.get("additionalProperties"), dict):
        yield (*path, NAME), node["additionalProperties"]
        yield from keys(schema, node["additionalProperties"], (*path, NAME))


def words(schema, node):
    node = resolve(schema, node)
    return node.get("enum", []) + [word for part in node.get("anyOf", []) for word in words(schema, part)]


def paths(schema, options):
    prefix = "services.conntidy.settings."
    declared = {
        option["name"][len(prefix):].replace("<name>", NAME)
        for option in options
        if option["name"].startswith(prefix) and "_module" not in option["name"]
    }
    expected = {".".join(path) for path, _ in keys(schema, schema)}
    # A table of names is an option; the table under a name is none of its own.
    expected = {path for path in expected if not path.endswith(f".{NAME}")}
    for path in sorted(expected - declared):
        print(f"the schema has {path}, the options do not")
    for path in sorted(declared - expected):
        print(f"the options have {path}, the schema does not")
    return declared == expected


def samples(schema):
    cases = []
    for path, node in keys(schema, schema):
        for value in VALUES + [word for word in words(schema, node)[:1]]:
            cases.append({"path": path, "value": value})
    json.dump(cases, sys.stdout)
    return True


def judge(schema, cases, took):
    validator = Validator(schema)
    wrong = 0
    for case, accepted in zip(cases, took, strict=True):
        path, value = case["path"], case["value"]
        document = value
        for key in reversed(path):
            document = {key: document}
        # Null leaves a key out; that is the options' own.
        expected = validator.is_valid(document)
        if value is None or is_unknown_key(validator, document):
            continue
        if accepted != expected:
            wrong += 1
            verb = "take" if accepted else "refuse"
            print(f"the options {verb} {'.'.join(path)} = {json.dumps(value)}, the schema does not")
    print(f"{len(cases)} values of {len({tuple(case['path']) for case in cases})} keys: {wrong} judged otherwise than by the schema")
    return wrong == 0


def is_unknown_key(validator, document):
    """Unknown keys are for `conntidy check` to refuse."""

    def said(errors):
        for error in errors:
            yield error.validator
            yield from said(error.context)

    return "additionalProperties" in set(said(validator.iter_errors(document)))


command, *files = sys.argv[1:]
sys.exit(0 if {"paths": paths, "samples": samples, "judge": judge}[command](*map(load, files)) else 1)
