"""What a session found, as the table tells it: a cell for each scenario, and one for the whole."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from statistics import median

from tests.e2e.truth import Ending, doubled, endings, histories, lacking, plain
from tests.scenarios.log import Telling
from tests.scenarios.recoveries import false_recoveries
from tests.scenarios.scenario import Scenario
from tests.scenarios.stage import Stage

CHANGES = (
    *("airflow.dag.import_error", "airflow.dag.import_error_mended"),
    *("airflow.dag.paused", "airflow.dag.unpaused"),
)
"""Told, and no state that Airflow's database keeps with a moment: the stories check them one by one."""
REPORTERS = ("listener", "reconciler")


@dataclass
class Cell:
    """What was to be told, what was, by whom and how late."""

    held: int = 0
    told: int = 0
    doubled: int = 0
    by: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REPORTERS, 0))
    delays: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in REPORTERS})
    """Seconds from the state's moment in Airflow's database until the log had it, by reporter: 0 where a hook
    came before the commit. What was set by hand is left out: Airflow dates it with its first end."""


@dataclass
class Row:
    """A scenario on one version."""

    name: str
    title: str
    cell: Cell
    remark: str
    failure: str | None
    """Why its test failed; None where it passed."""


@dataclass
class Session:
    """All scenarios on one version."""

    version: str
    measured: str
    rows: list[Row]
    whole: Cell
    listener_alone: int
    """Ends of runs and tasks that no hook told."""
    runs_and_tasks: int
    false_recoveries: list[str] = field(default_factory=list)
    """Notifications of a recovery that Airflow's database contradicts, in words."""


def measure(stage: Stage, scenarios: Iterable[Scenario], failures: Mapping[str, str | None]) -> Session:
    """Weigh the whole database against the whole log."""
    held, log = endings(stage.airflow), stage.log.read()
    rows = [
        Row(
            scenario.name,
            scenario.title,
            _cell([ending for ending in held if ending.origin in scenario.origins], log, scenario.origins),
            scenario.remarks.get(stage.version, ""),
            failures[scenario.name],
        )
        for scenario in scenarios
    ]
    states = [ending for ending in held if ending.ids[0].startswith(("run:", "task:"))]
    return Session(
        version=stage.version,
        measured=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        rows=rows,
        whole=_cell(held, log, ()),
        listener_alone=len(states) - _cell(states, log, ()).by["listener"],
        runs_and_tasks=len(states),
        false_recoveries=false_recoveries(stage.airflow, stage.monitor, stage.log),
    )


def _cell(held: Sequence[Ending], log: Sequence[Telling], origins: Sequence[str]) -> Cell:
    ids = [str(telling.event["id"]) for telling in log]
    dated = [ending for ending in held if not (origins and ending.ids[0].startswith("import_error:"))]
    cell = Cell(len(dated), len(dated) - len(lacking(dated, ids)), len(doubled(dated, ids)))
    said = histories(ids, dated)
    tellings = {plain(str(telling.event["id"])): telling for telling in log}
    for ending in dated:
        telling = next((tellings[event_id] for event_id in ending.ids if event_id in tellings), None)
        if telling:
            cell.by[telling.reporter] += 1
            if ending.moment and len(said[ending.thing]) == 1:
                late = (telling.received_at - ending.moment).total_seconds()
                cell.delays[telling.reporter].append(round(max(0.0, late), 3))
    for telling in log:
        if telling.event["type"] in CHANGES and _origin(telling) in origins:
            cell.held, cell.told = cell.held + 1, cell.told + 1
            cell.by[telling.reporter] += 1
    return cell


def _origin(telling: Telling) -> str:
    data = telling.event["data"]
    return str(data.get("dag_id") or str(data.get("filename")).rpartition("/")[2])


def save(session: Session, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{session.version}.json").write_text(json.dumps(asdict(session), indent=1) + "\n")


def load(folder: Path) -> list[Session]:
    """The sessions that are there, the oldest Airflow first."""
    found = []
    for file in folder.glob("*.json"):
        stored = json.loads(file.read_text())
        rows = [Row(**{**row, "cell": Cell(**row["cell"])}) for row in stored["rows"]]
        found.append(Session(**{**stored, "rows": rows, "whole": Cell(**stored["whole"])}))
    return sorted(found, key=lambda session: [int(part) for part in session.version.split(".")])


def summary(delays: Iterable[float]) -> str:
    """Median and worst, or nothing where there is nothing to measure."""
    known = list(delays)
    return f"{median(known):.1f} s, at worst {max(known):.1f} s" if known else ""
