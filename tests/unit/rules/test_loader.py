"""windsock.yaml as a text: what is read, and the words for each mistake in it."""

import contextlib
import os
from base64 import b64encode
from collections.abc import Mapping
from datetime import time, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from monitor.rules.json_schema import json_schema
from monitor.rules.loader import MAX_BYTES, OWN_SECRETS, default_config, load_config
from monitor.rules.model import Config, Match, Rule, Watch
from monitor.rules.validation import CheckUrl
from monitor.rules.yaml_source import RulesError, UnreadableSource, read
from monitor.settings import Settings

SECRET = "whsec_" + b64encode(bytes(range(32))).decode()
DEFAULTS = default_config(["ops@example.com"], ["Airflow_Lab2"])
ALWAYS = "quiet_hours: {a: {start: 8:00, end: 20:00}, b: {start: 19:00, end: 9:00}}\n"
DEFAULT_RULES = ["failures", "successes", "import-errors", "watches"]


def refuse_foo(url: str) -> str | None:
    return "no service is called foo" if url.startswith("foo:") else None


def load(
    tmp_path: Path,
    text: str | bytes,
    environment: Mapping[str, str] | None = None,
    check_url: CheckUrl | None = refuse_foo,
) -> Config:
    file = tmp_path / "windsock.yaml"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return load_config(file, environment or {}, DEFAULTS, check_url, templates=("run_failed", "notice"))


def mistakes(tmp_path: Path, text: str | bytes, environment: Mapping[str, str] | None = None) -> str:
    with pytest.raises(RulesError) as caught:
        load(tmp_path, text, environment)
    assert all(line.startswith("windsock.yaml") for line in str(caught.value).splitlines())
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        # What is no YAML, or no file of ours
        ("rules: [", ["windsock.yaml:1: is no YAML", "flow"]),
        ("a: 1\n\tb: 2", [":2: is no YAML"]),
        ("rules: []\n---\nrules: []", [":2: is no YAML", "single document"]),
        ("timezone: *nobody", [":1: is no YAML", "undefined alias"]),
        ("- a", [":1: must have fields"]),
        ("just words", [":1: 'just words' must have fields"]),
        ("a: b\n\x07", [":2: holds a character that YAML does not allow"]),
        (b"a: b\nc: \xff\xfe", [":2: is not in UTF-8"]),
        ("timezone: UTC\n\ntimezone: UTC", [":3: timezone: is given twice, in line 1 too"]),
        ("receivers:\n  5: {email: a@b.c}", [":2: receivers: has a name that is no text", "quotes"]),
        ("? [a]\n: b", [":1: has a name that is no text"]),
        ("rules: !!python/object/apply:os.getcwd []", [":1: rules: has a tag", "leave it out"]),
        ("rules:\n- !rule {name: a}", [":2: rules[0]: has a tag"]),
        ("budget: {daily: !!int many}", [":1: budget.daily: many is no whole number"]),
        # Fields
        ("rulez: []", [":1: rulez: there is no such field; did you mean rules?"]),
        ("zzz: []", [":1: zzz: there is no such field; known are budget, quiet_hours"]),
        ("rules:\n- name: a\n  mach: {}", [":3: rules[0].mach: there is no such field; did you mean match?"]),
        ("rules:\n- name: a\n  match: {dagid: x}", ["rules[0].match.dagid", "did you mean dag_id?"]),
        ("rules:\n- name: a\n  match: {any_of: [{tag: x}]}", ["match.any_of[0].tag", "mean tags?"]),
        ("receivers:\n  ops:\n    mail: a@b.c", [":3: receivers.ops.mail", "did you mean email?"]),
        ("quiet_hours: {n: {begin: 1}}", ["quiet_hours.n.start: is missing", "n.end", "n.begin"]),
        ("rules:\n- to: a@b.c", [":2: rules[0].name: is missing"]),
        ("rules:\n- name: ''", [":2: rules[0].name: '' is empty"]),
        ("rules:\n  name: a", [":1: rules: must be a list"]),
        ("rules:\n- a", [":2: rules[0]: 'a' must have fields"]),
        ("receivers: [a]", [":1: receivers: must have names"]),
        # Values
        (
            "rules:\n- name: a\n  notify_on: sucess",
            [":3: rules[0].notify_on: 'sucess' is none of", "mean success?"],
        ),
        ("rules:\n- name: a\n  notify_on: []", [":3: rules[0].notify_on: names nothing"]),
        (
            "rules:\n- name: a\n  notify_on: [first_failure, every_failure]",
            ["rules[0].notify_on", "choose one"],
        ),
        ("rules:\n- name: a\n  group:\n    wait: soon", [":4: rules[0].group.wait: 'soon' is no duration"]),
        ("rules:\n- name: a\n  group: {wait: 30}", ["rules[0].group.wait: 30 has no unit"]),
        ("rules:\n- name: a\n  group: {by: [dag]}", ["rules[0].group.by[0]: 'dag' is none of", "dag_id"]),
        (
            "rules:\n- name: a\n  repeat: 0",
            ["rules[0].repeat: 0 is too short; write 1m or longer"],
        ),
        ("rules:\n- name: a\n  flapping: {openings: 1}", ["flapping.openings: 1 should be greater", "2"]),
        ("rules:\n- name: a\n  last: perhaps", ["rules[0].last: 'perhaps' is neither true nor false"]),
        ("rules:\n- name: a\n  match: {attempt: first}", ["match.attempt: 'first' is no whole number"]),
        ("rules:\n- name: a\n  match: {dag_id: 5}", ["match.dag_id: 5 is no text; put it between quotes"]),
        ("rules:\n- name: a\n  match: {dag_id: []}", ["match.dag_id: is an empty list", "leave it out"]),
        ("rules:\n- name: a\n  match: {none_of: [{}]}", ["match.none_of[0]: takes every event"]),
        ("rules:\n- name: a\n  match: {dag_id: '^etl$'}", ["match.dag_id: '^etl$' holds '^'", "* and ?"]),
        ("rules:\n- name: a\n  match: {task_id: ['x', 'a|b']}", ["match.task_id[1]: 'a|b' holds '|'"]),
        ("rules:\n- name: a\n  match: {type: airflow.dag_run.fail}", ["mean airflow.dag_run.failed?"]),
        ("rules:\n- name: a\n  match: {type: windsock.asset.nudge}", ["is no event's type"]),
        ("rules:\n- name: a\n- name: a", [":3: rules[1].name: 'a' is also the name of rules[0]"]),
        ("rules:\n- name: digest", ["rules[0].name: 'digest' is the ledger's own name"]),
        ("rules:\n- name: a\n  to: opps", [":3: rules[0].to: 'opps' is no mail address, and no receiver"]),
        ("rules:\n- name: a\n  to: defalt", ["did you mean default?"]),
        ("rules:\n- name: a\n  route: false", ["rules[0].to: names nobody"]),
        ("rules:\n- name: a\n  quiet_hours: n", ["rules[0].quiet_hours: 'n' are no quiet hours", "has none"]),
        ("rules:\n- name: a\n  template: {open: notice}", ["rules[0].template.open: is of no kind"]),
        (
            "rules:\n- name: a\n  template: {opened: ../x}",
            ["template.opened: '../x' is no template", "notice"],
        ),
        ("receivers: {success: {email: a@b.c}}", ["receivers.success: cannot be", "notify:success"]),
        ("receivers: {'a@b': {email: a@b.c}}", ["receivers['a@b']: is no receiver's name"]),
        ("receivers: {'a#1': {email: a@b.c}}", ["is no receiver's name"]),
        ("receivers: {a: {}}", [":1: receivers.a: has nobody to notify"]),
        ("receivers: {a: {email: [a@b.c, nobody]}}", ["receivers.a.email[1]: 'nobody' is no mail address"]),
        ("receivers: {a: {email: 'x <a@b.c>'}}", ["receivers.a.email: 'x <a@b.c>' is no mail address"]),
        ("receivers: {a: {email: a@b.c, timezone: Mars}}", ["receivers.a.timezone: 'Mars' is no time zone"]),
        ("receivers: {a: {webhook: [{url: https://x.y}]}}", ["webhook[0].secret: is missing"]),
        (f"receivers: {{a: {{webhook: [{{url: ftp://x.y, secret: {SECRET}}}]}}}}", ["[0].url:", "https://"]),
        (f"receivers: {{a: {{webhook: [{{url: 'http://', secret: {SECRET}}}]}}}}", ["[0].url:", "https://"]),
        ("routing: {domains: ['@x.org']}", ["routing.domains[0]: '@x.org' is no domain"]),
        ("timezone: Europe/Zurick", [":1: timezone: 'Europe/Zurick'", "did you mean Europe/Zurich?"]),
        ("timezone: ../../etc/passwd", ["is no time zone"]),
        ("timezone: Europe", ["is no time zone"]),
        ("timezone: ''", ["is no time zone"]),
        ("quiet_hours: {n: {start: 25:00, end: '7'}}", ["n.start: '25:00' is no time of day", "n.end: '7'"]),
        ("quiet_hours: {n: {start: 1:00, end: 2:00, days: [mo]}}", ["n.days[0]: 'mo'", "mean mon?"]),
        ("quiet_hours: {n: {start: 1:00, end: 2:00, days: []}}", ["n.days: names no day"]),
        ("quiet_hours: {n: {start: 1:00, end: 1:00}}", ["quiet_hours.n: never end"]),
        ("quiet_hours: {n: {start: 1:00, end: 2:00, timezone: X}}", ["quiet_hours.n.timezone: 'X'"]),
        (
            f"{ALWAYS}rules:\n- name: r\n  quiet_hours: [a, b]",
            [":4: rules[0].quiet_hours: together never end"],
        ),
        ("watches: [{name: x}]", [":1: watches[0].watch: is missing"]),
        ("watches: [{name: x, watch: slow}]", ["watches[0].watch: 'slow' is none of missing, late"]),
        ("watches:\n- {name: missing}\n- {name: missing}", [":3: watches[1].name: 'missing' is also"]),
        ("watches: [{name: x, watch: late, asset: y}]", ["watches[0].asset: has no meaning for 'late'"]),
        ("watches: [{name: mail, dag_id: y}]", ["watches[0].dag_id: has no meaning for 'mail'"]),
        ("watches: [{name: x, watch: late, dag_id: '(a)'}]", ["watches[0].dag_id: '(a)' holds '('"]),
        ("watches: [{name: stuck, spreads: -1}]", ["watches[0].spreads: -1 should be greater than 0"]),
        ("watches: [{name: stuck, spreads: .inf}]", ["watches[0].spreads: '.inf'"]),
        ("watches: [{name: stuck, after: 2 years}]", ["watches[0].after: '2 years' is no duration"]),
        ("budget: {daily: 100, reserve: 100}", [":1: budget: reserve (100) must be below daily (100)"]),
        ("budget: {daily: 0}", ["budget.daily: 0 should be greater than or equal to 1"]),
        # Variables
        ("a: ${}", [":1: a: holds ${ without a name"]),
        ("budget: {daily: ${N}}", [":1: is no YAML", "put ${NAME} between quotes"]),
        ("timezone: ${TZ", [":1: timezone: holds ${ without a name and }"]),
        ("timezone: ${NOT_SET}", [":1: timezone: needs the variable NOT_SET, which is not set"]),
        ("rules:\n- name: a\n  to:\n  - ${A}\n  - ${B}", [":4: rules[0].to[0]", ":5: rules[0].to[1]", "B"]),
    ],
)
def test_each_mistake_has_its_line_its_field_and_the_remedy(
    tmp_path: Path, text: str | bytes, words: list[str]
) -> None:
    told = mistakes(tmp_path, text)
    for word in words:
        assert word in told, told


def test_every_mistake_is_told_at_once_in_the_order_of_lines(tmp_path: Path) -> None:
    text = "timezone: Mars\nrules:\n- name: a\n  to: nobody\n  match: {type: nothing}\nbudget: {reserve: 400}"
    lines = [line.split(":")[1] for line in mistakes(tmp_path, text).splitlines()]
    assert lines == ["1", "4", "5", "6"]


def test_of_very_many_mistakes_the_first_are_told(tmp_path: Path) -> None:
    text = "rules:\n" + "- {name: a, notify_on: x}\n" * 100
    told = mistakes(tmp_path, text).splitlines()
    assert len(told) == 26
    assert told[-1] == "windsock.yaml: and 174 more"


@pytest.mark.parametrize(
    "text",
    [
        "receivers: {a: {apprise: 'foo://hush'}}",
        "receivers: {a: {apprise: ['foo://hush', 5]}}",
        "receivers: {a: {apprise: {hush: hush}}}",
        "receivers: {a: {apprise: {slack://hush: x}}}",
        "receivers: {a: {aprise: slack://hush}}",
        "receivers: {a: slack://hush}",
        "receivers: {slack://hush: {}}",
        "receivers: {a: {email: slack://hush}}",
        "receivers: {a: {webhook: hush}}",
        "receivers: {a: {webhook: [{url: 'hush', secret: hush}]}}",
        "receivers: {a: {webhook: [{url: 'https://hush@', secret: whsec_hush}]}}",
        "receivers: {a: {webhook: [{secrets: hush}]}}",
        "receivers: {a: {apprise: '${HUSH}'}}",
        "rules: [{name: a, to: slack://hush}]",
        "rules: [{name: a, to: '${HUSH}'}]",
        "rules: [{name: a, notify_on: '${HUSH}'}]",
        "rules: [{name: a, group: {wait: '${HUSH}'}}]",
        "timezone: ${HUSH}",
        "watches: [{name: x, watch: '${HUSH}'}]",
        "receivers: {a: {apprise: [ slack://hush }}",
        "receivers: {a: {apprise: slack://hush\x07}}",
        "quiet_hours: {n: {start: '${HUSH}', end: '${HUSH}', days: '${HUSH}'}}",
        "rules: [{name: a, last: '${HUSH}', flapping: {openings: '${HUSH}'}}]",
        "routing: {domains: '${HUSH} x'}",
        "rules: [{name: a, match: {dag_id: '${HUSH}', type: '${HUSH}'}, quiet_hours: '${HUSH}'}]",
        "rules: [{name: a, template: {opened: '${HUSH}'}}]",
        "budget: {daily: '${HUSH}'}",
    ],
)
def test_no_message_shows_what_may_be_a_secret(tmp_path: Path, text: str) -> None:
    assert "hush" not in mistakes(tmp_path, text, {"HUSH": "foo://hush"})


def test_without_a_word_in_it_the_defaults_hold(tmp_path: Path) -> None:
    for text in ("", "# nothing yet\n", "---\n", "~", "\ufeff# from an editor that marks its files\n"):
        assert load(tmp_path, text) == DEFAULTS


def test_rules_replace_the_default_ones(tmp_path: Path) -> None:
    config = load(
        tmp_path, "rules:\n- name: mine\n  to: a@b.c\n  match: {dag_id: [x, y], attempt: 2}\n  last: yes"
    )
    assert config.rules == (
        Rule(name="mine", to=("a@b.c",), match=Match(dag_id=("x", "y"), attempt=(2,)), last=True),
    )
    assert config.watches == DEFAULTS.watches
    assert load(tmp_path, "rules: []").rules == ()


@pytest.mark.parametrize(
    "text",
    [
        "receivers: {ops: {email: a@b.c}}",
        "quiet_hours: {n: {start: 22:00, end: 7:00}}",
        "watches: [{name: mail, off: true}]",
        "budget: {daily: 50, reserve: 10}",
        "timezone: Europe/Zurich",
        "routing: {domains: []}",
    ],
)
def test_a_file_without_rules_keeps_the_default_ones(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    assert [rule.name for rule in config.rules] == DEFAULT_RULES
    assert config != DEFAULTS


def test_receivers_stand_beside_the_default_one_or_instead_of_it(tmp_path: Path) -> None:
    config = load(tmp_path, "receivers: {ops: {email: a@b.c}}")
    assert {name: one.email for name, one in config.receivers.items()} == {
        "default": ("ops@example.com",),
        "ops": ("a@b.c",),
    }
    config = load(tmp_path, "receivers: {default: {email: a@b.c}}")
    assert config.receivers["default"].email == ("a@b.c",)


def test_watches_are_merged_by_name(tmp_path: Path) -> None:
    text = """
watches:
  - {name: mail, off: true}
  - {name: auto_paused, off: true}
  - {name: component, off: true}
  - {name: unreachable, after: 1h}
  - {name: missing, watch: missing, dag_id: etl}
  - {name: stuck, watch: stale, asset: model.pkl}
  - {name: mine, watch: late, after: 10m}
  - {name: old, watch: late, off: true}
"""
    assert load(tmp_path, text).watches == (
        Watch(name="unreachable", watch="unreachable", after=timedelta(hours=1)),
        Watch(name="missing", watch="missing", after=timedelta(minutes=15), dag_id=("etl",)),
        Watch(name="stuck", watch="stale", asset=("model.pkl",)),
        Watch(name="mine", watch="late", after=timedelta(minutes=10)),
    )


def test_values_are_read_as_yaml_1_2_has_them(tmp_path: Path) -> None:
    text = (
        "quiet_hours: {n: {start: 22:00, end: 7:30}}\nrules: [{name: on, match: {dag_id: [no, 2026-11-22]}}]"
    )
    config = load(tmp_path, text)
    assert (config.quiet_hours["n"].start, config.quiet_hours["n"].end) == (time(22), time(7, 30))
    assert (config.rules[0].name, config.rules[0].match.dag_id) == ("on", ("no", "2026-11-22"))


def test_flapping_may_be_turned_off(tmp_path: Path) -> None:
    assert load(tmp_path, "rules: [{name: a, flapping: null}]").rules[0].flapping is None


def test_variables_are_filled_in_once_and_anywhere(tmp_path: Path) -> None:
    text = """
timezone: ${ZONE}
receivers:
  ops:
    email: ["${WHO}@example.com"]
    apprise: ["slack://${TOKEN}/x", "json://$${TOKEN}", "pa$$word$"]
    webhook: [{url: "${URL}", secret: "${SECRET}"}]
budget: {daily: "${DAILY}", reserve: 0}
"""
    environment = {
        "ZONE": "Europe/Zurich",
        "WHO": "ann",
        "TOKEN": "a${WHO}b",
        "DAILY": "50",
        "URL": "https://x.example.com",
        "SECRET": SECRET,
    }
    config = load(tmp_path, text, environment)
    ops = config.receivers["ops"]
    assert (config.timezone, ops.email, config.budget.daily) == ("Europe/Zurich", ("ann@example.com",), 50)
    urls = [url.get_secret_value() for url in ops.apprise]
    assert urls == ["slack://a${WHO}b/x", "json://${TOKEN}", "pa$$word$"]
    assert ops.webhook[0].secret.get_secret_value() == SECRET
    assert SECRET not in repr(config)
    assert "slack://" not in repr(config)


def test_the_process_environment_is_not_asked(tmp_path: Path) -> None:
    assert "PATH" in os.environ
    assert "needs the variable PATH" in mistakes(tmp_path, "timezone: ${PATH}")


def test_an_alias_stands_for_what_it_names(tmp_path: Path) -> None:
    text = """
receivers:
  a: &a {email: a@b.c}
  b: *a
rules:
  - {name: r, to: &to [a, b]}
  - {name: s, to: *to}
"""
    config = load(tmp_path, text)
    assert config.receivers["b"].email == ("a@b.c",)
    assert config.rules[1].to == ("a", "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &a [x]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a},*{a}]\n"
                                  for a, b in zip("abcdefghi", "bcdefghij", strict=True)), "50000 values"),
        ("a: &a [*a]", "nested more than"),
        ("a: &a {b: *a}", "nested more than"),
        ("[" * 100_000, "nested too deeply"),
        ("{a: " * 30 + "}" * 30, "nested more than 20 deep"),
        ("- x\n" * 60_000, "50000 values"),
        ("#" * (MAX_BYTES + 1), "larger than 256 KiB"),
        ("rules:\n" + "".join(f"- {{name: r{n}}}\n" for n in range(1001)), "1000 are allowed"),
        ("receivers: {a: {email: [" + "a@b.c," * 101 + "]}}", "100 are allowed"),
        ("budget: {daily: " + "9" * 10_000 + "}", "budget.daily"),
        ("rules: [{name: " + "x" * 300 + "}]", "should have at most 200 characters"),
    ],
)  # fmt: skip
def test_a_bomb_is_refused_in_few_words(tmp_path: Path, text: str, words: str) -> None:
    told = mistakes(tmp_path, text)
    assert words in told
    assert len(told) < 500


def test_a_file_that_is_not_there_or_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, words in (("gone.yaml", "No such file"), ("pipe", "is no file"), (".", "is no file")):
        with pytest.raises(RulesError) as caught:
            load_config(tmp_path / name, {}, DEFAULTS)
        assert words in str(caught.value)
        assert "WINDSOCK_CONFIG" in str(caught.value)
        assert caught.value.mistakes[0].line is None


def test_without_a_word_from_the_channels_urls_are_taken_as_they_are(tmp_path: Path) -> None:
    config = load(tmp_path, "receivers: {a: {apprise: foo://x}}", check_url=None)
    assert config.receivers["a"].apprise[0].get_secret_value() == "foo://x"


@given(st.text(alphabet="ab:-[]{}&*!#|>'\"%@`,?\n \t0.~\\${}", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        source = read(text, {})
    except UnreadableSource:
        return
    assert source.places[()].line


NAMES = sorted({name for part in json_schema()["$defs"].values() for name in part["properties"]})
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["a@b.c", "1h", "${A}", "*", "22:00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(sorted(json_schema()["properties"])), VALUES))
def test_any_values_are_taken_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: dict[str, object]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    with contextlib.suppress(RulesError):
        load(folder, yaml.safe_dump(data), {"A": "x"})


SECRET_SETTINGS = [
    f"WINDSOCK_{name.upper()}"
    for name, field in Settings.model_fields.items()
    if "SecretStr" in str(field.annotation) or name in ("airflows", "database_url")
]


@pytest.mark.parametrize("name", [*SECRET_SETTINGS, "AIRFLOW__CORE__FERNET_KEY"])
@pytest.mark.parametrize(
    "text",
    [
        "rules: [{name: 'pw ${N}', to: a@example.com}]",
        "receivers: {a: {webhook: [{url: 'https://example.com/${N}'}]}}",
        "timezone: '${N}'",
    ],
)
def test_no_rules_file_shows_a_secret_of_the_monitor(tmp_path: Path, name: str, text: str) -> None:
    said = mistakes(tmp_path, text.replace("${N}", "${" + name + "}"), {name: "hush-hush-hush"})
    assert f"names {name}, a secret" in said
    assert "hush" not in said


def test_every_secret_setting_is_refused_to_rules() -> None:
    assert set(SECRET_SETTINGS) == OWN_SECRETS
