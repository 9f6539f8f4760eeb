"""A monitor whose every text an attacker wrote: names, errors, notes, conf, assets, reasons, tokens."""

from collections.abc import Mapping
from typing import Any

from monitor.notifications import incidents, silences
from monitor.rules.model import Match
from monitor.web.auth import tokens
from monitor.web.auth.tokens import Draft, Owner, Scope
from tests import wait
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.web_support import Served

MARK = "0wned"
"""What every attack calls; a page that shows it shows the attack."""
SUM = "1337"
"""What a template that takes an attack for its own would write: 7 times 191."""
ATTACK = (
    f"\"'><script>{MARK}()</script><img src=x onerror={MARK}()><svg/onload={MARK}()>"
    f"</textarea></title></style>-->]]>`'-{MARK}()-'{{{{ 7*191 }}}}{{% if 7 %}}${{7*191}}"
    f"<a href=javascript:{MARK}()>&#106;avascript:&lt;b&gt;</pre>"
)
URI = f"javascript:{MARK}()//{ATTACK}"
DAG, RUN, TASK = f"dag{ATTACK}", f"run{ATTACK}", f"task{ATTACK}"


def events() -> list[dict[str, Any]]:
    error = {"type": f"E{ATTACK}", "message": f"m{ATTACK}\n{ATTACK}", "traceback": f"t{ATTACK}\n  {ATTACK}"}
    source = {"source_dag_id": DAG, "source_run_id": RUN, "source_task_id": TASK}
    began = [{"dag_id": DAG, "run_id": RUN, "state": ATTACK}]
    asset = {"name": f"asset{ATTACK}", "uri": URI, "group": ATTACK}
    conf = {f"key{ATTACK}": ATTACK, "url": URI}
    broken = {"filename": f"file{ATTACK}", "stacktrace": f"t\n{ATTACK}", "bundle_name": ATTACK}
    return [
        run_event(
            "running", DAG, RUN, conf=conf, run_type=ATTACK[:50], triggering_user_name=ATTACK, note=ATTACK
        ),
        task_event("failed", TASK, DAG, RUN, error=error, operator=ATTACK, hostname=ATTACK, note=ATTACK),
        asset_event(1, URI, extra={ATTACK: ATTACK, "n": 1.5}, asset=asset, created_dagruns=began, **source),
        event("airflow.dag.import_error", "import_error:1", f"file{ATTACK}", moment(), broken),
        run_event("failed", DAG, RUN, conf=conf, run_type=ATTACK[:50], message=ATTACK, note=ATTACK),
    ]


def fill(monitor: Served) -> Mapping[str, object]:
    """Answers the values of paths' parameters."""
    told = monitor.post(events()).json()
    assert told["accepted"] == 5, told
    services = monitor.app.state.services
    now = services.clock()
    wide = Match(deployment=("local",), dag_id=(DAG,))
    later = now.replace(year=now.year + 1)

    def write(connection: Any) -> int:
        for found in incidents.page(connection, 10):
            incidents.acknowledge(connection, found.id, ATTACK, ATTACK, now)
        tokens.add(
            connection,
            Draft(ATTACK[:100], frozenset({Scope.READ}), None),
            Owner(ATTACK, frozenset({"local"})),
            now,
        )
        return silences.add(connection, wide, ATTACK, ATTACK, now, later, now).id

    silence = services.database.write_now(write)
    wait.until(lambda: services.mailbox.mails(1), "a mail")
    return {
        "deployment": "local",
        "dag_id": DAG,
        "run_id": RUN,
        "task_id": TASK,
        "map_index": -1,
        "uri": URI,
        "asset": URI,
        "event_id": run_event("failed", DAG, RUN)["id"],
        "delivery_id": 1,
        "incident_id": 1,
        "silence_id": silence,
        "token_id": 1,
        "letter_id": services.mailbox.mails(1)[0].id,
        "name": "run_failed",
        "token": ATTACK,
    }
