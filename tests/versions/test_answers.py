"""The plugin of this release and the answers of other monitors, or of what stands before one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_windsock.sender import Later, Sender
from airflow_windsock.settings import Endpoint, Settings
from airflow_windsock.spool import Spool
from tests.plugin.receiver import Handler, Receiver, document, status

EVENT = b'{"id": "run:1:failed", "type": "airflow.dag_run.failed"}'
KEPT = (401, 403, 404, 405, 408, 415, 422, 425, 429, 500, 502, 503, 504, 301, 200, 204)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as found:
        yield found


def courier_of(receiver: Receiver, folder: Path) -> tuple[Sender, Spool]:
    endpoint = Endpoint(tls=False, host="127.0.0.1", port=receiver.port, path="/api/v1/events")
    spool = Spool(folder / "spool", 100, 1_000_000)
    settings = Settings("local", spool.root, endpoint, secrets=(receiver.secret,))
    return Sender(settings, endpoint, spool), spool


def carry(courier: Sender, spool: Spool) -> None:
    letters = [letter for name in spool.names() if (letter := spool.read(name))]
    courier.send(letters, lambda: 5.0)


@pytest.mark.parametrize("code", KEPT)
def test_whatever_else_is_answered_the_events_are_kept(receiver: Receiver, tmp_path: Path, code: int) -> None:
    courier, spool = courier_of(receiver, tmp_path)
    spool.add(EVENT)
    receiver.script.append(status(code))
    with pytest.raises(Later):
        carry(courier, spool)
    assert len(spool.names()) == 1
    carry(courier, spool)  # it answers as it should, at last
    assert receiver.ids == ["run:1:failed"]
    assert spool.names() == []


def answer(**more: Any) -> dict[str, Any]:
    return {"results": [{"id": "run:1:failed", "status": "duplicate", **more.pop("result", {})}], **more}


@pytest.mark.parametrize(
    "said",
    [
        answer(),  # no counts at all
        answer(accepted=0, rejected=0),  # no `duplicate`
        answer(accepted=0, duplicate=1, rejected=0, future={"hint": 1}, result={"seq": 7, "future": None}),
    ],
)
def test_counts_and_unknown_fields_of_an_answer_do_not_matter(
    receiver: Receiver, tmp_path: Path, said: dict[str, Any]
) -> None:
    courier, spool = courier_of(receiver, tmp_path)
    spool.add(EVENT)
    receiver.script.append(document(202, said))
    carry(courier, spool)
    assert spool.names() == []


def test_an_unknown_status_of_a_future_monitor_keeps_the_event(receiver: Receiver, tmp_path: Path) -> None:
    courier, spool = courier_of(receiver, tmp_path)
    spool.add(EVENT)
    receiver.script.append(document(202, answer(result={"status": "deferred"})))
    with pytest.raises(Later, match="unknown status"):
        carry(courier, spool)
    assert len(spool.names()) == 1


def test_each_request_says_how_the_spool_is(receiver: Receiver, tmp_path: Path) -> None:
    courier, spool = courier_of(receiver, tmp_path)
    spool.add(EVENT)
    heard: list[str] = []

    def listen(handler: Handler, batch: list[Any]) -> None:
        heard.append(handler.headers["windsock-spool"])
        handler.answer(202, answer())

    receiver.script.append(listen)
    carry(courier, spool)
    assert "waiting=1;oldest=0;refused=0;failed=0" in heard[0]
