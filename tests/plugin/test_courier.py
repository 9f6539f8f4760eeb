"""The monitor's answers, and what becomes of each file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugin import receiver as scripted
from tests.plugin.conftest import WAIT
from tests.plugin.receiver import Answer, Handler, Receiver, status
from windsock.courier import MAX_BATCH, MAX_REQUEST, Courier, Later, batches
from windsock.settings import Settings
from windsock.spool import Letter, Spool


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 10_000, 100_000_000)


@pytest.fixture
def courier(settings: Settings, spool: Spool) -> Courier:
    assert settings.endpoint is not None
    return Courier(settings, settings.endpoint, spool)


def put(spool: Spool, count: int) -> list[Letter]:
    names = [spool.put(json.dumps({"id": f"event:{number}"}).encode()) for number in range(count)]
    return [letter for name in names if (letter := spool.read(name))]


def carry(courier: Courier, letters: list[Letter]) -> None:
    courier.carry(letters, lambda: WAIT)


def reasons(spool: Spool) -> dict[str, str]:
    """What was set aside, by the event's id."""
    bad = spool.root / "bad"
    return {
        json.loads(path.read_text())["id"]: Path(f"{path}.reason").read_text()
        for path in bad.iterdir()
        if path.suffix == ".json"
    }


def test_accepted_and_duplicate_are_done_with(courier: Courier, spool: Spool, receiver: Receiver) -> None:
    receiver.events["event:1"] = {}
    carry(courier, put(spool, 3))
    assert spool.names() == []
    assert reasons(spool) == {}
    assert set(receiver.ids) == {"event:0", "event:1", "event:2"}


def test_one_bad_event_among_a_hundred(courier: Courier, spool: Spool, receiver: Receiver) -> None:
    receiver.script.append(scripted.reject("event:42"))
    carry(courier, put(spool, 100))
    assert spool.names() == []
    assert reasons(spool) == {"event:42": "rejected by the monitor: unknown type\n"}


def refuse_if(number: int, code: int) -> Answer:
    """The whole request is refused as long as that event is in it."""

    def answer(handler: Handler, batch: list[dict[str, str]]) -> None:
        guilty = any(event["id"] == f"event:{number}" for event in batch)
        handler.answer(code, {"detail": "cannot be read"}) if guilty else scripted.take(handler, batch)

    return answer


@pytest.mark.parametrize("code", [400, 413])
def test_a_refused_request_is_split_until_the_culprit_stands_alone(
    courier: Courier, spool: Spool, receiver: Receiver, code: int
) -> None:
    receiver.script.extend([refuse_if(5, code)] * 50)
    carry(courier, put(spool, 20))
    assert spool.names() == []
    assert reasons(spool) == {"event:5": f"the monitor answered {code}: cannot be read\n"}
    assert len(receiver.events) == 19


@pytest.mark.parametrize("code", [401, 403, 404, 405, 415, 302, 200])
def test_what_somebody_must_mend_keeps_everything(
    courier: Courier, spool: Spool, receiver: Receiver, code: int
) -> None:
    receiver.script.append(status(code))
    with pytest.raises(Later, match=str(code)) as later:
        carry(courier, put(spool, 2))
    assert later.value.misconfigured
    assert "mend" in str(later.value)
    assert len(spool.names()) == 2


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_what_will_pass_keeps_everything(
    courier: Courier, spool: Spool, receiver: Receiver, code: int
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
    ],
)
def test_nothing_is_removed_on_the_word_of_another_server(
    courier: Courier, spool: Spool, receiver: Receiver, body: object
) -> None:
    receiver.script.append(scripted.document(202, body))
    with pytest.raises(Later) as later:
        carry(courier, put(spool, 2))
    assert later.value.misconfigured
    assert len(spool.names()) == 2


def test_reset_after_processing_comes_twice_and_is_a_duplicate(
    courier: Courier, spool: Spool, receiver: Receiver
) -> None:
    receiver.script.append(scripted.take_and_reset)
    letters = put(spool, 2)
    with pytest.raises(Later, match="no answer"):
        carry(courier, letters)
    assert len(spool.names()) == 2
    carry(courier, letters)
    assert spool.names() == []
    assert receiver.ids == ["event:0", "event:1"]


def test_a_file_that_another_took_meanwhile(courier: Courier, spool: Spool, receiver: Receiver) -> None:
    receiver.script.append(scripted.reject("event:0"))
    letters = put(spool, 2)
    for letter in letters:
        spool.remove(letter.name)
    carry(courier, letters)
    assert reasons(spool) == {}


def test_requests_are_bounded_in_events_and_bytes() -> None:
    small = [Letter(str(number), str(number), b"{}") for number in range(MAX_BATCH * 2 + 1)]
    assert [len(batch) for batch in batches(iter(small))] == [MAX_BATCH, MAX_BATCH, 1]
    big = [Letter(str(number), str(number), b"x" * 1_000_000) for number in range(7)]
    assert [len(batch) for batch in batches(iter(big))] == [3, 3, 1]
    assert all(
        sum(len(letter.body) + 1 for letter in batch) + 1 <= MAX_REQUEST for batch in batches(iter(big))
    )
    assert list(batches(iter([]))) == []
