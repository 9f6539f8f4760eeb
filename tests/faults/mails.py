"""Airflow's database against the mails that the SMTP server accepted, with the ledger's word on the rest."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from monitor.events.identity import run_id_of
from tests.airflow_server import AirflowServer
from tests.faults.ledger import REFUSED, Entry
from tests.faults.stage import MAILED_SUCCESS, RECIPIENTS
from tests.faults.states import base
from tests.smtp_server import Received

EXCUSED = ("uncertain", REFUSED)
"""What the ledger may say of a mail that its recipient lacks."""


@dataclass
class Mails:
    """The account; one mail is one letter to one recipient. Each list holds them in words."""

    expected: int = 0
    accepted: int = 0
    uncertain: Counter[str] = field(default_factory=Counter)
    """What the ledger calls uncertain, by whether the server had taken it."""
    refused: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    false: list[str] = field(default_factory=list)
    """Mails about what Airflow's database does not hold, or that the ledger denies."""
    superseded: int = 0
    """Deliveries that were rightly not sent: Airflow took the report back."""


def called_for(airflow: AirflowServer) -> dict[str, str]:
    """The event ids of the runs' ends that a rule mails, each in words."""
    rows = airflow.query("SELECT dag_id, run_id, start_date, queued_at, state FROM dag_run")
    return {
        run_id_of(dag, run, start, queued, state): f"{dag}/{run} {state}"
        for dag, run, start, queued, state in rows
        if state == "failed" or (state == "success" and dag == MAILED_SUCCESS)
    }


def compare(expected: Mapping[str, str], ledger: Sequence[Entry], received: Iterable[Received]) -> Mails:
    """Weigh each expected mail, and find those that nothing calls for."""
    inbox = Counter(
        (base(str(mail.message["X-Windsock-Event"])), who) for mail in received for who in mail.recipients
    )
    entries: dict[str, list[Entry]] = {}
    for entry in ledger:
        entries.setdefault(base(entry.delivery.event_id), []).append(entry)
    account = Mails(expected=len(expected) * len(RECIPIENTS), accepted=inbox.total())
    for event_id, what in expected.items():
        for who in RECIPIENTS:
            mine = [entry for entry in entries.get(event_id, []) if entry.delivery.recipient == who]
            _weigh(account, f"{what} to {who}", inbox[event_id, who], mine)
    account.false += [f"{event_id} to {who}" for event_id, who in inbox if event_id not in expected]
    account.superseded = sum(
        entry.delivery.state.value == "superseded" and base(entry.delivery.event_id) not in expected
        for entry in ledger
    )
    return account


def _weigh(account: Mails, what: str, accepted: int, entries: Sequence[Entry]) -> None:
    verdicts = [entry.verdict for entry in entries]
    account.uncertain["taken" if accepted else "not taken"] += "uncertain" in verdicts
    account.refused += REFUSED in verdicts
    if accepted == 0 and not any(verdict in EXCUSED for verdict in verdicts):
        account.lost.append(f"{what}: the ledger says {verdicts or 'nothing'}")
    elif accepted == 1 and REFUSED in verdicts:
        account.false.append(f"{what}: accepted, though the ledger calls it refused")
    elif accepted > 1 and "uncertain" not in verdicts:
        account.doubled.append(f"{what}: accepted {accepted} times, the ledger says {verdicts}")
