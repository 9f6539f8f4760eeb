"""Three monitors that mail, one of them killed while it sends, and PostgreSQL restarted under all of them:
the sink's mails against the ledger, and the same accounts as in writers.py.
"""

import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import func, select, text

from monitor.clock import utc_now
from monitor.database.schema import deliveries
from monitor.delivery.worker import LEASE, RENEW_SECONDS
from monitor.notifications.outbox.records import WAITING, State
from tests import wait
from tests.every_end import every_end
from tests.faults import ledger
from tests.faults.mails import compare
from tests.faults.stage import RECIPIENTS
from tests.scale.books import books
from tests.scale.fleet import Fleet, sender_of
from tests.scale.told import EVENTS_A_RUN, told
from tests.scale.traffic import traffic
from tests.scale.verdict import Outcome, wrong
from tests.smtp_server import Received, SmtpServer

MONITORS = 3
CLIENTS = 3
KILLED_AT = 0.2  # of the mails
RESTARTED_AT = 0.5
SETTLE_SECONDS = 240.0


@dataclass
class Killer:
    """Ends the monitor that is just sending the `at`th mail: the server has it, and nobody notes its 250."""

    at: int
    pids: Mapping[str, int] = field(default_factory=dict)
    """Of the monitors, by their senders."""
    killed: str | None = None
    taken: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def __call__(self, mail: Received) -> str:
        self.taken += 1
        if self.taken >= self.at and not self.killed and mail.sender in self.pids:
            self.killed = mail.sender
            os.kill(self.pids[mail.sender], signal.SIGKILL)
            self.done.set()
        return "250 OK"


def replicas(folder: Path, failures: int, seed: int, patient: bool = True) -> Outcome:
    """`patient=False`: the dead monitor's leases are ended by hand, once nobody else can hold them."""
    number = failures * len(RECIPIENTS)
    killer = Killer(int(number * KILLED_AT))
    smtp = SmtpServer(folder, reply=killer).start()
    env = smtp.monitor_env() | every_end(folder, RECIPIENTS, "none")
    with ExitStack() as ends:
        ends.callback(smtp.stop)
        fleet = ends.enter_context(Fleet(folder, MONITORS, env))
        killer.pids = {sender_of(place): one.process_id for place, one in enumerate(fleet.monitors)}
        sent = told(failures * EVENTS_A_RUN, seed, utc_now(), failing=1.0)
        going = ends.enter_context(traffic(fleet, sent, CLIENTS, seed))
        killed_at = _killed(fleet, killer)
        wait.until(lambda: len(smtp.mails) >= number * RESTARTED_AT, "half of the mails", SETTLE_SECONDS)
        fleet.postgres.go_down()
        fleet.postgres.come_up()
        going.clients.done()
        _settled(fleet, killed_at, patient)
        took = going.ended()
        mails = compare(sent.failures, ledger.read(fleet.database), smtp.mails)
        summary = (
            f"{MONITORS} monitors, {len(sent.ids):,} events, {mails.expected:,} mails in {took:.0f} s; "
            f"{killer.killed} killed while it sent, PostgreSQL restarted; accepted {mails.accepted:,}, "
            f"lost {len(mails.lost)}, doubled {len(list(doubled(smtp.mails)))}, "
            f"uncertain {dict(mails.uncertain)}; "
            f"{going.restless.moves} times a feed went on elsewhere; {dict(going.clients.counts)}"
        )
        found = wrong(books(fleet, sent, counted=False), going.tails)
        return Outcome([*found, *mails.lost, *mails.false, *doubled(smtp.mails)], summary)


def _killed(fleet: Fleet, killer: Killer) -> datetime:
    """Wait for it, and start the monitor again."""
    assert killer.done.wait(SETTLE_SECONDS), f"{killer.taken} mails were sent, and no monitor killed"
    killed_at = utc_now()
    [dead] = [one for place, one in enumerate(fleet.monitors) if sender_of(place) == killer.killed]
    dead.kill()
    dead.start()
    return killed_at


def _settled(fleet: Fleet, killed_at: datetime, patient: bool) -> None:
    """Until each delivery has come to an end."""
    if not patient:
        sure = killed_at + timedelta(seconds=RENEW_SECONDS + 3)  # who lives has settled or renewed by then
        wait.until(
            lambda: utc_now() > sure and not number_of(fleet, *WAITING), "the mails that wait", SETTLE_SECONDS
        )
        with fleet.engine.begin() as connection:
            connection.execute(_END, {"dead": killed_at + LEASE})
    wait.until(
        lambda: not number_of(fleet, *WAITING, State.SENDING), "every delivery to be settled", SETTLE_SECONDS
    )


_END = text("UPDATE deliveries SET lease_until = created_at WHERE state = 'sending' AND lease_until <= :dead")


def number_of(fleet: Fleet, *states: State) -> int:
    query = select(func.count()).where(deliveries.c.state.in_([state.value for state in states]))
    with fleet.engine.connect() as connection:
        return connection.execute(query).scalar_one()


def doubled(mails: list[Received]) -> Iterator[str]:
    inbox = Counter((str(mail.message["X-Windsock-Event"]), who) for mail in mails for who in mail.recipients)
    for (event_id, who), number in inbox.items():
        if number > 1:
            yield f"mail doubled: {event_id} to {who}: {number} times"
