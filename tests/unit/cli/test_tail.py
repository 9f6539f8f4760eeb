"""The lines that a terminal shows of the feed. What the client does: tests/feed/test_client.py."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from monitor.cli.tail_lines import MAX_HELD, LinePrinter, SettledDelivery, as_json, local_time, render
from monitor.errors import WindsockError
from tests.sample import asset_event, event, run_event, task_event
from windsock_client import Event, Reset
from windsock_client.records import event as read_event


def item(told: dict[str, Any], cursor: str = "e-1") -> Event:
    return read_event(cursor, told)


@pytest.mark.parametrize("change", [{"error": 5}, {"map_index": "x"}, {"dag_id": 5}])
def test_what_nobody_can_show_is_an_error(change: dict[str, Any]) -> None:
    with pytest.raises(WindsockError, match="told at e-1 is no event"):
        render(item(task_event("failed", **change)))


def test_json_that_is_nested_too_deeply_is_an_error() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(WindsockError, match="told at e-1 is no event"):
        as_json(item(run_event() | {"data": {"deep": deep}}))


LINES = [
    (run_event("failed"), ["✖ failed", "etl  manual__1"]),
    (
        task_event("failed", error={"type": "ValueError", "message": "no\x1b[2Jthing\nmore"}),
        ["✖ failed", "etl · load  manual__1", "ValueError: nothing more"],
    ),
    (task_event("success", map_index=3), ["✔ success", "etl · load[3]  manual__1"]),
    (asset_event(1), ["■ updated", "file:///model.pkl", "accuracy 0.97"]),
    (
        event(
            "airflow.dag.import_error",
            "import_error:1",
            "bad.py",
            "2026-11-22T10:00:00.000000Z",
            {"filename": "bad.py", "stacktrace": "Traceback\nImportError: [bold]no"},
        ),
        ["✖ import_error", "bad.py", "ImportError: [bold]no"],
    ),
    (
        event(
            "airflow.dag.import_error_mended",
            "import_error:1:mended",
            "bad.py",
            "2026-11-22T10:00:00.000000Z",
            {"filename": "bad.py", "error_id": "import_error:1", "replaced_by": None},
        ),
        ["✔ mended", "bad.py", "no import error any more"],
    ),
    (
        event(
            "airflow.dag.paused",
            "dag:1:paused",
            "etl",
            "2026-11-22T10:00:00.000000Z",
            {"dag_id": "etl", "state": "paused"},
        ),
        ["‖ paused", "etl"],
    ),
]


@pytest.mark.parametrize(("told", "words"), LINES)
def test_one_line_an_event(told: dict[str, Any], words: list[str]) -> None:
    text = render(item(told)).plain
    assert all(word in text for word in words), text
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_reset_is_said() -> None:
    line = render(Reset("e-0", "the cursor is of another log")).plain
    assert "missed" in line
    assert "another log" in line


def printed(work: Callable[[LinePrinter], None]) -> list[str]:
    out = io.StringIO()
    work(LinePrinter(False, Console(file=out, width=200)))
    return out.getvalue().splitlines()


def test_lines_are_in_the_order_of_time_not_of_arrival() -> None:
    def work(printer: LinePrinter) -> None:
        for second in (5, 3, 4):
            told = run_event("failed") | {"time": f"2026-11-22T10:00:0{second}.000000Z"}
            printer.print(item(told, f"e-{second}"))
        printer.flush()

    _, *lines = printed(work)  # the day
    assert [line.split()[0].rpartition(":")[2] for line in lines] == ["03", "04", "05"]


def test_what_is_held_is_bounded() -> None:
    def work(printer: LinePrinter) -> None:
        for _ in range(MAX_HELD + 5):
            printer.print(item(run_event()))

    assert len(printed(work)) == 1 + 5


@pytest.mark.parametrize(
    ("run_id", "shown"),
    [
        ("scheduled__2026-11-22T10:00:00.123456+00:00", "scheduled__2026-11-22T10:00:00"),
        ("manual__2026-11-22T10:00:00+00:00_x1", "manual__2026-11-22T10:00:00_x1"),
        ("a" * 100 + "b" * 100, "a" * 18 + "…" + "b" * 17),
    ],
)
def test_a_line_is_short_and_names_its_zone(run_id: str, shown: str) -> None:
    error = {"type": "E", "message": "x" * 500}
    told = task_event("failed", run_id=run_id, error=error)
    text = render(item(told)).plain
    assert text.startswith(local_time(told["time"]).strftime("%H:%M:%S %Z  "))
    assert f"  {shown}  E: xxx" in text
    assert len(text) < 180


DELIVERY = {
    "id": 7,
    "settled_at": "2026-11-22T10:00:09Z",
    "state": "sent",
    "channel": "email",
    "recipient": "ops@example.com",
    "subject": "etl failed",
    "kind": "opened",
    "reason": "sent",
    "event_id": "run:1",
}


def test_what_was_sent_is_a_line_with_the_recipient() -> None:
    sent = SettledDelivery.read(DELIVERY)
    assert sent
    assert "✉ sent" in sent.render().plain
    assert "to email ops@example.com  etl failed" in sent.render().plain
    dead = SettledDelivery.read(DELIVERY | {"state": "dead", "reason": "550 no\x1b[2J such user"})
    assert dead
    assert "etl failed  550 no such user" in dead.render().plain
    assert SettledDelivery.read(DELIVERY | {"settled_at": None}) is None
