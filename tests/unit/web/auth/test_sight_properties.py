"""Whatever happens to what a reader may not read, each answer to the reader is the same, byte for byte.

Two worlds have the same history of what the reader may read, and another one each of the rest: other names,
other numbers, other failures. Every route of the app is asked in both. A word that only hidden things
bear is in no answer. And what is hidden is answered as what is not there.
"""

import asyncio
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitor.settings import Settings
from monitor.web.auth import permissions
from tests.examples import times
from tests.postgres_server import PostgresServer
from tests.unit.sight_reader import (
    ALWAYS,
    LETTER,
    NOT_COMPARED,
    Answer,
    Asked,
    Things,
    Visitor,
    filters,
    needs,
)
from tests.unit.sight_world import (
    BY_HAND,
    DAGS,
    DEPLOYMENTS,
    MARK,
    RULES,
    SEEN,
    TOGETHER,
    UNSEEN,
    Act,
    Airflows,
    History,
    Pair,
    StandIn,
    Step,
    World,
    play,
    settings_of,
    world_of,
)
from tests.unit.surfaces import BODIES, surfaces

ABSENT = 10**9
"""No thing's number."""
ABSENTS: dict[str, dict[str, object]] = {
    "run_id": {"run_id": "absent"},
    "uri": {"uri": "absent", "asset": "absent"},
    "event_id": {"event_id": "absent"},
    "letter_id": {"letter_id": "0" * 20 + "-" + "0" * 12},
    **{kind: {kind: ABSENT} for kind in ("delivery_id", "incident_id", "silence_id")},
}
"""By what paths name things by, what names none."""
NewUrl = Callable[[], str]
Body = dict[str, object]


async def answers(
    history: History, variant: int, own: Settings, airflows: Airflows, full: bool = False
) -> dict[Asked, Answer]:
    """All that the reader gets in one of a history's worlds."""
    async with world_of(own, airflows, variant) as world:
        visitor = Visitor(world)
        following = await play(world, history, visitor)
        found = await visitor.walk(history.readable, history.turns, full)
        if following:
            found["/events", "live"] = Answer(200, (), await following)
        if variant == 0 and not history.sees_all:
            await check_absent(world, history.readable, visitor)
        return found


async def check_same(
    history: History, settings: Settings, airflows: Airflows, new_url: NewUrl, full: bool = False
) -> int:
    """Answers how many answers were compared."""
    with tempfile.TemporaryDirectory(prefix="windsock-sight-") as folder:
        one, other = [
            await answers(
                history,
                variant,
                settings_of(settings, airflows, Path(folder) / str(variant), new_url(), RULES),
                airflows,
                full,
            )
            for variant in range(2)
        ]
    check_words(history, one)
    check_words(history, other)
    assert list(one) == list(other), history
    kept = [key for key in one if f"GET {key[0].partition('?')[0]}" not in NOT_COMPARED]
    differ = {key: one[key].difference(other[key]) for key in kept if one[key] != other[key]}
    assert differ == {}, f"{differ}\n{history}"
    return len(kept)


def check_words(history: History, found: Mapping[Asked, Answer]) -> None:
    """An answer may repeat what was asked for."""
    words = {key: one.words for key, one in found.items() if MARK not in key[0] and one.words}
    assert words == {}, f"{words}\n{history}"


async def check_absent(world: World, readable: frozenset[Pair], visitor: Visitor) -> None:
    """By its name in a path or in a body, what is hidden is answered as what is not there."""
    things = Things.of(world, readable)
    by_kind = {kind: _hidden(things, kind) for kind in ABSENTS}
    known = filters(world.app)
    for surface in surfaces(world.app):
        kind = next((each for each in ABSENTS if each in needs(surface)), None)
        for values in _ends(by_kind[kind]) if kind else ():
            assert kind is not None
            body = BODIES.get(surface.name, {}) if surface.is_for_programs else {"reason": "x"}
            sent = {"json" if surface.is_for_programs else "data": body} if surface.is_effect else {}
            is_named = "deployment" in known.get(surface.path, ()) and "deployment" not in needs(surface)
            of = f"deployment={values['deployment']}" if is_named and "deployment" in values else ""
            both = [
                blank(
                    await visitor.ask(
                        surface.at(ALWAYS | values | named, of), "token", surface.method, **sent
                    ),
                    (values | named)[kind],
                )
                for named in ({}, ABSENTS[kind])
            ]
            assert both[0] == both[1], f"{surface.name} {values}"
            assert both[0].status == 404 or surface.path == "/api/v1/assets/updates", (
                f"{surface.name} {values}"
            )
    for values in _ends(by_kind["incident_id"]):
        named = values["incident_id"], ABSENT
        made: list[Body] = [{"incident_id": one, "reason": "x", "duration": "1h"} for one in named]
        assert await _check_both(visitor, "/api/v1/silences", made, named) == 404
        await _check_both(visitor, "/silences", [{"incident": one, "until": "1h"} for one in named], named)
    others = {str(one["dag_id"]) for one in by_kind["run_id"]} - {dag_id for _, dag_id in readable}
    for dag_id in sorted(others):
        called = dag_id, "absent"
        made = [{"name": "x", "scopes": ["read"], "dags": [one]} for one in called]
        await _check_both(visitor, "/api/v1/tokens", made, called)
        matches = [{"deployment": "local", "dag_id": one} for one in called]
        made = [{"match": one, "reason": "x", "duration": "1h"} for one in matches]
        assert await _check_both(visitor, "/api/v1/silences", made, called) == 403


def _hidden(things: Things, kind: str) -> list[dict[str, object]]:
    """Those that are hidden, but for what bears the same name as something of the reader's."""
    own = {(one.get("deployment"), one[kind]) for one in things.own if kind in one}
    if kind == "event_id":  # paths name it without the Airflow
        own |= {(deployment, name) for deployment in DEPLOYMENTS for _, name in own}
    some = [one for one in things.others if kind in one]
    return [one for one in some if kind == "run_id" or (one.get("deployment"), one[kind]) not in own]


def _ends(some: list[dict[str, object]]) -> list[dict[str, object]]:
    return some[:1] + some[1:][-1:]


async def _check_both(visitor: Visitor, path: str, bodies: list[Body], named: tuple[object, object]) -> int:
    """Check what is hidden and what is not there, named in a body; answers the status."""
    how = "json" if path.startswith("/api") else "data"
    found = [await visitor.ask(path, "token", "POST", **{how: body}) for body in bodies]
    one, other = (blank(answer, name) for answer, name in zip(found, named, strict=True))
    assert one == other, f"POST {path} {bodies[0]}"
    return one.status


def blank(answer: Answer, name: object) -> Answer:
    """Without the name that was asked for, which an answer repeats."""
    body, shown = answer.body, LETTER.sub("LETTER", str(name))
    for form in (quote(shown, safe=""), quote(shown), quote(shown, safe="/:"), shown):
        body = body.replace(form, "THAT")
    return replace(answer, body=body)


acts = st.builds(Act, st.sampled_from(UNSEEN), st.integers(0, 7), st.integers(0, 3))
some_acts = st.lists(acts, max_size=4).map(tuple)
seen_acts = st.builds(Act, st.sampled_from((*SEEN, *SEEN, *BY_HAND)), st.integers(0, 5), st.integers(0, 3))
steps = st.builds(
    Step,
    st.tuples(some_acts, some_acts),
    st.none()
    | st.builds(Act, st.sampled_from((*SEEN, *SEEN, *BY_HAND)), st.integers(0, 5), st.integers(0, 3)),
    st.sampled_from((1.0, 1.0, 31.0, 3601.0)),
    st.booleans(),
)
PAIRS = sorted((deployment, dag) for deployment in DEPLOYMENTS for dag in DAGS)


@st.composite
def histories(draw: st.DrawFn) -> History:
    readable = draw(st.frozensets(st.sampled_from(PAIRS), max_size=4))
    others = [pair for pair in PAIRS if pair not in readable]
    lost = draw(st.frozensets(st.sampled_from(others), max_size=2)) if draw(st.booleans()) else frozenset()
    late = draw(st.frozensets(st.sampled_from(sorted(readable)), max_size=2)) if readable else frozenset()
    some = draw(st.lists(steps, min_size=1, max_size=7))
    return History(readable, tuple(some), lost, late, draw(st.integers(0, 999)), draw(st.booleans()))


def everything(
    *readable: Pair, turns: int = 0, lost: frozenset[Pair] = frozenset(), late: frozenset[Pair] = frozenset()
) -> History:
    """Each kind of thing, hidden and seen; in the second world more of what is hidden."""
    unseen = [Act(what, at, at % 4) for at, what in enumerate(dict.fromkeys(UNSEEN))]
    made = []
    for number, what in enumerate(dict.fromkeys((*SEEN, *BY_HAND))):
        some = tuple(unseen[number % 3 :: 3])
        made.append(
            Step((some[:2], (*some, *some[::-1])), Act(what, number, number % 2), looks=number % 4 == 0)
        )
    more = ((), (Act("shared", 7, 1), Act("asset", 6, 1)))
    again = ("run", "shared", "failed", "shared", "asset", "run")
    made += [Step(more, Act(what, 0, number), 31.0) for number, what in enumerate(again)]
    shared = Act("shared", 7, 0), Act("shared", 6, 1), Act("shared", 5, 1)
    made.append(Step((shared[:2], shared[::-1]), None))
    return History(frozenset(readable), tuple(made), lost, late, turns, live=not (lost or late))


TWO = ("local", "alpha"), ("other", "beta")


@pytest.fixture(scope="module")
def stand_ins() -> Iterator[Airflows]:
    local, other = StandIn(), StandIn()
    with local.serving(), other.serving():
        yield Airflows({"local": local, "other": other})


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow is asked again without a pause between two questions."""
    monkeypatch.setattr(permissions, "PAUSE_SECONDS", 0)


SOME = hypothesis_settings(
    max_examples=times(5),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@SOME
@given(history=histories())
@example(history=everything(*TWO))
@example(history=everything(*TWO, turns=7, lost=frozenset({("local", "beta")}), late=frozenset({TWO[1]})))
@pytest.mark.usefixtures("at_once")
def test_what_is_hidden_changes_no_answer(history: History, settings: Settings, stand_ins: Airflows) -> None:
    asyncio.run(check_same(history, settings, stand_ins, lambda: ""))


@pytest.mark.usefixtures("at_once")
def test_what_is_hidden_changes_no_answer_on_postgresql(
    settings: Settings, stand_ins: Airflows, postgres: PostgresServer, postgres_template: str
) -> None:
    history = everything(*TWO, turns=3)
    asyncio.run(check_same(history, settings, stand_ins, lambda: postgres.create(postgres_template)))


@pytest.mark.slow
@pytest.mark.usefixtures("at_once")
def test_no_answer_has_what_a_mail_tells_besides(
    settings: Settings, stand_ins: Airflows, tmp_path: Path
) -> None:
    """Where one mail tells of several DAGs, whether it does is seen, and so no worlds are compared."""
    history, own = everything(*TWO), settings_of(settings, stand_ins, tmp_path / "home", "", TOGETHER)
    check_words(history, asyncio.run(answers(history, 0, own, stand_ins, full=True)))


@pytest.mark.usefixtures("at_once")
def test_who_reads_every_dag_is_answered_with_those_words(
    settings: Settings, stand_ins: Airflows, tmp_path: Path
) -> None:
    """Or the tests above would prove nothing."""
    history = replace(everything(*TWO), sees_all=True)
    own = settings_of(settings, stand_ins, tmp_path / "home", "", RULES)
    found = asyncio.run(answers(history, 0, own, stand_ins))
    assert len([key for key, one in found.items() if MARK not in key[0] and one.words]) > len(found) / 4
