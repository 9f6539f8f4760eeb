"""Why a mail came, or did not; and what other rules would have told."""

from datetime import timedelta

from monitor.cli import explain as cli_explain
from monitor.database.engine import Database
from monitor.notifications import silences
from monitor.notifications.explain import explain, replay
from monitor.rules.model import Config, Match
from monitor.rules.ruleset import Rules
from tests.unit.conftest import NOW, FakeClock
from tests.unit.notify_support import Town, by_kind

OPS = "ops@example.com"
RUNS = {"type": ["airflow.dag_run.*"]}
CONFIG = {
    "rules": [
        {"name": "runs", "match": RUNS, "to": [OPS]},
        {"name": "prod", "match": {**RUNS, "tags": ["prod"]}, "to": [OPS]},
    ]
}
HOUR = 3600.0
WITHIN = timedelta(hours=24)


def said(here: Town, event_id: str) -> list[str]:
    found = here.read(lambda connection: explain(connection, here.rules, event_id))
    return [line for one in found for line in cli_explain.format_explanation(one)]


def test_every_rule_answers_for_an_event(database: Database, clock: FakeClock) -> None:
    here = Town(database, Config.model_validate(CONFIG), clock)
    until = NOW + timedelta(hours=1)
    match = Match(dag_id=("quiet",))
    here.write(lambda connection: silences.add(connection, match, "ann", "repairs", NOW, until, NOW))
    told, hushed = here.fail(), here.fail("quiet")
    here.mail()

    first, _, runs, delivery, now, *takes = said(here, told.id)
    assert told.subject in first
    assert "runs: notified: rule 'runs': the first failure" in runs
    assert f"email {OPS}: sent" in delivery
    assert "as the rules are now" in now
    assert takes[0] == "    runs: takes it"
    assert "prod: does not take it" in takes[1]
    assert "tags" in takes[1]
    assert "silence 1 of ann" in " ".join(said(here, hushed.id))
    assert "repairs" in " ".join(said(here, hushed.id))
    assert said(here, "run:none:failed") == []


def test_a_rule_that_is_gone_still_answers(database: Database, clock: FakeClock) -> None:
    here = Town(database, Config.model_validate(CONFIG), clock)
    event = here.fail()
    here.rules = Rules(Config())
    assert any("no such rule" in line for line in said(here, event.id))


def test_what_was_decided_comes_before_what_would_be_now(database: Database, clock: FakeClock) -> None:
    """Yesterday no rule took it, and nobody was notified. Today's rules take it, which changes nothing."""
    here = Town(database, Config.model_validate({"rules": [CONFIG["rules"][1]]}), clock)
    event = here.fail()
    here.rules = Rules(Config.model_validate(CONFIG))
    lines = said(here, event.id)
    nobody = next(line for line in lines if "nobody was notified, because no rule matches" in line)
    today = next(line for line in lines if "as the rules are now" in line)
    assert lines.index(nobody) < lines.index(today) < lines.index("    runs: takes it")
    assert not any("(no rule)" in line for line in lines)


def test_other_rules_are_tried_on_what_the_log_holds(database: Database, clock: FakeClock) -> None:
    here = Town(database, Config(), clock)
    here.know("etl", tags=["prod"])
    for _ in range(3):
        here.fail()
        clock.forward(60)
    here.fail("other")
    clock.forward(HOUR)
    here.succeed()

    tried = replay(database, Rules(Config.model_validate(CONFIG)), NOW - timedelta(days=7), WITHIN, by_kind)

    told = [
        (one.delivery.rule, one.delivery.kind.value, one.delivery.dag_id, one.events)
        for one in tried.deliveries
    ]
    assert told == [
        ("runs", "opened", "etl", 1),
        ("prod", "opened", "etl", 1),
        ("runs", "opened", "other", 1),
        ("runs", "recovered", "etl", 3),
        ("prod", "recovered", "etl", 3),
    ]
    assert tried.events == 5
    assert here.mail() == []  # nothing came into force
    lines = list(cli_explain.format_replay(tried))
    assert any("5 messages" in line for line in lines)
