"""The watch of DAGs that Airflow paused itself, after `max_consecutive_failed_dag_runs` failed runs.

No hook reports the pause. From then on the DAG makes no runs and every other watch ignores it, so the pause
would stay unnoticed.

Airflow's audit log says who paused the DAG, if the monitor's user may read it (the role Viewer may not).
Otherwise the pause is reported as likely, if as many of the last runs failed as the DAG's own limit says."""

from dataclasses import dataclass, field
from datetime import datetime

from monitor.airflow.client import AirflowApi
from monitor.database.statements import Row
from monitor.errors import AirflowNotFound, AirflowRefused, EventError
from monitor.events import from_watches
from monitor.events.event import Event
from monitor.events.from_airflow import moment_of
from monitor.events.from_watches import Cause, WatchContext
from monitor.rules.model import Watch
from monitor.watches.findings import Finding, OpenFinding
from monitor.watches.observation import Observation, tags_of
from monitor.watches.thresholds import WatchSelector

AUTO_PAUSED = "windsock.dag.auto_paused"
MAX_ASKED = 20  # DAGs at one look, three requests each
SCHEDULER = "scheduler"
"""The owner of what Airflow enters into its audit log for itself."""


@dataclass
class AutoPaused:
    """The watch of one Airflow's DAGs that Airflow paused."""

    api: AirflowApi
    _judged: set[tuple[str, int]] = field(default_factory=set)
    """DAGs and their pauses that people made."""

    async def findings(self, observation: Observation, choice: WatchSelector) -> list[Finding]:
        """Return the DAGs that Airflow paused, of those paused since the monitor knows them.
        Raises AirflowError."""
        found, requests = [], 0
        for dag_id, dag in observation.dags.items():
            pause = _pause(dag)
            watch = choice.find_for_dag(dag_id, tags_of(dag)) if pause else None
            if watch is None or pause is None or (dag_id, pause) in self._judged:
                continue
            finding = observation.open.get((AUTO_PAUSED, dag_id))
            if finding and finding.found == str(pause):
                found.append(finding.still())
            elif requests < MAX_ASKED:
                requests += 1
                if cause := await self._cause(dag_id, observation.now):
                    found.append(_finding(observation, watch, dag_id, pause, cause))
                else:
                    self._judged.add((dag_id, pause))
        return found

    async def _cause(self, dag_id: str, now: datetime) -> Cause | None:
        try:
            limit = (await self.api.dag(dag_id)).get("max_consecutive_failed_dag_runs")
            if not isinstance(limit, int) or limit < 1:
                return None
            runs = await self.api.last_runs(dag_id, limit)
        except AirflowNotFound:
            return None
        if len(runs) < limit or any(run.get("state") != "failed" for run in runs):
            return None
        try:
            began = min((moment for run in runs if (moment := moment_of(run, "start_date"))), default=now)
            entries = await self.api.audit_entries(dag_id, "paused", began)
        except (AirflowRefused, EventError):
            return Cause(limit, is_certain=False)
        if any(entry.get("owner") == SCHEDULER for entry in entries):
            return Cause(limit, is_certain=True)
        return None


def _pause(dag: Row) -> int | None:
    """Return the number of the DAG's present pause.
    None means that it is not paused, or was paused when first seen."""
    return dag["times_paused"] or None if dag["is_paused"] and not dag["is_stale"] else None


def _finding(observation: Observation, watch: Watch, dag_id: str, pause: int, cause: Cause) -> Finding:
    def build() -> Event:
        return from_watches.auto_paused(observation.watch_context(watch), dag_id, pause, cause)

    return Finding(AUTO_PAUSED, dag_id, str(pause), build)


def auto_paused_no_more(observation: Observation, ended: OpenFinding) -> Event:
    """Return the event that ends the finding: the DAG is unpaused, gone, or no longer watched."""
    dag_id, context = ended.subject, WatchContext(observation.deployment, observation.now, None)
    if observation.dag_at_work(dag_id):
        what = f"{dag_id} is unpaused"
    else:
        what = f"{dag_id} is no longer watched for this: it is gone, or the watches are others"
    return from_watches.dag_recovered(context, what, dag_id, int(ended.found), ended.raised_at)
