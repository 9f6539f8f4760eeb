"""What a mail tells: from the log and the board, and from an Airflow that answers, or does not.

The database is real; Airflow is a scripted object, which stands for the network."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from monitor.database.engine import Database
from monitor.delivery.messages import facts as messages_facts
from monitor.delivery.messages import run_history
from monitor.delivery.messages.content import NotificationContent
from monitor.delivery.messages.enrich import build_message_context
from monitor.delivery.messages.mime import Envelope
from monitor.delivery.messages.model import Fact, MessageContext, Metric, RunInfo
from monitor.delivery.messages.renderer import Renderer, usual
from monitor.delivery.messages.run_history import SHOWN, RunDetails
from monitor.errors import AirflowUnreachable
from monitor.event_log.append import append
from monitor.event_log.projections.apply import apply
from monitor.events.data import NUDGE
from monitor.events.event import Event, parse_event
from monitor.notifications.incidents import Incident
from monitor.notifications.outbox.records import Delivery, Notification, NotificationKind, State
from monitor.rules.targets import ChannelName
from tests.sample import START, asset_event, event, moment, run_event, task_event
from tests.unit.conftest import NOW, FakeClock

T = TypeVar("T")
ERROR = {"type": "ValueError", "message": "no such table", "traceback": "Traceback\n  boom"}
CONTRACT = Path(__file__).parents[3] / "contract"
DOWN = AirflowUnreachable("down")


@dataclass
class ScriptedAirflow:
    """Says what it is told to say; an exception is raised."""

    tasks: list[dict[str, Any]] | Exception = field(default_factory=list)
    log: list[str] | Exception = field(default_factory=list)
    runs: list[Any] | Exception = field(default_factory=list)
    assets: list[dict[str, Any]] | Exception = field(default_factory=list)
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def dag_run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        raise AssertionError("the run is confirmed before its story is told")

    async def task_instances(
        self, dag_id: str, run_id: str, state: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        return [task for task in _said(self.tasks) if not state or task["state"] in state]

    async def log_tail(
        self, dag_id: str, run_id: str, task_id: str, map_index: int, try_number: int, lines: int
    ) -> list[str]:
        self.asked.append(("log", task_id, map_index, try_number))
        return _said(self.log)

    async def runs_of(
        self, dag_id: str, until: datetime, state: Sequence[str], limit: int
    ) -> list[dict[str, Any]]:
        self.asked.append(("runs", until, tuple(state), limit))
        return [row for row in _said(self.runs) if not isinstance(row, dict) or row["state"] in state][:limit]

    async def asset_events_of(self, dag_id: str, run_id: str, limit: int) -> list[dict[str, Any]]:
        return [row for row in _said(self.assets) if row["source_run_id"] == run_id]


def _said(answer: T | Exception) -> T:
    if isinstance(answer, Exception):
        raise answer
    return answer


def airflow_run(number: int, state: str = "success", **changes: Any) -> dict[str, Any]:
    """The run that began so many hours before manual__1, as REST has it."""
    row = {
        "dag_id": "etl",
        "dag_run_id": f"before_{number}" if number else "manual__1",
        "state": state,
        "run_type": "manual",
        "queued_at": moment(-3600 * number - 1),
        "start_date": moment(-3600 * number),
        "end_date": moment(-3600 * number + 5),
        "conf": {},
        "dag_versions": [{"version_number": 7, "bundle_version": "a" * 40}],
        "bundle_version": "a" * 40,
        "triggered_by": "rest_api",
        "triggering_user_name": "alice",
    }
    return {**row, **changes}


def airflow_task(task_id: str = "load", state: str = "failed", **changes: Any) -> dict[str, Any]:
    row = {"task_id": task_id, "map_index": -1, "state": state, "try_number": 1, "max_tries": 0}
    return {**row, "start_date": moment(1), "end_date": moment(5), "hostname": "worker-1", **changes}


def airflow_asset(run_id: str, **extra: Any) -> dict[str, Any]:
    return {
        "id": 7,
        "uri": "file:///m",
        "name": "m",
        "group": "g",
        "extra": extra,
        "source_dag_id": "etl",
        "source_run_id": run_id,
        "source_task_id": "build",
        "timestamp": moment(9),
        "created_dagruns": [{"dag_id": "release", "run_id": "asset_1"}],
    }


def log(database: Database, *raws: dict[str, Any]) -> list[Event]:
    events = [parse_event(raw) for raw in raws]

    def write(connection: Connection) -> None:
        for one, seq in zip(events, append(connection, events, NOW), strict=True):
            if seq is not None:
                apply(connection, seq, one)

    database.write_now(write)
    return events


def told(
    events: Sequence[Event], kind: NotificationKind = NotificationKind.OPENED, **changes: Any
) -> NotificationContent:
    notification = Notification(1, "r", kind, "run_failed", "k", None, "local", NOW, NOW, NOW)
    names = dict.fromkeys(Delivery.__dataclass_fields__)
    known = {"id": 1, "channel": ChannelName.EMAIL, "kind": kind, "state": State.SENDING, "event_id": "run:1"}
    delivery = Delivery(**{**names, **known})  # type: ignore[arg-type]  # the story asks for no more
    return NotificationContent(delivery, notification, tuple(events), **changes)


def story_of(
    database: Database,
    events: Sequence[Event],
    airflow: Any = None,
    kind: NotificationKind = NotificationKind.OPENED,
    **changes: Any,
) -> MessageContext:
    return asyncio.run(build_message_context(database, airflow, told(events, kind, **changes)))


def failed_run(database: Database) -> list[Event]:
    return log(database, task_event("failed", error=ERROR), run_event("failed"))[1:]


def an_incident(**changes: Any) -> Incident:
    values: dict[str, Any] = dict.fromkeys(Incident.__dataclass_fields__)
    values |= {
        "id": 9,
        "title": "etl fails",
        "state": "open",
        "failures": 3,
        "opened_at": NOW,
        "last_at": NOW,
    }
    return Incident(**{**values, **changes})


def test_a_failure_is_told_with_where_why_and_since_when(database: Database) -> None:
    airflow = ScriptedAirflow(
        tasks=[
            airflow_task(),
            airflow_task("killed", end_date=moment(3), map_index=4),
            airflow_task("fine", "success"),
        ],
        log=["Killed by signal 9"],
    )
    story = story_of(database, failed_run(database), airflow, incident=an_incident())
    assert [task.name for task in story.failed] == ["killed[4]", "load"]
    killed, load = story.failed
    assert killed.error
    assert (killed.error.lines, killed.error.lines_from) == (("Killed by signal 9",), "Log")
    assert load.error
    assert (load.error.headline, load.error.lines) == ("ValueError: no such table", ("Traceback", "  boom"))
    assert [asked for asked in airflow.asked if asked[0] == "log"] == [("log", "killed", 4, 1)]
    assert story.incident
    assert (story.incident.id, story.incident.failures, story.incident.opened_at) == (9, 3, NOW)
    assert (story.kind, story.deployment, story.subject) == ("opened", "local", "etl/manual__1")


def test_what_differs_from_the_last_good_run(database: Database) -> None:
    conf = {"date": "2", "token": "new", "deep": {"api_key": "b", "n": 1}, "gone_not": 1}
    before = {"date": "1", "token": "old", "deep": {"api_key": "a", "n": 1}, "was": "https://u:p@host/x"}
    airflow = ScriptedAirflow(
        runs=[
            airflow_run(
                0,
                "failed",
                conf=conf,
                dag_versions=[{"version_number": 8}, {"version_number": 7}],
                bundle_version="b" * 40,
            ),
            airflow_run(1, "failed"),
            airflow_run(2, conf=before),
            airflow_run(3),
        ]
    )
    story = story_of(database, failed_run(database), airflow)
    changes = {change.label: (change.before, change.now, change.note) for change in story.changes}
    assert changes == {
        "Took": (timedelta(seconds=5), timedelta(seconds=10), "×2.0"),
        "DAG version": ("7", "8", ""),
        "Bundle version": ("a" * 12, "b" * 12, ""),
        "conf.date": ("1", "2", ""),
        "conf.token": ("***", "***", "changed"),
        "conf.deep.api_key": ("***", "***", "changed"),
        "conf.gone_not": (None, "1", "new"),
        "conf.was": ("https://***@host/x", None, "gone"),
    }
    assert story.last_good
    assert story.last_good.run_id == "before_2"
    assert [one.state for one in story.history] == ["success", "success", "failed", "failed"]
    assert [one.is_this for one in story.history] == [False, False, False, True]


def test_a_long_conf_is_told_in_part(database: Database) -> None:
    conf = {f"key_{number}": "x" * 500 for number in range(40)}
    airflow = ScriptedAirflow(runs=[airflow_run(0, "failed", conf=conf), airflow_run(1)])
    story = story_of(database, failed_run(database), airflow)
    assert len(story.changes) == run_history.MAX_CHANGES
    assert story.unlisted_changes == 41 - run_history.MAX_CHANGES
    assert all(len(str(change.now)) <= run_history.VALUE_LENGTH for change in story.changes)


def test_a_good_run_of_long_ago_is_asked_for_by_itself(database: Database) -> None:
    rows = [airflow_run(number, "failed") for number in range(40)] + [airflow_run(50)]
    airflow = ScriptedAirflow(runs=rows)
    story = story_of(database, failed_run(database), airflow)
    assert story.last_good
    assert story.last_good.run_id == "before_50"
    assert len(story.history) == SHOWN
    assert [asked[2:] for asked in airflow.asked if asked[0] == "runs"] == [
        (("success", "failed", "running"), 24),
        (("success",), 1),
    ]
    assert {asked[1] for asked in airflow.asked if asked[0] == "runs"} == {START}


@pytest.mark.parametrize(
    "airflow",
    [
        None,
        ScriptedAirflow(DOWN, DOWN, DOWN, DOWN),
        ScriptedAirflow(runs=["nonsense", {}], tasks=[{"state": "failed"}]),
        ScriptedAirflow(runs=[{"state": "success"}], tasks=ValueError("?"), log=DOWN),
    ],
    ids=["no Airflow", "down", "nonsense", "half"],
)
def test_where_airflow_does_not_say_the_log_does(database: Database, airflow: Any) -> None:
    log(
        database,
        run_event("success", run_id="good", start=-7200),
        run_event("failed", run_id="bad", start=-3600),
        run_event("running", run_id="later", start=3600),
        run_event("success", run_id="later", start=3600),
        run_event("success", "other", "good", start=-60),
    )
    story = story_of(database, failed_run(database), airflow)
    assert [task.name for task in story.failed] == ["load"]
    assert [one.run_id for one in story.history] == ["good", "bad", "manual__1"]
    assert story.last_good
    assert story.last_good.run_id == "good"
    assert [change.label for change in story.changes] == ["Took"]


def test_a_question_that_is_never_answered_stops_no_mail() -> None:
    async def never() -> str:
        await asyncio.Event().wait()
        return "never"

    assert asyncio.run(messages_facts.ask_airflow(never(), "anything", seconds=0.01)) is None


def test_a_success_tells_its_metrics_and_how_they_moved(database: Database) -> None:
    airflow = ScriptedAirflow(
        tasks=[airflow_task("build", "success")],
        runs=[airflow_run(0), airflow_run(1)],
        assets=[
            airflow_asset(
                "manual__1", accuracy=0.98, rows=569, metrics={"f1": 0.97, "loss": True}, api_token="s3cret"
            ),
            airflow_asset("before_1", accuracy=0.97, f1=0.97),
        ],
    )
    story = story_of(database, log(database, run_event("success")), airflow, NotificationKind.SUCCESS)
    assert story.metrics == (
        Metric("Accuracy", "0.9800", "+0.0100"),
        Metric("F1", "0.9700", "as before"),
    )
    [asset] = story.assets
    assert Fact("rows", "569") in asset.details
    assert Fact("api token", "***") in asset.details
    assert asset.triggered == ("release / asset_1",)
    assert [task.name for task in story.tasks] == ["build"]


def test_a_success_without_airflow_tells_what_the_log_has(database: Database) -> None:
    events = log(
        database,
        run_event("success", run_id="good", start=-7200),
        asset_event(1, source_run_id="good", extra={"accuracy": 0.96}),
        asset_event(2),
        task_event("success"),
        run_event("success"),
    )
    story = story_of(database, events[-1:], None, NotificationKind.SUCCESS)
    assert story.metrics == (Metric("Accuracy", "0.9700", "+0.0100"),)
    assert [task.name for task in story.tasks] == ["load"]


def test_names_with_globs_are_names(database: Database) -> None:
    log(database, asset_event(1, source_run_id="manual__1"), asset_event(2, source_run_id="manual__*"))
    events = log(database, run_event("success", run_id="manual__*"))
    story = story_of(database, events, None, NotificationKind.SUCCESS)
    assert len(story.assets) == 1


def test_a_follow_up_is_of_the_latest_and_lists_all(database: Database) -> None:
    events = []
    for number in range(3):
        run_id = f"run_{number}"
        log(database, task_event("failed", run_id=run_id, error=ERROR))
        events += log(database, run_event("failed", run_id=run_id, start=60.0 * number))
    story = story_of(database, events, None, NotificationKind.FOLLOW_UP, earlier=40)
    assert story.run
    assert story.run.run_id == "run_2"
    assert [one.what for one in story.events] == ["failed at load: ValueError: no such table"] * 3
    assert (story.earlier, story.count) == (40, 43)
    assert story.events[0].run
    first = story_of(database, events, None, NotificationKind.OPENED)
    assert first.run
    assert first.run.run_id == "run_0"
    assert len(first.events) == 3


def test_a_recovery_is_of_the_success_and_lists_what_was_not_told(database: Database) -> None:
    events = log(database, run_event("failed", run_id="bad"), run_event("success", run_id="good", start=60))
    incident = an_incident(state="closed", closed_at=NOW + timedelta(hours=2))
    story = story_of(database, events, None, NotificationKind.RECOVERED, incident=incident)
    assert story.run
    assert story.run.run_id == "good"
    assert [one.run.run_id for one in story.events if one.run] == ["bad"]
    assert story.incident
    assert story.incident.lasted == timedelta(hours=2)
    assert story_of(database, events[1:], None, NotificationKind.RECOVERED).events == ()


def test_a_tasks_failure_is_told_with_its_log_and_its_dags_history(database: Database) -> None:
    log(database, run_event("success", run_id="good", start=-3600), run_event("running"))
    events = log(database, task_event("failed", map_index=2, error=None))
    airflow = ScriptedAirflow(log=["boom"], runs=[airflow_run(0, "running"), airflow_run(1)])
    story = story_of(database, events, airflow)
    assert story.task
    assert (story.task.name, story.task.host) == ("load[2]", "worker-1")
    assert story.task.error
    assert story.task.error.lines == ("boom",)
    assert story.run
    assert (story.run.run_id, story.run.state) == ("manual__1", "running")
    assert [one.run_id for one in story.history] == ["before_1"]


def test_an_import_error_is_told_by_its_last_line(database: Database) -> None:
    trace = "Traceback (most recent call last):\n  File x\nsales.errors.NoPrices: none: at all\n"
    raw = event("airflow.dag.import_error", "import_error:1", "a/b.py", moment(0), {})
    raw["data"] |= {"filename": "a/b.py", "bundle_name": "dags", "stacktrace": trace}
    story = story_of(database, log(database, raw))
    assert story.import_error
    error = story.import_error.error
    assert (story.import_error.name, error.type, error.message) == (
        "b.py",
        "sales.errors.NoPrices",
        "none: at all",
    )
    assert len(error.lines) == 3
    raw["data"]["stacktrace"], raw["id"] = "", "import_error:2"
    assert story_of(database, log(database, raw)).import_error


def test_an_assets_update_is_told_against_the_one_before(database: Database) -> None:
    log(database, asset_event(1, extra={"accuracy": 0.9}), asset_event(2, "file:///other.pkl"))
    events = log(database, asset_event(3, extra={"accuracy": 0.95}, timestamp=moment(60)))
    story = story_of(database, events, None, NotificationKind.NOTICE)
    assert story.metrics == (Metric("Accuracy", "0.9500", "+0.0500"),)
    assert [asset.name for asset in story.assets] == ["model.pkl"]
    assert story.run == RunInfo("local", "etl", "manual__1", "")


def test_what_a_watch_found_is_told_in_its_own_words(database: Database) -> None:
    log(database, run_event("success", run_id="good", start=-3600))
    data = {
        "what": "A run of etl runs for too long.",
        "watch": "long runs",
        "since": moment(0),
        "dag_id": "etl",
        "run_id": "manual__1",
        "start_date": moment(0),
        "running_seconds": 7200.0,
        "after_seconds": 3600.0,
        "usual_seconds": 60.0,
        "runs": 12,
        "api_token": "s3cret",
    }
    raw = event("windsock.run.stuck", "stuck:1", "etl", moment(0), data)
    raw["data"]["reported_by"] = "monitor"
    story = story_of(database, log(database, raw))
    assert story.watch
    assert (story.watch.what, story.watch.kind, story.watch.name) == (data["what"], "stuck", "long runs")
    facts = {fact.label: fact.value for fact in story.watch.facts}
    assert facts == {
        "Running for": timedelta(hours=2),
        "Bound": timedelta(hours=1),
        "Usual": timedelta(minutes=1),
        "Runs compared": "12",
        "Api token": "***",
    }
    assert story.run
    assert (story.run.run_id, story.run.start) == ("manual__1", START)
    assert story.last_good
    assert [one.is_this for one in story.history] == [False]


def test_any_other_event_is_told_by_its_fields(database: Database) -> None:
    raw = event("airflow.dag.paused", "dag:1:paused", "etl", moment(0), {"dag_id": "etl", "state": "paused"})
    story = story_of(database, log(database, raw), None, NotificationKind.NOTICE)
    assert story.facts == (Fact("DAG", "etl"), Fact("State", "paused"))


def test_a_digest_lists_everything_and_asks_nobody(database: Database) -> None:
    raw = event("airflow.dag.paused", "dag:1:paused", "etl", moment(0), {"dag_id": "etl", "state": "paused"})
    events = log(database, run_event("success"), run_event("failed", "other"), asset_event(1), raw)
    airflow = ScriptedAirflow(DOWN, DOWN, DOWN, DOWN)
    story = story_of(database, events, airflow, NotificationKind.DIGEST)
    assert [(one.subject, one.mark, one.what) for one in story.events] == [
        ("etl", "✓", "succeeded"),
        ("other", "✗", "failed"),
        ("file:///model.pkl", "·", "updated by etl"),
        ("etl", "·", "paused"),
    ]
    assert airflow.asked == []
    assert story_of(database, [], airflow, NotificationKind.DIGEST).event_id == "run:1"


@pytest.mark.parametrize("path", sorted(CONTRACT.glob("*.json")), ids=lambda path: path.stem)
def test_every_golden_event_has_a_story_and_a_mail(database: Database, path: Path) -> None:
    found = json.loads(path.read_text())["event"]
    if found["type"] == NUDGE:
        return  # it is logged by nobody
    events = [parse_event({**found, "time": found["time"] or moment(0)})]
    renderer = Renderer("a@example.com", "http://monitor", {"local": "http://airflow"}, FakeClock())
    for kind in NotificationKind:
        story = story_of(database, events, None, kind, incident=an_incident())
        letter = Envelope("<1@example.com>", "a@example.com", "r")
        assert renderer.render(usual(kind.value, events[0].type), story, letter).problem is None


@pytest.mark.parametrize(
    ("now", "before", "factor"),
    [
        (10, 5, "×2.0"),
        (10, 10, ""),
        (11, 10, ""),
        (12, 10, "×1.2"),
        (1, 10, "×0.1"),
        (100, 5, "×20"),
        (1, 0, ""),
    ],
)
def test_durations_are_compared(now: float, before: float, factor: str) -> None:
    assert run_history.factor(timedelta(seconds=now), timedelta(seconds=before)) == factor


def test_what_is_not_known_is_no_difference() -> None:
    run = RunInfo("local", "etl", "1", "success")
    changes, more = run_history.changes_of(RunDetails(run), RunDetails(run, "7", "sha", {"a": 1}, "alice"))
    assert (changes, more) == ((), 0)


@pytest.mark.parametrize(
    "key",
    ["password", "API_KEY", "apiKey", "aws-secret-access-key", "token", "dbPasswd", "client_credentials"],
)
def test_what_looks_secret_is_not_shown(key: str) -> None:
    assert messages_facts.mask_field(key, "s3cret") == "***"
    assert "s3cret" not in messages_facts.mask_value({"outer": [{key: "s3cret"}]})
    assert "s3cret" not in messages_facts.mask_value({"outer": {key: {"inner": "s3cret"}}})


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("postgresql://user:s3cret@host/db", "postgresql://***@host/db"),
        ("https://host/?a=1&token=s3cret&b=2", "https://host/?a=1&token=***&b=2"),
        ("plain", "plain"),
        ("connect(user=a, password='s3 cret', host=b)", "connect(user=a, password=***, host=b)"),
        ("AWS_SECRET_ACCESS_KEY=abc/def next", "AWS_SECRET_ACCESS_KEY=*** next"),
        ("if a == b: password", "if a == b: password"),
        (True, "true"),
        (None, "null"),
        ({"a": [1, "ü"]}, '{"a": [1, "ü"]}'),
    ],
)
def test_addresses_lose_what_is_secret_in_them(value: Any, shown: str) -> None:
    assert messages_facts.mask_value(value) == shown


TRACE = """Traceback (most recent call last):
  File "/home/airflow/.local/lib/python3.12/site-packages/airflow/sdk/task_runner.py", line 9, in run
    result = execute(context)
             ^^^^^^^^^^^^^^^^
  File "/opt/airflow/dags/etl.py", line 12, in load
    frame.loc["x"]
  File "/home/airflow/.local/lib/python3.12/site-packages/pandas/core/frame.py", line 4, in loc
    raise KeyError(key)
KeyError: 'x'

The above exception was the direct cause of the following exception:

Traceback (most recent call last):
  File "/usr/lib/python3.12/runpy.py", line 1, in run
    code()
ValueError: no x"""


def test_a_traceback_has_the_authors_frames_and_counts_those_of_libraries() -> None:
    error = messages_facts.error_of({"type": "ValueError", "message": "no x", "traceback": TRACE})
    assert error.lines == (
        "Traceback (most recent call last):",
        '  File "/opt/airflow/dags/etl.py", line 12, in load',
        '    frame.loc["x"]',
        "  (1 frame of Airflow, 1 frame of pandas)",
        "KeyError: 'x'",
        "",
        "The above exception was the direct cause of the following exception:",
        "",
        "Traceback (most recent call last):",
        '  File "/usr/lib/python3.12/runpy.py", line 1, in run',
        "    code()",
        "ValueError: no x",
    ), "without any frame of the author's, it stays as it is"


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        (
            "Process terminated by signal. Likely out of memory error (OOM).",
            "Killed: out of memory, says the log",
        ),
        ("command exited with exit code 137", "Killed: out of memory, says the log"),
        ("signal=-9 signal_name=SIGKILL", "Killed by SIGKILL, says the log; often for lack of memory"),
        ("the room is booked", None),
    ],
)
def test_a_killed_task_says_what_its_log_says(log: str, reason: str | None) -> None:
    assert messages_facts.kill_reason(["begin", log]) == reason
