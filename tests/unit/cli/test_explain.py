"""`windsock explain`: what it understands, and what it says of events, runs, incidents and deliveries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from monitor.cli.explain import Question, understand
from monitor.cli.typer_app import cli
from monitor.database.engine import Database
from monitor.notifications.outbox import queries
from monitor.rules.model import Config
from tests.unit.conftest import FakeClock, migrated
from tests.unit.notify_support import Town

RULES = {"rules": [{"name": "runs", "match": {"type": ["airflow.dag_run.*"]}, "to": ["ops@example.com"]}]}
RUN = "manual__2026-11-22T10:00:00+00:00"

UNDERSTOOD = [
    (["run:ab12:failed"], [Question("event", "run:ab12:failed")]),
    (["etl", RUN], [Question("run", RUN, "etl")]),
    (["run", "etl", RUN], [Question("run", RUN, "etl")]),
    (
        [f"http://airflow:8080/dags/etl/runs/{RUN.replace('+', '%2B')}/tasks/load?try_number=1"],
        [Question("run", RUN, "etl")],
    ),
    ([f"https://w.example.com/x/runs/local/etl/{RUN}"], [Question("run", RUN, "etl", "local")]),
    (["https://w.example.com/x/incidents/12"], [Question("incident", "12")]),
    (["https://w.example.com/deliveries/34"], [Question("delivery", "34")]),
    (["incident", "12"], [Question("incident", "12")]),
    (["delivery", "34"], [Question("delivery", "34")]),
    (["12"], [Question("incident", "12"), Question("delivery", "12")]),
    (["incident", "x"], []),
    (["incident", "9" * 40], []),
    (["https://example.com/"], []),
    (["a", "b", "c"], []),
]


@pytest.mark.parametrize(("words", "questions"), UNDERSTOOD)
def test_what_it_understands(words: list[str], questions: list[Question]) -> None:
    assert understand(words) == questions


@pytest.fixture
def town(tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Town]:
    """A failed run, its incident 1 and its delivery 1, which was sent."""
    for name, value in {"HOME": str(tmp_path), "AUTH": "none"}.items():
        monkeypatch.setenv(f"WINDSOCK_{name}", value)
    (tmp_path / "windsock.db").write_bytes(migrated())
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    here = Town(database, Config.model_validate(RULES), clock)
    here.fail()
    here.mail()
    yield here
    database.close()


def said(*words: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *words])


def test_each_way_to_ask_names_the_recipient(town: Town) -> None:
    delivery = town.read(lambda connection: queries.deliveries(connection, 1))[0]
    for words in (
        [delivery.event_id],
        [str(delivery.dag_id), str(delivery.run_id)],
        [f"http://airflow:8080/dags/{delivery.dag_id}/runs/{delivery.run_id}"],
        ["incident", "1"],
        ["delivery", str(delivery.id)],
        ["1"],
    ):
        done = said(*words)
        assert done.exit_code == 0, done.output
        assert "email ops@example.com: sent" in done.output
        assert delivery.event_id in done.output or words == [delivery.event_id]
        assert done.output.startswith("Understood as ")


def test_it_says_how_it_understood_a_number(town: Town) -> None:
    output = said("1").output
    assert "Understood as incident 1:" in output
    assert "Understood as delivery 1:" in output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["run:none:failed"], "the log has no event run:none:failed"),
        (["etl", "gone"], "the log has no run gone of DAG etl"),
        (["77"], "the log has no incident 77 and no delivery 77"),
        (["incident", "x"], "'incident x' is none of these"),
    ],
)
def test_what_is_unknown_is_answered_with_what_is_accepted(
    town: Town, words: list[str], message: str
) -> None:
    done = said(*words)
    assert done.exit_code == 1
    assert message in done.output
    assert "windsock explain incident 12" in done.output
    assert "windsock explain etl manual__" in done.output
