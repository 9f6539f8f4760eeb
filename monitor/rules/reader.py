"""YAML 1.2 as editors read it, by PyYAML's parser, which by itself knows YAML 1.1: there `off:` is a field
named false, `22:00` the number 1320, and `2026-11-22` a date."""

import re

import yaml


class Reader(yaml.SafeLoader):
    """Only the core schema's null, true, false and numbers are more than text."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 (as in the class that it is derived from)


for _kind, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", [*"~nN", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,18}", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
):
    Reader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(rf"(?:{_pattern})\Z"), _first)
