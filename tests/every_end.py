"""Rules under which each end that is asked for is a mail of its own, however many: for tests that count."""

from collections.abc import Sequence
from pathlib import Path

RULES = """\
rules:
  - name: failures
    match: {{type: [airflow.dag_run.failed]}}
    notify_on: [every_failure]
    to: {to}
  - name: successes
    match: {{type: [airflow.dag_run.success], dag_id: [{success}]}}
    notify_on: [success]
    to: {to}
budget: {{daily: 1000000, reserve: 0}}
"""


def every_end(folder: Path, recipients: Sequence[str], success: str) -> dict[str, str]:
    """A monitor's settings: every failure, and every success of one DAG, to these people."""
    path = folder / "windsock.yaml"
    path.write_text(RULES.format(to=f"[{', '.join(recipients)}]", success=success))
    return {"WINDSOCK_CONFIG": str(path)}
