"""An event costs as much in a full database as in one that is nearly empty."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select, update

from monitor.concurrency import WakeSignal
from monitor.database.engine import Database
from monitor.database.schema import deliveries, notifications
from monitor.event_log.ingest import Ingest, Wakeups
from monitor.events.event import parse_event
from monitor.events.identity import import_error_id, import_error_mended_id, pause_id
from monitor.notifications import incident_transitions, incidents
from monitor.notifications.outbox import enqueue, queries, threads
from monitor.notifications.outbox.records import State
from monitor.rules.model import Config, Match, Receiver, Rule
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock, migrated
from tests.unit.notify_support import Town

FEW, MANY = 3, 150
MOST = 1.25
"""How many times the steps of a nearly empty database an event may take. One step more for each of MANY rows
is far above it."""
STEP = 10  # of SQLite's instructions, after which it counts
EVERY_FAILURE = ("every_failure", "recovered", "success", "notice")
FIRST_FAILURE = ("first_failure", "recovered")
CONFIG = Config(
    receivers={"ops": Receiver(email=("ops@example.com",))},
    rules=(
        Rule(name="first", match=Match(type=("airflow.*",)), notify_on=FIRST_FAILURE, to=("ops",)),
        Rule(name="every", match=Match(type=("airflow.*",)), notify_on=EVERY_FAILURE, to=("ops",)),
    ),
)
TRACE = "boom"


def broken(filename: str, trace: str = TRACE, bundle: str | None = None) -> dict[str, Any]:
    data = {"filename": filename, "bundle_name": bundle, "stacktrace": trace}
    error_id = import_error_id(filename, trace, bundle)
    return event("airflow.dag.import_error", error_id, filename, moment(), data)


def mended(filename: str, trace: str = TRACE, bundle: str | None = None) -> dict[str, Any]:
    error_id = import_error_id(filename, trace, bundle)
    data = {"filename": filename, "bundle_name": bundle, "error_id": error_id}
    mended_id = import_error_mended_id(error_id)
    return event("airflow.dag.import_error_mended", mended_id, filename, moment(9), data)


def paused(dag_id: str) -> dict[str, Any]:
    data = {"dag_id": dag_id, "state": "paused"}
    return event("airflow.dag.paused", pause_id(dag_id, "paused"), dag_id, moment(), data)


def history(number: int) -> Iterator[dict[str, Any]]:
    """Give what differs from the measured events in one name each, so that their look-ups pass it by."""
    yield run_event("failed", run_id=f"failed_{number}", start=100 * number)
    yield run_event("failed", run_id=f"again_{number}", start=100 * number + 20)
    yield run_event("success", run_id=f"good_{number}", start=100 * number + 50)
    yield run_event("failed", dag_id=f"dag_{number}")
    yield run_event("failed", dag_id="stuck", run_id=f"failed_{number}", start=number)
    yield task_event("failed", task_id=f"task_{number}")
    yield task_event("failed", run_id=f"run_{number}", task_id="stuck")
    yield asset_event(number)
    yield asset_event(100_000 + number, f"file:///{number}")
    yield paused(f"dag_{number}")
    yield broken(f"/dags/{number}/x.py")
    yield broken("/dags/x.py", f"boom {number}")
    yield broken("x.py", bundle=f"bundle_{number}")
    yield broken(f"{number}/x.py", bundle="dags")
    yield broken(f"/gone/{number}/y.py")
    yield mended(f"/gone/{number}/y.py")


LATE = 1_000_000
MEASURED: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "a run begins": lambda: [run_event("running", run_id="new", start=LATE)],
    "a run fails": lambda: [run_event("failed", run_id="new", start=LATE)],
    "a run of a DAG that fails again and again": lambda: [
        run_event("failed", "stuck", run_id="new", start=LATE)
    ],
    "a run succeeds": lambda: [run_event("success", run_id="new", start=LATE)],
    "a run comes again": lambda: [run_event("failed", dag_id="dag_1")],
    "an incident ends": lambda: [run_event("success", "stuck", run_id="new", start=LATE)],
    "a task begins": lambda: [task_event("running", run_id="new")],
    "a task fails": lambda: [task_event("failed", task_id="stuck", run_id="new")],
    "a task succeeds": lambda: [task_event("success", task_id="stuck", run_id="new")],
    "a task of another UUID": lambda: [task_event("failed", task_id="task_1")],
    "an asset is updated": lambda: [asset_event(LATE)],
    "a DAG is paused": lambda: [paused("new")],
    "a hook reports a file": lambda: [broken("/dags/new/y.py")],
    "a hook reports a file of a bundle": lambda: [broken("/other/folder/x.py")],
    "a hook reports another trace": lambda: [broken("/dags/x.py", "another")],
    "a file of a bundle": lambda: [broken("new.py", bundle="dags")],
    "a file that may be any of a hook's": lambda: [broken("x.py", "another", bundle="dags")],
    "a file that a hook has reported": lambda: [broken("1/x.py", bundle="other")],
    "a file is mended": lambda: [mended("/dags/1/x.py")],
    "a batch of files": lambda: [
        made for number in range(20) for made in (broken(f"/new/{number}/x.py"), broken("z.py", f"{number}"))
    ],
}


class Full:
    """A database that holds so much, and an ingest."""

    def __init__(self, path: Path, size: int) -> None:
        path.write_bytes(migrated())
        self.database = Database(f"sqlite:///{path}")
        clock = FakeClock()
        self.town = Town(self.database, CONFIG, clock)
        wakes = Wakeups(WakeSignal(), WakeSignal(), {})
        self.ingest = Ingest(self.database, self.town.engine.notify_all, wakes, self.town.metrics, clock)
        for number in range(1, size + 1):
            self.database.write_now(partial(self._fill, number=number))
            if number in (1, size // 2):
                self.town.deliver()

    def _fill(self, connection: Connection, number: int) -> None:
        for raw in history(number):
            self.ingest.log(connection, [parse_event(raw)])
        connection.execute(update(notifications).values(sealed_at=self.town.clock()))

    def measure(self, work: Callable[[Connection], object]) -> tuple[int, int]:
        """Return how many steps and statements some work takes, which is taken back."""
        steps, statements = [0], [0]

        def count(counter: list[int]) -> None:
            counter[0] += 1

        def run(connection: Connection) -> None:
            driver: Any = connection.connection.driver_connection
            driver.set_progress_handler(lambda: count(steps), STEP)
            driver.set_trace_callback(lambda _statement: count(statements))
            try:
                work(connection)
            finally:
                driver.set_progress_handler(None, 0)
                driver.set_trace_callback(None)
            raise TakenBack

        with pytest.raises(TakenBack):
            self.database.write_now(run)
        return steps[0], statements[0]

    def log(self, *raws: dict[str, Any]) -> Callable[[Connection], object]:
        return lambda connection: self.ingest.log(connection, [parse_event(raw) for raw in raws])


class TakenBack(Exception):
    pass


@pytest.fixture(scope="module")
def sizes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Full, Full]]:
    folder = tmp_path_factory.mktemp("sizes")
    pair = Full(folder / "few.db", FEW), Full(folder / "many.db", MANY)
    yield pair
    for full in pair:
        full.database.close()


def costs_as_much(sizes: tuple[Full, Full], work: Callable[[Full], Callable[[Connection], object]]) -> None:
    (few_steps, few_statements), (many_steps, many_statements) = (full.measure(work(full)) for full in sizes)
    assert many_statements <= few_statements
    assert many_steps <= MOST * few_steps


@pytest.mark.slow
@pytest.mark.parametrize("name", MEASURED)
def test_an_event_costs_as_much_however_full_the_tables_are(sizes: tuple[Full, Full], name: str) -> None:
    raws = MEASURED[name]()
    costs_as_much(sizes, lambda full: full.log(*raws))


@pytest.mark.slow
def test_a_batch_takes_as_many_statements_an_event_as_a_small_one(sizes: tuple[Full, Full]) -> None:
    def statements(number: int) -> int:
        raws = [broken(f"/new/{place}/x.py", bundle=None) for place in range(number)]
        return sizes[0].measure(sizes[0].log(*raws))[1]

    one, two, many = statements(1), statements(2), statements(40)
    assert many == one + 39 * (two - one)


@pytest.mark.slow
def test_what_waits_is_changed_without_a_look_at_the_rest(sizes: tuple[Full, Full]) -> None:
    def work(full: Full) -> Callable[[Connection], object]:
        [incident] = full.town.read(
            lambda connection: incidents.open_of(connection, [("local", "dag:dag_1")])
        )
        of_it = select(deliveries.c.id).where(deliveries.c.incident_id == incident.id)
        number = full.town.read(lambda connection: connection.execute(of_it).scalars().first())
        delivery = full.town.read(lambda connection: queries.find(connection, number))

        def change(connection: Connection) -> None:
            now = full.town.clock()
            enqueue.postpone(connection, delivery.notification_id, now)
            threads.open_with_next(connection, incident.id, delivery, now)
            enqueue.settle_waiting(connection, [delivery.notification_id], State.SUPPRESSED, "test", now)

        return change

    costs_as_much(sizes, work)


@pytest.mark.slow
def test_an_end_that_is_taken_back_costs_as_much(sizes: tuple[Full, Full]) -> None:
    """Close, reopen and merge an incident of many, under the log's lock."""

    def work(full: Full) -> Callable[[Connection], object]:
        def change(connection: Connection) -> None:
            now = full.town.clock()
            [first, other] = incidents.open_of(connection, [("local", "dag:dag_1"), ("local", "dag:dag_2")])
            closed = incident_transitions.close(connection, first.id, now, "ops", "done")
            assert closed
            incident_transitions.reopen(connection, closed, "not over", now)
            incident_transitions.merge(connection, first, other, "the same", now)

        return change

    costs_as_much(sizes, work)
