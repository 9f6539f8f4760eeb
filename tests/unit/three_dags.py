"""The same of three DAGs on one monitor, of each thing that Windsock keeps: one that a user may read, and two
that the user may not. Whatever is of the others bears one of their words.
"""

from dataclasses import dataclass
from datetime import datetime, timezone
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from monitor.notifications import incidents, silences
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.queries import DeliveryFilter
from monitor.notifications.outbox.records import State
from monitor.rules.model import Match
from monitor.web.auth import tokens
from monitor.web.auth.tokens import Draft, Owner, Scope
from tests import wait
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served

OWN, OTHERS = "etlown", ("payrollx", "nobodysx")
LATER = datetime.max.replace(tzinfo=timezone.utc)
RULES = (
    "rules:\n"
    + "".join(
        f"""
  - name: "{dag} alone"
    match: {{dag_id: {dag}}}
    notify_on: [every_failure, recovered, success, notice]
    to: "{dag}@example.com"
    route: false
"""
        for dag in (OWN, *OTHERS)
    )
    + """
  - name: all together
    match: {type: airflow.dag_run.failed}
    notify_on: every_failure
    to: ops@example.com
    route: false
    group: {by: [deployment], wait: 1m}
"""
)


@dataclass(frozen=True)
class Known:
    """How each DAG's things are called in paths."""

    values: dict[str, dict[str, object]]


def write_rules(home: Path) -> None:
    (home / "windsock.yaml").write_text(RULES)


def fill(monitor: Served, clock: FakeClock) -> dict[str, dict[str, object]]:
    """Answers the values of paths' parameters, by DAG."""
    for number, dag in enumerate((OWN, *OTHERS)):
        monitor.post(_events(number, dag))
    # The own asset began another's run; one run each ends well, and one goes on.
    began = [{"dag_id": OTHERS[0], "run_id": f"asset__{OTHERS[0]}", "state": "queued"}]
    monitor.post([asset_event(50, f"file:///{OWN}.pkl", source_dag_id=OWN, created_dagruns=began)])
    services = monitor.app.state.services

    def nothing_is_due() -> bool:
        found = services.database.read_now(lambda connection: queries.deliveries(connection, 500))
        waiting = [one.next_attempt_at for one in found if one.state is State.PENDING]
        return min(waiting, default=LATER) > clock() and State.SENDING not in {one.state for one in found}

    wait.until(nothing_is_due, "each mail of one DAG to be sent")
    clock.forward(61)  # now the one of all of them is due
    monitor.post(
        [run_event("running", OWN, f"wakes__{OWN}")]
    )  # the delivery, which would look later by itself
    wait.until(nothing_is_due, "the mail of all of them to be sent")
    services.database.write_now(lambda connection: _by_hand(connection, clock))
    letter = EmailMessage(policy=SMTP)
    letter["Subject"], letter["Message-ID"] = f"a task's own: {OTHERS[1]}", "<a.task@wrote.it>"
    letter.set_content(OTHERS[1])
    services.mailbox.file(letter.as_bytes(), [f"{OTHERS[1]}@example.com"])
    return {dag: _values(monitor, dag) for dag in (OWN, *OTHERS)}


def _events(number: int, dag: str) -> list[dict[str, object]]:
    run = f"manual__{dag}"
    error = {"type": f"{dag}Error", "message": f"it broke in {dag}", "traceback": f"File {dag}.py, line 1"}
    stacktrace = f'File "/dags/{dag}.py", line 1\nSyntaxError: {dag}'
    broken = {"filename": f"/dags/{dag}.py", "bundle_name": dag, "stacktrace": stacktrace}
    broken["error_id"] = f"import_error:{number:032x}"
    return [
        event(
            "airflow.dag.paused",
            f"dag:{number:032x}:paused",
            dag,
            moment(),
            {"dag_id": dag, "state": "paused"},
        ),
        event("airflow.dag.import_error", broken["error_id"], broken["filename"], moment(), broken),
        run_event("running", dag, run, conf={"note": f"conf of {dag}"}),
        task_event("running", f"task_{dag}", dag, run, rendered_map_index=dag),
        task_event("failed", f"task_{dag}", dag, run, hostname=f"host-{dag}", error=error),
        asset_event(
            number, f"file:///{dag}.pkl", source_dag_id=dag, source_run_id=run, extra={f"of_{dag}": 0.5}
        ),
        run_event("failed", dag, run, conf={"note": f"conf of {dag}"}, message=f"{dag} says"),
        run_event("success", dag, f"next__{dag}", start=60),
        run_event("running", dag, f"last__{dag}", start=90),
    ]


def _by_hand(connection: object, clock: FakeClock) -> None:
    now = clock()
    for found in incidents.page(connection, 100):  # type: ignore[arg-type]
        if found.is_open:
            incidents.acknowledge(connection, found.id, "chief", f"a note on {found.title}", now)  # type: ignore[arg-type]
    later = now.replace(year=now.year + 1)
    for dag in (OWN, *OTHERS):
        of = Match(deployment=("local",), dag_id=(dag,))
        silences.add(connection, of, f"author of {dag}", f"why {dag} is silent", now, later, now)  # type: ignore[arg-type]
        draft = Draft(f"token of {dag}", frozenset({Scope.READ}), frozenset({("local", dag)}))
        tokens.add(connection, draft, Owner(f"creator of {dag}", frozenset({"local"})), now)  # type: ignore[arg-type]
    wide = Match(dag_id=(f"{OTHERS[0]}*", f"{OWN}*"))
    silences.add(connection, wide, "chief", f"{OTHERS[0]} moves", now, later, now)  # type: ignore[arg-type]


def _values(monitor: Served, dag: str) -> dict[str, object]:
    services = monitor.app.state.services
    read = services.database.read_now
    delivery = read(
        lambda c: queries.deliveries(c, 1, delivery_filter=DeliveryFilter(dag_id=dag, rule=f"{dag} alone"))
    )[0]
    incident = next(one for one in read(lambda c: incidents.page(c, 100)) if one.dag_id == dag)
    silence = next(one for one in read(lambda c: silences.page(c, 100)) if one.dag_id == dag)
    letters = [one for one in services.mailbox.mails(100) if f"{dag}@example.com" in one.to]
    return {
        "deployment": "local",
        "dag_id": dag,
        "run_id": f"manual__{dag}",
        "task_id": f"task_{dag}",
        "map_index": -1,
        "uri": f"file:///{dag}.pkl",
        "asset": f"file:///{dag}.pkl",
        "event_id": run_event("failed", dag, f"manual__{dag}")["id"],
        "delivery_id": delivery.id,
        "incident_id": incident.id,
        "silence_id": silence.id,
        "token_id": 1,
        "letter_id": letters[0].id,
        "name": "run_failed",
        "token": "any",
    }
