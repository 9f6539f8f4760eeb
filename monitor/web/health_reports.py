"""How the background work is that runs in one replica at a time: here, or wherever it has its turn."""

from collections import defaultdict
from collections.abc import Sequence

from monitor.database import Database
from monitor.reconciler import Post
from monitor.replicas import holders
from monitor.web.services import PartHealth, Report

AIRFLOW = "airflow"
RECONCILER = "reconciler"
REPLICAS = "replicas"
NOBODY = "no replica yet"


def of_turns(database: Database, works: Sequence[str]) -> Report:
    """The report on which replica does what only one is to do."""

    async def report() -> dict[str, PartHealth]:
        found = await database.read(lambda connection: holders(connection, works))
        by_name: dict[str, list[str]] = defaultdict(list)
        for work in works:
            by_name[found.get(work, NOBODY)].append(work)
        said = "; ".join(f"{name}: {', '.join(some)}" for name, some in sorted(by_name.items()))
        # For seconds it is so whenever one ends; windsock_turn tells where it lasts.
        return {REPLICAS: PartHealth("unknown" if NOBODY in by_name else "ok", said)}

    return report


def of_reconciler(post: Post) -> Report:
    """The report on one Airflow."""

    async def report() -> dict[str, PartHealth]:
        status = await post.status()
        compared = "compared with the log" if post.is_here else "compared with the log by another replica"
        airflow, own = f"{AIRFLOW} {status.deployment}", f"{RECONCILER} {status.deployment}"
        if status.silent_since is not None:
            said = PartHealth("down", status.last_error or "does not answer", status.last_good)
            return {airflow: said, own: PartHealth("unknown", "waits for Airflow", status.last_good)}
        if status.last_error is not None:
            return {
                airflow: PartHealth("ok", "answers, not everything", status.last_good),
                own: PartHealth("down", status.last_error, status.last_good),
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
