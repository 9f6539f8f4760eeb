"""An incident is closed outside of the flow of events: its waiting follow-ups are suppressed."""

from datetime import timedelta

from monitor.database.engine import Database
from monitor.notifications import incident_transitions
from monitor.notifications.outbox import queries
from monitor.notifications.outbox.records import State
from monitor.rules.model import Config, Rule
from tests.unit.conftest import FakeClock
from tests.unit.notify_support import Town


def a_rule(**keys: object) -> Config:
    return Config(rules=[Rule.model_validate({"name": "failures", "to": ["a@example.com"], **keys})])


def test_closed_by_a_person(database: Database, clock: FakeClock) -> None:
    town = Town(database, a_rule(), clock)
    town.fail()
    town.mail()
    clock.forward(60)
    town.fail()
    [incident] = town.incidents()
    reason = "the source is gone for good"
    town.write(lambda c: incident_transitions.close(c, incident.id, clock(), "alice", reason))
    [closed] = town.incidents()
    assert (closed.state, closed.closed_by, closed.closed_because) == ("closed", "alice", reason)
    assert closed.closed_at == clock()
    [waiting] = [
        one for one in town.read(lambda c: queries.deliveries(c, 10)) if one.kind.value == "follow_up"
    ]
    assert waiting.state is State.SUPPRESSED
    assert waiting.reason == f"suppressed: incident {incident.id} was closed by alice: {reason}"
    clock.forward(timedelta(hours=5).total_seconds())
    assert town.mail() == []
    town.succeed()
    assert town.mail() == []
    town.fail()
    assert town.mail() == ["opened failures a@example.com 1"]


def test_what_is_closed_stays_as_it_is(database: Database, clock: FakeClock) -> None:
    town = Town(database, a_rule(), clock)
    town.fail()
    town.mail()
    town.succeed()
    [before] = town.incidents()
    assert (
        town.write(
            lambda c: incident_transitions.close(
                c, before.id, clock(), incident_transitions.BY_SYSTEM, "gone"
            )
        )
        == before
    )
    assert (
        town.write(
            lambda c: incident_transitions.close(c, 99, clock(), incident_transitions.BY_SYSTEM, "gone")
        )
        is None
    )


def test_what_is_about_several_incidents_still_goes(database: Database, clock: FakeClock) -> None:
    town = Town(database, a_rule(group={"by": ["deployment"], "interval": "10m"}), clock)
    for dag_id in ("one", "two"):
        town.fail(dag_id)
        clock.forward(1)
    town.mail()
    clock.forward(1200)
    town.mail()
    for dag_id in ("one", "two"):
        town.fail(dag_id)
    first = town.incidents()[-1]
    town.write(
        lambda c: incident_transitions.close(
            c, first.id, clock(), incident_transitions.BY_SYSTEM, "the DAG was deleted"
        )
    )
    clock.forward(1200)
    assert town.mail() == ["follow_up failures a@example.com 2"]
