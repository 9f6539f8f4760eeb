"""The event: a CloudEvents 1.0 object, its identity, and its builders from Airflow's REST answers."""

from monitor.events.data import NUDGE
from monitor.events.identity import import_error_id, run_id_of, stamp, task_id_of
from monitor.events.model import Event, parse_event

__all__ = ["NUDGE", "Event", "import_error_id", "parse_event", "run_id_of", "stamp", "task_id_of"]
