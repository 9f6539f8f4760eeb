"""Kills on schedule, starts again what it killed, and at the end puts everything right."""

import logging
import time
from collections import Counter
from collections.abc import Callable

from tests.faults.load import Load
from tests.faults.processes import RunningTask, has_ended, kill, running_tasks
from tests.faults.schedule import Kill, Victim, kills
from tests.faults.stage import Stage
from tests.sessions import kill_session
from tests.wait import until

LOOK_SECONDS = 0.05
VICTIM_SECONDS = 20.0  # to wait for one: a task to run, a component to come back
ORPHANS_SECONDS = 20.0  # the tasks of a dead scheduler end by then; its idle workers never would
STALL_SECONDS = 60.0  # without any run's end: longer than each of Airflow's timeouts (stage.py)
STALL_LOOK_SECONDS = 2.0
STOPPED_SECONDS = 10.0

AIRFLOW = {
    Victim.SCHEDULER: "scheduler",
    Victim.SCHEDULER_TREE: "scheduler",
    Victim.API_SERVER: "api-server",
}
COMPONENTS = ("scheduler", "api-server", "dag-processor")

logger = logging.getLogger(__name__)


class Chaos:
    """`run(n)` makes n kills. `counts` what was killed, `oddities` what ended though nobody killed it."""

    def __init__(self, stage: Stage, load: Load, seed: int) -> None:
        self.counts: Counter[Victim] = Counter()
        self.missed: Counter[Victim] = Counter()
        self.oddities: Counter[str] = Counter()
        self._stage = stage
        self._load = load
        self._seed = seed
        self._due: list[tuple[float, str, Callable[[], None]]] = []
        self._down: set[str] = set()
        self._progress = 0
        self._progress_at = self._next_look = time.monotonic()

    def run(self, number: int) -> None:
        """Make so many kills that each hit something."""
        for planned in kills(self._seed):
            if self.counts.total() >= number:
                return
            self._wait(planned.gap)
            if self._strike(planned):
                self.counts[planned.victim] += 1
                logger.info("kill %d of %d: %s", self.counts.total(), number, planned.victim.value)
            else:
                self.missed[planned.victim] += 1
                logger.info("nothing to kill: %s", planned.victim.value)

    def tend(self) -> None:
        """Start again what is due, what ended by itself, and a scheduler that does nothing any more."""
        now = time.monotonic()
        for entry in [entry for entry in self._due if entry[0] <= now]:
            self._due.remove(entry)
            entry[2]()
        self._revive_the_ended()
        self._end_a_stall(now)

    def put_right(self) -> None:
        """Everything runs again, and nothing fails any more."""
        self._stage.heal()
        while self._due:
            self._wait(LOOK_SECONDS)

    def _wait(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tend()
            time.sleep(LOOK_SECONDS)

    def _find(self, look: Callable[[], bool]) -> bool:
        end = time.monotonic() + VICTIM_SECONDS
        while not look():
            if time.monotonic() > end:
                return False
            self._wait(LOOK_SECONDS)
        return True

    def _strike(self, planned: Kill) -> bool:
        victim = planned.victim
        if victim in AIRFLOW:
            return self._strike_component(planned, AIRFLOW[victim])
        if victim is Victim.MONITOR:
            monitor = self._stage.monitor
            return self._strike_other(planned, "monitor", monitor.kill, monitor.launch)
        if victim is Victim.SMTP:
            return self._strike_other(planned, "smtp", self._stage.smtp.kill, self._start_smtp)
        if victim is Victim.SMTP_CONNECTIONS:
            self._stage.smtp.drop_connections()
            return True
        return self._strike_task(planned)

    def _strike_component(self, planned: Kill, component: str) -> bool:
        airflow = self._stage.airflow
        if not self._find(lambda: component not in self._down):
            return False
        alone = planned.victim is Victim.SCHEDULER
        session = airflow.pid(component)
        airflow.kill(component, with_children=not alone)
        if alone:
            self._later(ORPHANS_SECONDS, "orphans", lambda: kill_session(session))
        self._start_later(planned.down, component, lambda: airflow.start_component(component))
        return True

    def _strike_other(
        self, planned: Kill, name: str, end: Callable[[], None], start: Callable[[], None]
    ) -> bool:
        if not self._find(lambda: name not in self._down):
            return False
        end()
        self._start_later(planned.down, name, start)
        return True

    def _strike_task(self, planned: Kill) -> bool:
        found: list[RunningTask] = []

        def look() -> bool:
            if "scheduler" not in self._down:
                found[:] = running_tasks(self._stage.airflow.pid("scheduler"))
            return bool(found)

        if not self._find(look):
            return False
        chosen = found[int(planned.choice * len(found))]
        return kill(
            *{
                Victim.TASK: [chosen.task],
                Victim.SUPERVISOR: [chosen.supervisor],
                Victim.TASK_AND_SUPERVISOR: [chosen.supervisor, chosen.task],
            }[planned.victim]
        )

    def _start_smtp(self) -> None:
        def started() -> bool:
            try:
                self._stage.smtp.start()
            except OSError:  # the port is somebody's outgoing connection for a moment
                return False
            return True

        until(started, "the SMTP server's port to be free", STOPPED_SECONDS)

    def _start_later(self, seconds: float, name: str, start: Callable[[], None]) -> None:
        def back() -> None:
            start()
            self._down.discard(name)

        self._down.add(name)
        self._later(seconds, name, back)

    def _later(self, seconds: float, name: str, work: Callable[[], None]) -> None:
        self._due.append((time.monotonic() + seconds, name, work))

    def _revive_the_ended(self) -> None:
        for component in COMPONENTS:
            if component not in self._down and has_ended(self._stage.airflow.pid(component)):
                self._odd(f"{component} ended by itself")
                self._stage.airflow.kill(component)
                self._stage.airflow.start_component(component)
        status = self._stage.monitor.exit_status()
        if "monitor" not in self._down and status is not None:
            self._odd(f"monitor ended by itself with {status}")
            self._stage.monitor.launch()

    def _end_a_stall(self, now: float) -> None:
        if now < self._next_look:
            return
        self._next_look = now + STALL_LOOK_SECONDS
        ended, unfinished = self._load.ended(), self._load.unfinished()
        if ended != self._progress or not unfinished or "scheduler" in self._down:
            self._progress, self._progress_at = ended, now
        elif now - self._progress_at > STALL_SECONDS:
            self._odd("scheduler restarted: no run ended any more")
            self._progress_at = now
            self._stage.airflow.kill("scheduler")
            self._stage.airflow.start_component("scheduler")

    def _odd(self, what: str) -> None:
        logger.warning("%s", what)
        self.oddities[what] += 1
