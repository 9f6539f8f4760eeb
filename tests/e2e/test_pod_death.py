"""A task's pod and what it could not send die together: the KubernetesExecutor, and the monitor away.

Here all of Airflow's processes share one spool, so what tasks have put there is taken out of it while nobody
can send, as a pod's disk goes with its pod. How late the reconciler fills it in is printed (`pytest -s`),
never asserted.
"""

import json
import sys
from datetime import datetime, timezone

import pytest

from tests import wait
from tests.e2e.conftest import Stage
from tests.e2e.test_story import all_is_told, mails_about, play, text_of, told_ids
from tests.e2e.truth import endings, untold

pytestmark = pytest.mark.slow

FROM_TASKS = "airflow.task_instance."


def lose_what_tasks_kept(stage: Stage) -> set[str]:
    """Deletes what the tasks' processes have put into the spool; answers the ids of those events."""
    lost = {}
    for path in (stage.spool / "new").iterdir():
        event = json.loads(path.read_text())
        if event["type"].startswith(FROM_TASKS):
            lost[event["id"]] = path
    for path in lost.values():
        path.unlink()
    return set(lost)


def test_what_died_with_the_pods_is_filled_in_when_the_monitor_returns(stage: Stage) -> None:
    assert stage.monitor.stop() == 0
    runs = play(stage, "succeeds", "fails")
    lost = lose_what_tasks_kept(stage)
    assert {event_id.rpartition(":")[2] for event_id in lost} >= {"running", "success", "failed"}
    returns = datetime.now(timezone.utc)
    stage.monitor.start()
    all_is_told(stage)

    assert untold(endings(stage.airflow), told_ids(stage)) == []
    wait.until(lambda: mails_about(stage, runs["fails"]), "the mail about the failure")
    (failure,) = mails_about(stage, runs["fails"])
    assert "broken" in text_of(failure)  # which task, and why: from Airflow, not from the event
    rows = stage.monitor.get("/api/v1/events", limit=200, type=FROM_TASKS + "*")["events"]
    late = [
        datetime.fromisoformat(row["received_at"].replace("Z", "+00:00")) - returns
        for row in rows
        if row["event"]["id"] in lost
    ]
    ends = {event_id for event_id in lost if not event_id.endswith(":running")}
    assert ends <= set(told_ids(stage))
    sys.stdout.write(
        f"\n{len(ends)} ends of tasks that died with their pods were told "
        f"{max(late).total_seconds():.1f} s after the monitor's start at the latest\n"
    )
