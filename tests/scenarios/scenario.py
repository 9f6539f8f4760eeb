"""A scenario: what is done to Airflow, and what Airflow must then hold and Windsock have told."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.scenarios.stage import Stage


@dataclass(frozen=True)
class Scenario:
    """One row of the table."""

    name: str
    """That of its DAG, its asset or its file."""
    title: str
    play: Callable[[Stage], None]
    """Does it. Raises AssertionError where Airflow did not do what the scenario is about, or was not told."""
    further: tuple[str, ...] = ()
    """Further DAGs that it is about."""
    remarks: Mapping[str, str] = field(default_factory=dict)
    """What there is to say of it for an Airflow version."""
    since: tuple[int, ...] = ()
    """The first Airflow that has what it is about."""

    @property
    def origins(self) -> tuple[str, ...]:
        return (self.name, *self.further)


Tries = Mapping[str, str]
"""A task, with its map index in brackets where it is mapped → the states of its tries in order."""


def ran(stage: Stage, dag_id: str, *, state: str, tries: Tries) -> str:
    """Run a DAG for the first time, to its end, which must be this one, and be told; answers the run's id."""
    run_id = stage.trigger(dag_id)
    ended(stage, dag_id, states=(state,), tries=tries)
    return run_id


def ended(stage: Stage, dag_id: str, *, states: Sequence[str], tries: Tries) -> None:
    """Wait for the ends of a DAG's runs, which must be these, and until they are told."""
    stage.until_ended(dag_id, len(states))
    found, expected = (stage.runs(dag_id), stage.tries(dag_id)), (list(states), dict(tries))
    assert found == expected, f"{dag_id} became {found}, not {expected}"
    stage.until_told(dag_id)


def ending(
    name: str,
    title: str,
    state: str,
    tries: Tries,
    but: Mapping[str, tuple[str, Tries]] | None = None,
    remarks: Mapping[str, str] | None = None,
) -> Scenario:
    """A scenario of one DAG that ends by itself. `but`: how it ends on some versions instead."""

    def play(stage: Stage) -> None:
        ends = (but or {}).get(stage.version, (state, tries))
        ran(stage, name, state=ends[0], tries=ends[1])

    return Scenario(name, title, play, remarks=remarks or {})
