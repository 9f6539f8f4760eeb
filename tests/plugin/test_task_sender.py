"""Sending from a task's process: at once or never late."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest

from airflow_windsock.backoff import Backoff
from airflow_windsock.journal import Journal
from airflow_windsock.lock import TURN, FileLock
from airflow_windsock.sender import Sender
from airflow_windsock.settings import Settings
from airflow_windsock.spool import Spool
from airflow_windsock.task_sender import CATCH_UP, TaskSender
from tests.plugin import receiver as scripted
from tests.plugin.conftest import WAIT
from tests.plugin.receiver import Answer, Receiver, status

BUDGET = 0.3  # seconds


@pytest.fixture
def spool(settings: Settings) -> Spool:
    return Spool(settings.spool_dir, 1_000, 10_000_000)


def make(settings: Settings, spool: Spool, budget: float = WAIT) -> TaskSender:
    assert settings.endpoint is not None
    backoff = Backoff(settings.spool_dir / "backoff")
    return TaskSender(spool, Sender(settings, settings.endpoint, spool), backoff, budget)


def put(spool: Spool, number: int) -> str:
    return spool.add(json.dumps({"id": f"event:{number}"}).encode())


def test_its_events_go_out_at_once_after_what_is_older_and_before_what_is_younger(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    put(spool, 0)
    sender = make(settings, spool)
    own = put(spool, 1)
    younger = put(spool, 9)
    sender.send("task", own)
    assert receiver.ids == ["event:0", "event:1"]
    assert spool.names() == [younger]


def test_it_leaves_its_event_to_whoever_sends_just_now(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    sender = make(settings, spool)
    name = put(spool, 1)
    with FileLock(spool.root / TURN).acquire() as mine:
        sender.send("task", name)
        assert mine
    assert receiver.seen == 0
    assert Backoff(settings.spool_dir / "backoff").wait() == 0, "the monitor is not to blame"
    sender.send("task", put(spool, 2))
    assert receiver.ids == ["event:1", "event:2"]


def test_it_never_overtakes_what_a_living_process_has_in_its_journal(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    journal = Journal(spool)
    journal.append(b'{"id": "event:0"}')
    make(settings, spool).send("task", put(spool, 1))
    assert receiver.seen == 0
    journal.hand_over()
    make(settings, spool).send("task", put(spool, 2))
    assert receiver.ids == ["event:0", "event:1", "event:2"]
    journal.forget()


def test_of_a_long_backlog_a_task_carries_the_oldest_part(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    for number in range(CATCH_UP + 10):
        name = put(spool, number)
    make(settings, spool).send("task", name)
    assert receiver.ids == [f"event:{number}" for number in range(CATCH_UP)]


@pytest.mark.parametrize("answer", [scripted.hang, scripted.drip])
def test_the_budget_is_for_the_whole_task(
    settings: Settings, spool: Spool, receiver: Receiver, answer: Answer
) -> None:
    receiver.script.extend([answer] * 10)
    sender = make(settings, spool, BUDGET)

    def hooks() -> None:
        for number in range(5):
            sender.send("task", put(spool, number))
            Backoff(settings.spool_dir / "backoff").record_success()  # so that only the budget holds it back

    thread = threading.Thread(target=hooks, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert receiver.seen == 1, "the first attempt used the budget up"
    assert len(spool.names()) == 5


def test_after_a_failure_other_tasks_do_not_even_try(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    receiver.script.append(status(503))
    make(settings, spool).send("first", put(spool, 1))
    for number in range(2, 6):
        make(settings, spool).send(f"task {number}", put(spool, number))
    assert receiver.seen == 1
    assert len(spool.names()) == 5


def test_what_did_not_go_out_goes_with_the_task_s_next_event(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    receiver.script.append(status(503))
    sender = make(settings, spool)
    sender.send("task", put(spool, 1))
    Backoff(settings.spool_dir / "backoff").record_success()
    sender.send("task", put(spool, 2))
    assert [event["id"] for event in receiver.batches[-1]] == ["event:1", "event:2"]
    assert spool.names() == []


def test_each_task_of_one_process_has_a_budget_of_its_own(
    settings: Settings, spool: Spool, receiver: Receiver
) -> None:
    """`dag.test()` runs many tasks in one process."""
    receiver.script.append(scripted.hang)
    sender = make(settings, spool, BUDGET)
    sender.send("first", put(spool, 1))
    Backoff(settings.spool_dir / "backoff").record_success()
    sender.send("second", put(spool, 2))
    assert receiver.ids == ["event:1", "event:2"]


def test_no_budget_no_attempt(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    make(settings, spool, 0.0).send("task", put(spool, 1))
    assert receiver.seen == 0
    assert len(spool.names()) == 1


def test_a_closed_port_costs_nothing_but_disk(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    assert settings.endpoint is not None
    away = replace(settings, endpoint=replace(settings.endpoint, port=1))
    make(away, spool).send("task", put(spool, 1))
    assert Backoff(settings.spool_dir / "backoff").wait() > 0
    assert len(spool.names()) == 1


def test_another_drainer_took_the_file(settings: Settings, spool: Spool, receiver: Receiver) -> None:
    name = put(spool, 1)
    spool.remove(name)
    make(settings, spool).send("task", name)
    assert receiver.seen == 0


def test_a_wrong_secret_is_said_in_the_task_s_log(
    settings: Settings, spool: Spool, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.script.append(status(401))
    make(settings, spool).send("task", put(spool, 1))
    assert "mend ingest_secret" in caplog.text
