"""What editors are told of the file, and what the reference says of it."""

import re
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from monitor.rules.json_schema import json_schema, main, text
from monitor.rules.loader import default_config, load_config
from monitor.rules.yaml_source import Yaml12Loader

DOCS = Path(__file__).parents[3] / "docs"
SCHEMA = DOCS / "windsock.schema.json"
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", (DOCS / "rules.md").read_text(), re.DOTALL | re.MULTILINE)
DEFAULTS = default_config(["ops@example.com"], ["Airflow_Lab2"])
VALIDATOR = Draft202012Validator(json_schema())


class Environment(dict[str, str]):
    """Whatever the reference's examples take from it."""

    def __missing__(self, name: str) -> str:
        return "whsec_" + b64encode(bytes(32)).decode() if name.endswith("SECRET") else "slack://a/b/c"

    def __contains__(self, name: object) -> bool:
        return True


def as_editors_read_it(block: str) -> Any:
    return yaml.load(block, Loader=Yaml12Loader)  # noqa: S506 (a SafeLoader)


def test_the_schema_is_up_to_date(tmp_path: Path) -> None:
    assert SCHEMA.read_text() == text(), "run: python -m monitor.rules.json_schema"
    main([str(tmp_path / "schema.json")])
    assert (tmp_path / "schema.json").read_text() == text()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_every_field_is_described() -> None:
    schema = json_schema()
    for part in (schema, *schema["$defs"].values()):
        assert part["description"]
        for name, field in part["properties"].items():
            assert field.get("description"), f"{part['description']}: {name}"


@pytest.mark.parametrize("block", BLOCKS)
def test_each_example_of_the_reference_loads_and_pleases_editors(block: str, tmp_path: Path) -> None:
    file = tmp_path / "windsock.yaml"
    file.write_text(block)
    environment = Environment(NOTIFICATION_EMAIL_TO="ops@example.com")
    load_config(file, environment, DEFAULTS)
    assert [error.message for error in VALIDATOR.iter_errors(as_editors_read_it(block))] == []


def test_the_reference_has_a_complete_example() -> None:
    complete = as_editors_read_it(BLOCKS[0])
    assert set(complete) == set(json_schema()["properties"])


def test_the_reference_shows_the_defaults_as_they_are(tmp_path: Path) -> None:
    file = tmp_path / "windsock.yaml"
    file.write_text(BLOCKS[-1])
    nothing = DEFAULTS.model_copy(update={"receivers": {}, "rules": (), "watches": ()})
    assert load_config(file, {"NOTIFICATION_EMAIL_TO": "ops@example.com"}, nothing) == DEFAULTS


@pytest.mark.parametrize(
    "wrong",
    [
        "rules: [{name: a, notify_on: sucess}]",
        "rules: [{name: a, group: {wait: soon}}]",
        "rules: [{name: a, group: {wait: 30}}]",
        "rules: [{name: a, mach: {}}]",
        "rules: [{to: a}]",
        "quiet_hours: {n: {start: 25:00, end: 7:00}}",
        "watches: [{watch: late}]",
        "receivers: {a: {webhook: [{url: x}]}}",
    ],
)
def test_editors_see_what_is_wrong(wrong: str) -> None:
    assert list(VALIDATOR.iter_errors(as_editors_read_it(wrong)))


@pytest.mark.parametrize(
    "right",
    [
        "rules: [{name: a, notify_on: success, to: a, group: {wait: 1h 30m, interval: 0}, repeat: '${R}'}]",
        "rules: [{name: a, match: {attempt: 1, any_of: [{none_of: [{tags: x}]}]}, flapping: null}]",
        "quiet_hours: {n: {start: '22:00', end: 7:00, days: fri}}",
        "watches: [{name: mail, off: true}]",
    ],
)
def test_editors_are_content_with_each_way_to_write_it(right: str) -> None:
    assert [error.message for error in VALIDATOR.iter_errors(as_editors_read_it(right))] == []
