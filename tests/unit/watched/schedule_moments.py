"""Run with Airflow's own Python: the moments at which its timetables want runs, over some days, as JSON.

Arguments: a JSON list of [cron, zone, from, days].
"""

import json
import sys
from datetime import timedelta

import pendulum
from airflow.timetables.base import DataInterval, TimeRestriction
from airflow.timetables.interval import CronDataIntervalTimetable
from airflow.timetables.trigger import CronTriggerTimetable

TIMETABLES = {
    "trigger": lambda cron, zone: CronTriggerTimetable(cron, timezone=zone),
    "interval": lambda cron, zone: CronDataIntervalTimetable(cron, timezone=zone),
}


def moments(make, cron, zone, begin, days):
    timetable = make(cron, pendulum.timezone(zone))
    first = pendulum.parse(begin).in_timezone("UTC")
    restriction = TimeRestriction(earliest=first, latest=None, catchup=True)
    last, found = None, []
    while True:
        info = timetable.next_dagrun_info(last_automated_data_interval=last, restriction=restriction)
        if info.run_after > first + timedelta(days=days):
            return found
        found.append(info.run_after.isoformat())
        last = DataInterval(info.data_interval.start, info.data_interval.end)


wanted = json.loads(sys.argv[1])
print(json.dumps([{kind: moments(make, *one) for kind, make in TIMETABLES.items()} for one in wanted]))  # noqa: T201 (its answer)
