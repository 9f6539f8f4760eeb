"""Questions to Airflow whose answers a mail gains by and does not need: each may fail, or take too long, and
the mail goes out with what is known."""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from monitor.errors import AirflowError
from monitor.events.data import AssetUpdatedData

ASK_SECONDS = 20.0  # for each of the few questions: far within the lease

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def asked(question: Coroutine[Any, Any, T], what: str, seconds: float = ASK_SECONDS) -> T | None:
    """Airflow's answer, or None."""
    try:
        return await asyncio.wait_for(question, seconds)
    except (AirflowError, TimeoutError, asyncio.TimeoutError) as error:
        logger.warning("a mail goes out without %s: %s", what, str(error) or type(error).__name__)
    except Exception:  # rows that are not what Airflow's are
        logger.exception("a mail goes out without %s: Airflow's answer makes no sense", what)
    return None


def update_of(row: Mapping[str, Any]) -> AssetUpdatedData:
    """An asset event of REST as the log would have it. Raises ValueError where it is none."""
    asset = {"name": row.get("name") or row.get("uri"), "uri": row.get("uri"), "group": row.get("group")}
    fields = ("timestamp", "extra", "source_dag_id", "source_run_id", "source_task_id", "created_dagruns")
    return AssetUpdatedData.model_validate(
        {
            **{name: row[name] for name in fields if row.get(name) is not None},
            "asset": asset,
            "asset_event_id": row.get("id"),
            "reported_by": "reconciler",
        }
    )
