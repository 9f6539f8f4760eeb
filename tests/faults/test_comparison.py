"""The comparison finds what is lost and doubled: a harness that cannot fail proves nothing."""

from dataclasses import replace
from datetime import datetime, timezone
from itertools import islice
from typing import Any

import pytest

from monitor.notifications.outbox.records import Delivery, NotificationKind, State
from monitor.rules.targets import ChannelName
from tests.faults import mails, states
from tests.faults.ledger import Entry
from tests.faults.schedule import Replies, cuts, kills
from tests.faults.stage import RECIPIENTS
from tests.smtp_server import Received

NOW = datetime(2026, 11, 22, tzinfo=timezone.utc)
RUN = "run:ab:failed"
EXPECTED = {RUN: "etl/one failed"}
FIRST, *OTHERS = RECIPIENTS


def told(event_id: str, by: str = "listener") -> dict[str, Any]:
    state = event_id.split(":")[2]
    return {"id": event_id, "subject": "etl/one", "data": {"state": state, "reported_by": by}}


def weighed(*ids: str) -> states.States:
    return states.compare({"etl/one failed": (RUN,)}, [told(event_id) for event_id in ids])


def entry(state: State, *answers: str, to: str = FIRST) -> Entry:
    delivery = Delivery(
        1, 1, ChannelName.EMAIL, to, NotificationKind.FAILURE, None, 1, RUN, "local", "etl", "one",
        "failures", "run_failed",
        (to,), () if state is State.SENT else (to,), state, "", None, "<1@example.com>", 1, NOW, NOW,
        None, None, None, None,
    )  # fmt: skip
    return Entry(delivery, answers)


def to_all(state: State) -> list[Entry]:
    return [entry(state, to=who) for who in RECIPIENTS]


def because(found: Entry, reason: str) -> Entry:
    return Entry(replace(found.delivery, reason=reason), found.answers)


def letter(*recipients: str) -> Received:
    return Received("", list(recipients), True, None, f"X-Windsock-Event: {RUN}\r\n\r\n".encode())


def test_a_state_that_is_told_once_is_in_order() -> None:
    account = weighed("run:ab:running", RUN)
    assert (account.held, account.told, account.by["listener"]) == (1, 1, 1)
    assert not account.lost + account.doubled + account.contradicted + account.taken_back


def test_a_state_that_nobody_tells_is_lost() -> None:
    assert weighed("run:ab:running", "run:cd:failed").lost == ["etl/one failed"]


def test_the_same_end_twice_in_a_row_is_doubled() -> None:
    assert len(weighed(RUN, f"{RUN}:2").doubled) == 1


def test_an_end_after_another_one_is_a_correction() -> None:
    account = weighed(RUN, "run:ab:success", f"{RUN}:2")
    assert account.taken_back == ["etl/one success (listener)"]
    assert not account.doubled + account.contradicted


def test_a_last_word_that_the_database_does_not_hold_contradicts_it() -> None:
    assert len(weighed(RUN, "run:ab:success").contradicted) == 1


def test_a_try_whose_last_word_is_that_of_a_process_that_was_given_up() -> None:
    ids = ("task:uuid:failed", "task:uuid:up_for_retry")
    late, corrected = told("task:uuid:success"), told(ids[1], "reconciler")
    assert len(states.compare({"a try": ids}, [told(ids[1]), late]).contradicted) == 1
    account = states.compare({"a try": ids}, [late, corrected])
    assert not account.lost + account.contradicted + account.doubled


def test_a_try_that_is_told_under_both_of_its_ids_is_doubled() -> None:
    ids = ("task:uuid:failed", "task:uuid:up_for_retry")
    assert len(states.compare({"a try": ids}, [told(each) for each in ids]).doubled) == 1


def test_a_try_that_is_told_with_its_uuid_or_without() -> None:
    ids = ("task:uuid:failed", "task:uuid:up_for_retry", "try:ab:up_for_retry")
    for told_as in ids:
        account = states.compare({"a try": ids}, [told(told_as, "reconciler")])
        assert (account.told, account.lost, account.taken_back) == (1, [], [])
    assert states.compare({"a try": ids}, [told("try:cd:up_for_retry")]).lost == ["a try"]
    assert len(states.compare({"a try": ids}, [told(ids[0]), told(ids[2])]).doubled) == 1


@pytest.mark.parametrize(
    ("ledger", "received", "lost", "doubled"),
    [
        ([], [], 3, 0),
        (to_all(State.SENT), [letter(who) for who in RECIPIENTS], 0, 0),
        (to_all(State.SENT), [letter(who) for who in OTHERS], 1, 0),
        (to_all(State.SENT), [letter(who) for who in (*RECIPIENTS, FIRST)], 0, 1),
        (to_all(State.UNCERTAIN), [], 0, 0),
        (to_all(State.UNCERTAIN), [letter(FIRST), letter(FIRST)], 0, 0),
        (to_all(State.DEAD), [], 3, 0),
        ([because(one, "refused: 550 5.7.1 No") for one in to_all(State.DEAD)], [], 0, 0),
        (to_all(State.SUPERSEDED), [], 3, 0),
        (to_all(State.PENDING), [], 3, 0),
    ],
)
def test_mails_that_the_ledger_does_not_excuse(
    ledger: list[Entry], received: list[Received], lost: int, doubled: int
) -> None:
    account = mails.compare(EXPECTED, ledger, received)
    assert (len(account.lost), len(account.doubled)) == (lost, doubled)


def test_mails_that_nothing_calls_for_are_false() -> None:
    assert len(mails.compare({}, to_all(State.SENT), [letter(*RECIPIENTS)]).false) == 3


def test_a_mail_that_was_taken_and_is_called_refused_is_false() -> None:
    refused = because(entry(State.DEAD), "refused: 550 5.7.1 No")
    account = mails.compare(EXPECTED, [refused], [letter(FIRST)])
    assert account.false == [f"etl/one failed to {FIRST}: accepted, though the ledger calls it refused"]


def test_a_seed_makes_the_same_faults() -> None:
    def plan(seed: int) -> tuple[Any, ...]:
        choose, reply = cuts(seed, "edge"), Replies(seed)
        return (
            list(islice(kills(seed), 50)),
            [choose() for _ in range(50)],
            [reply("RCPT", FIRST) for _ in range(50)],
        )

    assert plan(7) == plan(7)
    assert plan(7) != plan(8)
