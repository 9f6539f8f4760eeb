"""How Airflow and its components are, and the background work that runs in one replica at a time: here, or
wherever it has its turn."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from monitor.airflow_api import AirflowApi
from monitor.airflow_api.components import Component, components
from monitor.clock import Clock
from monitor.database import Database
from monitor.delivery import FailedTemplates
from monitor.errors import AirflowError
from monitor.reconciler import Post
from monitor.replicas import FailedWorks, holders
from monitor.web.services import PartHealth, Report

COMPONENT_SECONDS = 15.0  # an answer of Airflow's counts for so long, whoever asks how often
COMPONENT_TIMEOUT = 3.0  # seconds: how the other parts are is not to wait for Airflow

AIRFLOW = "airflow"
RECONCILER = "reconciler"
REPLICAS = "replicas"
NOBODY = "no replica yet"
AIRFLOW_REMEDY = (
    "Is its api-server up, and are WINDSOCK_AIRFLOW_URL, name and password right? `windsock check` tries."
)
RECONCILER_REMEDY = (
    "What cannot be compared is not filled in. If it does not pass, look at Airflow's api-server's log."
)
DEFECT_REMEDY = (
    "This is a mistake in the monitor: report it with the traceback that its log has. It is tried again, and "
    "everything else goes on. Does WINDSOCK_AIRFLOW_URL lead to an Airflow?"
)
ROWS_REMEDY = (
    "Find it in Airflow: megabytes of a run's conf, an asset event's extra, a DAG's description or an import "
    "error's trace. Make it short or delete it; what Airflow's hooks report of it is logged all the same."
)
BACKGROUND = "background work"
TEMPLATES = "templates"
TEMPLATES_REMEDY = (
    "Notifications are sent with a built-in template meanwhile. Mend it: `windsock preview` shows it with "
    "made-up data. This passes with the next notification that it can be used for."
)
COMPONENT_REMEDY = "Look at its log, and start it again: `airflow {}`, its container, pod or service."

logger = logging.getLogger(__name__)


def of_turns(database: Database, works: Sequence[str]) -> Report:
    """The report on which replica does what only one is to do."""

    async def report() -> dict[str, PartHealth]:
        found = await database.read(lambda connection: holders(connection, works))
        by_name: dict[str, list[str]] = defaultdict(list)
        for work in works:
            by_name[found.get(work, NOBODY)].append(work)
        said = "; ".join(f"{name}: {', '.join(some)}" for name, some in sorted(by_name.items()))
        # For seconds it is so whenever one ends; windsock_leader tells where it lasts.
        return {REPLICAS: PartHealth("unknown" if NOBODY in by_name else "ok", said)}

    return report


def of_passed_over(api: AirflowApi, clock: Clock) -> Report:
    """The report on rows of one Airflow's listings that are too much to read. No part where there is none."""

    async def report() -> dict[str, PartHealth]:
        met = api.passed_over.lately(clock())
        if not met:
            return {}
        rows = ", ".join(f"{name} at offset {each.offset}" for name, each in sorted(met.items()))
        said = f"a row alone is more than is read, and is passed over: {rows}"
        last = max(each.at for each in met.values())
        return {f"{RECONCILER} {api.deployment} rows": PartHealth("down", said, last, ROWS_REMEDY)}

    return report


def of_works(failed: FailedWorks) -> Report:
    """The report on background work that failed and was begun anew. No part where none did."""

    async def report() -> dict[str, PartHealth]:
        lately = failed.lately()
        if not lately:
            return {}
        said = "; ".join(f"{name} failed: {each.error}" for name, each in sorted(lately.items()))
        last = max(each.at for each in lately.values())
        return {BACKGROUND: PartHealth("down", said, last, DEFECT_REMEDY)}

    return report


def of_templates(failed: FailedTemplates) -> Report:
    """The report on users' templates that could not be used. No part where none failed."""

    async def report() -> dict[str, PartHealth]:
        current = failed.current()
        if not current:
            return {}
        said = "; ".join(each.problem for _, each in sorted(current.items()))
        last = max(each.at for each in current.values())
        return {TEMPLATES: PartHealth("down", said, last, TEMPLATES_REMEDY)}

    return report


def of_reconciler(post: Post) -> Report:
    """The report on one Airflow."""

    async def report() -> dict[str, PartHealth]:
        status = await post.status()
        remedy = DEFECT_REMEDY if status.is_defect else RECONCILER_REMEDY
        compared = "compared with the log" if post.is_here else "compared with the log by another replica"
        airflow, own = f"{AIRFLOW} {status.deployment}", f"{RECONCILER} {status.deployment}"
        if status.silent_since is not None:
            why = status.last_error or "does not answer"
            remedy = DEFECT_REMEDY if status.is_defect else AIRFLOW_REMEDY
            said = PartHealth("down", why, status.last_good, remedy)
            return {airflow: said, own: PartHealth("unknown", "waits for Airflow", status.last_good)}
        if status.last_error is not None:
            return {
                airflow: PartHealth("ok", "answers, not everything", status.last_good),
                own: PartHealth("down", status.last_error, status.last_good, remedy),
            }
        if status.last_good is None:
            return {
                airflow: PartHealth("unknown", "not asked yet"),
                own: PartHealth("unknown", "not compared with the log yet"),
            }
        return {
            airflow: PartHealth("ok", "answers", status.last_good),
            own: PartHealth("ok", compared, status.last_good),
        }

    return report


class ComponentsReport:
    """The report on one Airflow's scheduler, triggerer and dag-processor. Airflow is asked at most once in
    COMPONENT_SECONDS, whoever asks how often."""

    def __init__(self, api: AirflowApi, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._api = api
        self._monotonic = monotonic
        self._asking = asyncio.Lock()
        self._asked: float | None = None
        self._known: Mapping[str, PartHealth] = {}

    async def __call__(self) -> Mapping[str, PartHealth]:
        async with self._asking:
            now = self._monotonic()
            if self._asked is None or now - self._asked >= COMPONENT_SECONDS:
                self._known = await self._ask()
                self._asked = self._monotonic()
        return self._known

    async def _ask(self) -> dict[str, PartHealth]:
        try:
            found = components(await asyncio.wait_for(self._api.health(), COMPONENT_TIMEOUT))
        except (AirflowError, TimeoutError, asyncio.TimeoutError) as error:  # which the part "airflow" tells
            logger.debug("%s: its components are not known: %s", self._api.deployment, error)
            return {}
        return {f"{one.spelled} {self._api.deployment}": _part(one) for one in found}


def _part(one: Component) -> PartHealth:
    if one.is_healthy:
        return PartHealth("ok", "sends heartbeats", one.heartbeat)
    return PartHealth("down", f"is {one.status}", one.heartbeat, COMPONENT_REMEDY.format(one.spelled))
