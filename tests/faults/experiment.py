"""One fault run from its start to its verdict."""

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.truth import terminal_states
from tests.faults import ledger, mails, states
from tests.faults.chaos import Chaos
from tests.faults.load import UNFINISHED, Load
from tests.faults.stage import Stage
from tests.faults.verdict import Verdict

RUNS_SECONDS = 180.0  # for the runs under way to end: Airflow finds its dead within half a minute each
SETTLE_SECONDS = 300.0  # for the log and the mails: a lease, the longest pauses between attempts
STILL_SECONDS = 15.0  # nothing new for so long: a dead process's journal is taken over within ten
LOOK_SECONDS = 1.0
WAITING = ("pending", "sending", "parked")

logger = logging.getLogger(__name__)


def experiment(folder: Path, seed: int, number: int, on_postgres: bool = False) -> Verdict:
    """Load, so many kills among the other faults, a deadline to come to rest, and the comparison.

    Logs and what was compared stay in `folder`. `on_postgres`: the monitor's database too, not SQLite.
    """
    began = time.monotonic()
    with Stage(folder, seed, on_postgres) as stage:
        load = Load(stage.airflow, seed)
        chaos = Chaos(stage, load, seed)
        with load:
            chaos.run(number)
        chaos.put_right()
        _wait(chaos, lambda: not load.unfinished(), RUNS_SECONDS)
        hanging = [f"{dag}/{run}" for dag, run in stage.airflow.query(_HANGING)]
        unsettled = _settle(stage, chaos)
        return _verdict(stage, chaos, load, seed, time.monotonic() - began, hanging, unsettled)


_HANGING = UNFINISHED.replace("count(*)", "dag_id, run_id")


def _wait(chaos: Chaos, done: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            return False
        chaos.tend()
        time.sleep(LOOK_SECONDS)
    return True


def _settle(stage: Stage, chaos: Chaos) -> list[str]:
    """Wait until nothing moves any more; answers what still waits when the time is up."""
    stage.monitor.wait_until_ready()
    last: list[tuple[object, float]] = [(None, 0.0)]

    def at_rest() -> bool:
        events = stage.monitor.events()
        now, seen = time.monotonic(), (len(events), len(stage.smtp.mails), tuple(_waiting(stage)))
        if seen != last[0][0]:
            last[0] = (seen, now)
        account = _states(stage, events)
        # An earlier try is asked for 30 s after its end: until then it is lost, or its last word is a hook's.
        untold = account.lost or account.contradicted
        return not untold and not _waiting(stage) and now - last[0][1] >= STILL_SECONDS

    return [] if _wait(chaos, at_rest, SETTLE_SECONDS) else _waiting(stage) or ["the log"]


def _states(stage: Stage, events: list[dict[str, Any]]) -> states.States:
    held = terminal_states(stage.airflow)
    return states.compare(held, events)


def _waiting(stage: Stage) -> list[str]:
    """What is still on its way: deliveries and events in the spool."""
    rows = [entry.delivery for entry in ledger.read(stage.database)]
    mails_waiting = [f"delivery {row.id}: {row.reason}" for row in rows if row.state.value in WAITING]
    return mails_waiting + [f"spool: {path.name}" for path in sorted((stage.spool / "new").iterdir())]


def _verdict(
    stage: Stage,
    chaos: Chaos,
    load: Load,
    seed: int,
    seconds: float,
    hanging: list[str],
    unsettled: list[str],
) -> Verdict:
    events = stage.monitor.events()
    entries = ledger.read(stage.database)
    (stage.folder / "events.json").write_text(json.dumps(events, indent=1))
    letters = [
        {"event": mail.message["X-Windsock-Event"], "to": mail.recipients} for mail in stage.smtp.mails
    ]
    (stage.folder / "mails.json").write_text(json.dumps(letters, indent=1))
    return Verdict(
        seed=seed,
        seconds=seconds,
        runs=load.ended(),
        hanging=hanging,
        kills=chaos.counts,
        oddities=chaos.oddities,
        cuts={edge: proxy.counts for edge, proxy in stage.edges.items()},
        replies=stage.replies.counts,
        states=_states(stage, events),
        mails=mails.compare(mails.called_for(stage.airflow), entries, stage.smtp.mails),
        unsettled=unsettled,
    )
