"""The feed's own client: parsing, resuming across a restart, and a line for a terminal."""

import asyncio
import io
import json
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from monitor.cli.feed_client import MAX_MESSAGE, Message, TailRefused, checked, follow, local_time, parse
from monitor.cli.tail_lines import MAX_HELD, LinePrinter, SettledDelivery, render
from monitor.settings import Settings
from tests import wait
from tests.sample import asset_event, event, run_event, task_event
from tests.unit.web_support import serving

DEADLINE = 30.0


async def chunks(parts: list[bytes]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def parsed(*parts: bytes) -> list[tuple[str, Message | None]]:
    async def read() -> list[tuple[str, Message | None]]:
        return [item async for item in parse(chunks(list(parts)), "start")]

    return asyncio.run(read())


def test_the_parts_of_a_stream() -> None:
    stream = (
        b'retry: 2000\n\n: heartbeat\nid: e-1\n\nid: e-2\nevent: x\ndata: {"a":\ndata: 1}\n\nid: e-3\ndata: {'
    )
    assert parsed(stream) == [("start", None), ("e-1", None), ("e-2", Message("x", "e-2", {"a": 1}))]


@given(st.lists(st.text(min_size=1), min_size=1), st.data())
def test_however_the_stream_is_cut(texts: list[str], data: st.DataObject) -> None:
    """Lines end at LF alone: a text may hold what Python takes for a line's end, U+2028 or U+0085."""
    stream = b"".join(
        f"id: e-{n}\nevent: x\ndata: {json.dumps({'text': text}, ensure_ascii=False)}\n\n".encode(
            errors="surrogatepass"
        )
        for n, text in enumerate(texts)
    )
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    parts = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [message.data["text"] for _, message in parsed(*parts) if message] == texts


@pytest.mark.parametrize("line", [b"x", b"data: x\n"], ids=["a line", "a message"])
def test_what_has_no_end_is_an_error(line: bytes) -> None:
    parts = [line.replace(b"x", b"x" * 2**20)] * (MAX_MESSAGE // 2**20 + 1)
    with pytest.raises(TailRefused, match="longer than"):
        parsed(*parts)


@pytest.mark.parametrize("told", [b"{", b"[" * 100_000])
def test_what_is_no_json_is_an_error(told: bytes) -> None:
    with pytest.raises(TailRefused, match="no event"):
        parsed(b"id: e-1\ndata: " + told + b"\n\n")


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("x", []),
        ("x", {}),
        *(("x", run_event() | change) for change in ({"time": 5}, {"time": "99999-99-99"}, {"source": 5})),
        *(("x", run_event() | change) for change in ({"type": 5}, {"data": [1]}, {"subject": None})),
        ("x", run_event() | {"time": "0001-01-01T00:00:00+14:00"}),
        ("reset", {}),
        ("reset", {"reason": 5}),
    ],
)
def test_a_message_that_nobody_can_show_is_an_error(kind: str, data: Any) -> None:
    with pytest.raises(TailRefused, match="told at e-1 is no event"):
        checked(Message(kind, "e-1", data))


@pytest.mark.parametrize("cursor", ["e-²", "e-" + "9" * 5_000, "nothing", "\x1b]0;x\x07-1"])
def test_a_cursor_that_is_none_is_an_error(cursor: str) -> None:
    with pytest.raises(TailRefused, match="is no cursor"):
        parsed(f"id: {cursor}\n\n".encode())


async def take(url: str, count: int, found: list[Message], **options: Any) -> None:
    async with httpx.AsyncClient(base_url=url) as client, aclosing(follow(client, **options)) as messages:
        while len(found) < count:
            found.append(await asyncio.wait_for(anext(messages), DEADLINE))


def test_it_follows_across_a_restart(settings: Settings) -> None:
    """Two monitors in turn on one database and port; nothing is missed, and nothing comes twice."""
    found: list[Message] = []
    batch = [run_event(run_id=str(number)) for number in range(6)]
    with serving(settings) as monitor:
        port, url = monitor.port, monitor.url
        since = {"since": "2020-01-01T00:00:00Z"}
        reader = threading.Thread(target=lambda: asyncio.run(take(url, 6, found, params=since)), daemon=True)
        reader.start()
        monitor.post(batch[:3])
        wait.until(lambda: len(found) == 3, "the first events")
    with serving(settings.model_copy(update={"port": port})) as monitor:
        monitor.post(batch[3:])
        reader.join(DEADLINE)
    assert [message.data for message in found] == batch


def test_it_says_why_it_is_refused(settings: Settings) -> None:
    with serving(settings) as monitor, pytest.raises(TailRefused, match="dagid"):
        asyncio.run(take(monitor.url, 1, [], params={"dagid": "etl"}))


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
    text = render(Message(told["type"], "e-1", told)).plain
    assert all(word in text for word in words), text
    assert "\x1b" not in text
    assert "\n" not in text


def test_a_reset_is_said() -> None:
    line = render(Message("reset", "e-0", {"reason": "the cursor is of another log", "cursor": "e-0"})).plain
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
            printer.print(Message(told["type"], f"e-{second}", told))
        printer.flush()

    _, *lines = printed(work)  # the day
    assert [line.split()[0].rpartition(":")[2] for line in lines] == ["03", "04", "05"]


def test_what_is_held_is_bounded() -> None:
    def work(printer: LinePrinter) -> None:
        for _ in range(MAX_HELD + 5):
            printer.print(Message("x", "e-1", run_event()))

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
    text = render(Message(told["type"], "e-1", told)).plain
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
