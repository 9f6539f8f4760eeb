"""The monitor's answers, and what becomes of each file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_windsock.sender import MAX_BATCH, MAX_REQUEST, Later, Sender, batches
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool, SpooledEvent
from tests.plugin import receiver as scripted
from tests.plugin.conftest import WAIT
from tests.plugin.receiver import Answer, Handler, Receiver, status


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 10_000, 100_000_000)


@pytest.fixture
def courier(settings: Settings, spool: Spool) -> Sender:
    assert settings.endpoint is not None
    return Sender(settings, settings.endpoint, spool)


def put(spool: Spool, count: int) -> list[SpooledEvent]:
    names = [spool.add(json.dumps({"id": f"event:{number}"}).encode()) for number in range(count)]
    return [letter for name in names if (letter := spool.read(name))]


def carry(courier: Sender, letters: list[SpooledEvent]) -> None:
    courier.send(letters, lambda: WAIT)


def reasons(spool: Spool) -> dict[str, str]:
    """What was set aside, by the event's id."""
    bad = spool.root / "bad"
    return {
        json.loads(path.read_text())["id"]: Path(f"{path}.reason").read_text()
        for path in bad.iterdir()
        if path.suffix == ".json"
    }


def test_accepted_and_duplicate_are_done_with(courier: Sender, spool: Spool, receiver: Receiver) -> None:
    receiver.events["event:1"] = {}
    carry(courier, put(spool, 3))
    assert spool.names() == []
    assert reasons(spool) == {}
    assert set(receiver.ids) == {"event:0", "event:1", "event:2"}


def test_one_bad_event_among_a_hundred(courier: Sender, spool: Spool, receiver: Receiver) -> None:
    receiver.script.append(scripted.reject("event:42"))
    carry(courier, put(spool, 100))
    assert spool.names() == []
    assert reasons(spool) == {"event:42": "rejected by the monitor: unknown type\n"}


def refuse_if(number: int, refusal: Answer) -> Answer:
    """The whole request is refused as long as that event is in it."""

    def answer(handler: Handler, batch: list[dict[str, str]]) -> None:
        guilty = any(event["id"] == f"event:{number}" for event in batch)
        (refusal if guilty else scripted.take)(handler, batch)

    return answer


MALFORMED, TOO_LARGE = "#problem-malformed", "#problem-too-large"


def monitors(code: int, kind: str, detail: str = "cannot be read") -> Answer:
    """The monitor's own refusal, behind a path prefix."""
    told = {"type": f"/wind/docs{kind}", "status": code, "detail": detail}
    return scripted.document(code, told, Content_Type="application/problem+json; charset=utf-8")


@pytest.mark.parametrize(("code", "kind"), [(400, MALFORMED), (413, TOO_LARGE)])
def test_a_refused_request_is_split_until_the_culprit_stands_alone(
    courier: Sender, spool: Spool, receiver: Receiver, code: int, kind: str
) -> None:
    receiver.script.extend([refuse_if(5, monitors(code, kind))] * 50)
    carry(courier, put(spool, 20))
    assert spool.names() == []
    assert reasons(spool) == {"event:5": f"the monitor answered {code}: cannot be read\n"}
    assert len(receiver.events) == 19


NGINX = b"<html><head><title>400 The plain HTTP request was sent to HTTPS port</title></head></html>"
FOREIGN = [
    scripted.document(400, NGINX, Content_Type="text/html"),
    scripted.document(400, b"Client sent an HTTP request to an HTTPS server.\n"),
    scripted.document(400, {"type": f"/docs{MALFORMED}"}, Content_Type="application/json"),
    scripted.document(400, {"type": "about:blank"}, Content_Type="application/problem+json"),
    scripted.document(400, {"type": "/docs#problem-not-http"}, Content_Type="application/problem+json"),
    scripted.document(400, {"type": [MALFORMED]}, Content_Type="application/problem+json"),
    scripted.document(400, [MALFORMED], Content_Type="application/problem+json"),
    scripted.document(400, b"{", Content_Type="application/problem+json"),
    monitors(400, TOO_LARGE),
    monitors(413, MALFORMED),
    scripted.document(413, b"<html>413 Request Entity Too Large</html>", Content_Type="text/html"),
]


@pytest.mark.parametrize("foreign", FOREIGN)
def test_no_event_is_set_aside_on_the_word_of_another_server(
    courier: Sender, spool: Spool, receiver: Receiver, foreign: Answer
) -> None:
    receiver.script.extend([foreign] * 20)
    with pytest.raises(Later, match="mend monitor_url") as later:
        carry(courier, put(spool, 100))
    assert later.value.misconfigured
    assert len(spool.names()) == 100
    assert receiver.seen <= 8  # a proxy's 413 is tried with less, down to one event


def test_what_a_proxy_finds_too_large_goes_through_in_parts(
    courier: Sender, spool: Spool, receiver: Receiver
) -> None:
    def limited(handler: Handler, batch: list[dict[str, str]]) -> None:
        handler.answer(413, b"<html>") if len(batch) > 3 else scripted.take(handler, batch)

    receiver.script.extend([limited] * 50)
    carry(courier, put(spool, 20))
    assert len(receiver.events) == 20
    assert (spool.names(), reasons(spool)) == ([], {})


ESCAPES = "\x1b]0;owned\x07\x1b[31mred\nERROR forged\u2028line \u202eback " + "x" * 5_000


def test_an_answer_is_one_clean_line_in_logs_and_reasons(
    courier: Sender, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    def rejected(handler: Handler, batch: list[dict[str, str]]) -> None:
        results = [{"id": event["id"], "status": "rejected", "reason": ESCAPES} for event in batch]
        handler.answer(202, {"results": results})

    receiver.script.extend([monitors(400, MALFORMED, ESCAPES), rejected, monitors(503, "", ESCAPES)])
    for _ in range(2):
        carry(courier, put(spool, 1))
    with pytest.raises(Later) as later:
        carry(courier, put(spool, 1))
    said = [*(path.read_text()[:-1] for path in spool.root.glob("bad/*.reason")), str(later.value)]
    assert len(said) == 3
    for text in (*said, *(record.getMessage() for record in caplog.records)):
        assert "forged line back" in text
        assert text.isprintable()
        assert len(text) < 2_000


@pytest.mark.parametrize("code", [401, 403, 404, 405, 415, 302, 200])
def test_what_somebody_must_mend_keeps_everything(
    courier: Sender, spool: Spool, receiver: Receiver, code: int
) -> None:
    receiver.script.append(status(code))
    with pytest.raises(Later, match=str(code)) as later:
        carry(courier, put(spool, 2))
    assert later.value.misconfigured
    assert "mend" in str(later.value)
    assert len(spool.names()) == 2


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_what_will_pass_keeps_everything(
    courier: Sender, spool: Spool, receiver: Receiver, code: int
) -> None:
    receiver.script.append(status(code, Retry_After="7"))
    with pytest.raises(Later, match=f"scripted {code}") as later:
        carry(courier, put(spool, 2))
    assert not later.value.misconfigured
    assert later.value.wait == 7.0
    assert len(spool.names()) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        {},
        [],
        {"results": None},
        {"results": []},
        {"results": [{"id": "event:0"}, {"id": "event:1"}]},
        {"results": [{"id": "event:1", "status": "accepted"}, {"id": "event:0", "status": "accepted"}]},
        {"results": [{"id": "event:0", "status": "accepted"}, {"id": "event:1", "status": "perhaps"}]},
        {"results": ["accepted", "accepted"]},
        {"results": [{"id": "event:0", "status": []}, {"id": "event:1", "status": {}}]},
        {"results": [{"id": 0, "status": "accepted"}, {"id": "event:1", "status": "accepted"}]},
    ],
)
def test_nothing_is_removed_on_the_word_of_another_server(
    courier: Sender, spool: Spool, receiver: Receiver, body: object
) -> None:
    receiver.script.append(scripted.document(202, body))
    with pytest.raises(Later) as later:
        carry(courier, put(spool, 2))
    assert later.value.misconfigured
    assert len(spool.names()) == 2


def test_reset_after_processing_comes_twice_and_is_a_duplicate(
    courier: Sender, spool: Spool, receiver: Receiver
) -> None:
    receiver.script.append(scripted.take_and_reset)
    letters = put(spool, 2)
    with pytest.raises(Later, match="no answer"):
        carry(courier, letters)
    assert len(spool.names()) == 2
    carry(courier, letters)
    assert spool.names() == []
    assert receiver.ids == ["event:0", "event:1"]


def test_a_file_that_another_took_meanwhile(courier: Sender, spool: Spool, receiver: Receiver) -> None:
    receiver.script.append(scripted.reject("event:0"))
    letters = put(spool, 2)
    for letter in letters:
        spool.remove(letter.name)
    carry(courier, letters)
    assert reasons(spool) == {}


def test_requests_are_bounded_in_events_and_bytes() -> None:
    small = [SpooledEvent(str(number), str(number), b"{}") for number in range(MAX_BATCH * 2 + 1)]
    assert [len(batch) for batch in batches(iter(small))] == [MAX_BATCH, MAX_BATCH, 1]
    big = [SpooledEvent(str(number), str(number), b"x" * 1_000_000) for number in range(7)]
    assert [len(batch) for batch in batches(iter(big))] == [3, 3, 1]
    assert all(
        sum(len(letter.body) + 1 for letter in batch) + 1 <= MAX_REQUEST for batch in batches(iter(big))
    )
    assert list(batches(iter([]))) == []
