"""Silences, in the API and as pages, on both databases: who may make which, and what one would cover."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection, update

from monitor.database.engine import Database
from monitor.database.schema import silences as table
from monitor.event_log import read
from monitor.event_log.append import append
from monitor.event_log.filters import AllowedDags
from monitor.events.event import parse_event
from monitor.notifications import silences
from monitor.notifications.silences import Silence, SilenceScope, TooManySilences
from monitor.rules.model import Match
from monitor.settings import Settings
from monitor.web.auth.permissions import RIGHTS_SECONDS
from monitor.web.pages import forms
from monitor.web.pages import silences as silences_pages
from monitor.web.pages.silences import preview
from monitor.web.silence_validation import MAX_REASON, mistake_in
from tests.sample import event, moment, run_event, task_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.web.pages.test_incidents import EVIL, fail, get, sign_in
from tests.unit.web_support import MONITOR_USER, Served, SignInAirflow, serving, with_sign_in

API = "/api/v1/silences"
ETL = {"deployment": ["local"], "dag_id": ["etl"]}


@pytest.fixture(params=["sqlite", "postgresql"])
def monitor(request: pytest.FixtureRequest, settings: Settings, clock: FakeClock) -> Iterator[Served]:
    on_postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if on_postgres else ""
    with serving(settings.model_copy(update={"database_url": url}), clock) as monitor:
        yield monitor


def made(monitor: Served, **given: Any) -> Any:
    asked = {"match": ETL, "reason": "the source is down", "duration": "8h", **given}
    answer = monitor.client.post(API, json={key: value for key, value in asked.items() if value is not None})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_silence_silences(monitor: Served, clock: FakeClock) -> None:
    silence = made(monitor)
    assert (silence["author"], silence["state"], silence["match"]) == ("local", "active", ETL)
    assert (silence["deployment"], silence["dag_id"]) == ("local", "etl")
    assert silence["ends_at"] == "2026-11-22T18:00:00Z"
    fail(monitor)
    (decision,) = get(monitor.client, "/api/v1/incidents/1")["decisions"]
    assert (decision["outcome"], decision["silence_id"]) == ("suppressed", silence["id"])
    assert "the source is down" in decision["reason"]
    ended = monitor.client.delete(f"{API}/{silence['id']}").json()
    assert (ended["state"], ended["ended_by"]) == ("expired", "local")
    fail(monitor, number=1)
    assert get(monitor.client, "/api/v1/incidents/1")["decisions"][-1]["outcome"] == "notified"


def test_there_is_an_end_of_silences(monitor: Served, clock: FakeClock) -> None:
    def refused(**match: Any) -> str:
        answer = monitor.client.post(API, json={"match": match, "reason": "again", "duration": "1h"})
        assert answer.status_code == 409, answer.text
        return str(answer.json()["detail"])

    for _ in range(silences.MOST_ALIKE):
        made(monitor, duration="1h")
    assert f"{silences.MOST_ALIKE} silences of the same" in refused(**ETL)
    for number in range(silences.MOST_OF_ONE - silences.MOST_ALIKE):
        made(monitor, match=ETL | {"task_id": [f"task_{number}"]}, duration="1h")
    assert f"{silences.MOST_OF_ONE} silences of local" in refused(deployment=["local"], dag_id=["other"])
    clock.forward(3601)
    made(monitor)  # those are over


def test_what_one_dags_readers_make_leaves_room_for_others(monitor: Served, clock: FakeClock) -> None:
    database, ends_at = monitor.app.state.services.database, clock.now + timedelta(hours=1)

    def add(dag_id: str, numbers: range) -> None:
        def write(connection: Connection) -> None:
            for number in numbers:
                match = Match(deployment=("local",), dag_id=(dag_id,), task_id=(f"task_{number}",))
                silences.add(connection, match, f"author {number}", "x", clock.now, ends_at, clock.now)

        database.write_now(write)

    add("etl", range(silences.MOST_OF_DAG))
    with pytest.raises(TooManySilences, match="of the DAG etl hold already"):
        add("etl", range(silences.MOST_OF_DAG, silences.MOST_OF_DAG + 1))
    add("other", range(1))


def test_making_and_ending_silences_has_an_end(database: Database) -> None:
    match, most = Match(dag_id=("etl",)), silences.MOST_ALIKE * silences.MOST_A_DAY

    def make_and_end(now: datetime, times: int = 1) -> None:
        def write(connection: Connection) -> None:
            for _ in range(times):
                made = silences.add(connection, match, "ann", "x", now, now + timedelta(hours=1), now)
                silences.end(connection, made.id, "ann", now)

        database.write_now(write)

    make_and_end(NOW, most)
    with pytest.raises(TooManySilences, match=f"{most} silences of the same were made within a day"):
        make_and_end(NOW + timedelta(hours=23))
    make_and_end(NOW + timedelta(days=1))


def test_what_is_active_is_read_anew_when_it_changes(database: Database) -> None:
    """What was parsed is kept, and never outlives what the table says: not what another replica writes."""

    def add(dag_id: str, ends_in: int, starts_in: int = 0) -> Silence:
        starts_at, ends_at = NOW + timedelta(hours=starts_in), NOW + timedelta(hours=ends_in)
        return database.write_now(
            lambda c: silences.add(c, Match(dag_id=(dag_id,)), "ann", "x", starts_at, ends_at, NOW)
        )

    def active(hours: float = 0) -> list[int]:
        found = database.read_now(lambda c: silences.active(c, NOW + timedelta(hours=hours)))
        return [one.id for one in found]

    long, short, later = add("a", 8), add("b", 2), add("c", 4, starts_in=1)
    assert active() == [long.id, short.id]
    assert active(1) == [long.id, later.id, short.id]
    assert active(3) == [long.id, later.id]
    database.write_now(lambda c: silences.end(c, long.id, "ann", NOW + timedelta(hours=3)))
    assert active(3.5) == [later.id]
    with database.engine.begin() as connection:  # by another process
        longer = {"ends_at": NOW + timedelta(hours=9), "reason": "longer"}
        connection.execute(update(table).where(table.c.id == later.id).values(longer))
    (found,) = database.read_now(lambda c: silences.active(c, NOW + timedelta(hours=8)))
    assert (found.id, found.reason) == (later.id, "longer")


def test_many_silences_of_other_dags_are_parsed_once(database: Database) -> None:
    def add_all(connection: Connection) -> None:
        for number in range(300):
            match = Match(deployment=("local",), dag_id=(f"dag_{number}",))
            silences.add(connection, match, f"author {number}", "x", NOW, NOW + timedelta(hours=1), NOW)

    database.write_now(add_all)
    first, second = (database.read_now(lambda c: silences.active(c, NOW)) for _ in range(2))
    assert len(first) == 300
    assert all(one is other for one, other in zip(first, second, strict=True))


def test_silences_are_paged_and_told_by_their_state(monitor: Served, clock: FakeClock) -> None:
    over = made(monitor, duration="1h")
    clock.forward(3600)
    first = made(monitor)
    later = made(monitor, starts_at="2026-11-23T00:00:00Z")
    states = {one["id"]: one["state"] for one in get(monitor.client, API)["silences"]}
    assert states == {over["id"]: "expired", first["id"]: "active", later["id"]: "pending"}
    assert later["ends_at"] == "2026-11-23T08:00:00Z"
    active = get(monitor.client, f"{API}?active=true")["silences"]
    assert [one["id"] for one in active] == [first["id"]]
    page = get(monitor.client, f"{API}?limit=2")
    assert [one["id"] for one in page["silences"]] == [later["id"], first["id"]]
    rest = get(monitor.client, f"{API}?limit=2&cursor={page['next']}")
    assert [one["id"] for one in rest["silences"]] == [over["id"]]
    again = monitor.client.delete(f"{API}/{over['id']}").json()
    assert (again["state"], again["ended_by"]) == ("expired", None)
    assert get(monitor.client, f"{API}/{later['id']}") == later
    for method in ("GET", "DELETE"):
        assert monitor.client.request(method, f"{API}/99").status_code == 404


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"match": {}}, "silence every Airflow as a whole"),
        ({"match": {"deployment": "local"}}, "silence the Airflow local as a whole"),
        ({"match": {"type": "*"}}, "say whole_airflow"),
        ({"match": {"dag_id": ["*"]}}, "as a whole"),
        ({"match": {"dag_id": ["?*"], "run_type": "scheduled"}}, "as a whole"),
        ({"match": {"any_of": [{"dag_id": "etl"}, {"type": "airflow.*"}]}}, "as a whole"),
        ({"match": {"none_of": [{"dag_id": "etl"}]}}, "as a whole"),
        ({"whole_airflow": True}, "less than a whole Airflow"),
        ({"whole_airflow": 0}, "whole_airflow"),
        ({"incident_id": 1}, "either match or incident_id"),
        ({"match": {"dag": ["etl"]}}, "dag"),
        ({"match": {"dag_id": ["x"] * 21}}, "21 values"),
        ({"match": {"dag_id": [""]}}, "dag_id"),
        ({"match": None}, "match"),
        ({"reason": None}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "x" * (MAX_REASON + 1)}, "reason"),
        ({"reason": "a\0b"}, "NUL"),
        ({"duration": None}, "either ends_at or duration"),
        ({"ends_at": "2026-11-23T00:00:00Z"}, "either ends_at or duration"),
        ({"duration": "8"}, "duration"),
        ({"duration": "0"}, "duration"),
        ({"duration": "400d"}, "duration"),
        ({"duration": None, "ends_at": "2026-11-23T00:00:00"}, "ends_at"),
        ({"duration": None, "ends_at": "2026-11-22T09:59:00Z"}, "over already"),
        ({"duration": None, "ends_at": "2028-11-22T09:59:00Z"}, "at most 366 days"),
        (
            {"duration": None, "starts_at": "2026-11-25T00:00:00Z", "ends_at": "2026-11-24T00:00:00Z"},
            "not after starts_at",
        ),
        ({"starts_at": "9999-12-31T23:00:00Z"}, "is not within the years 1900 to 9998"),
        ({"starts_at": "9998-12-31T23:00:00Z"}, "starts_at: is too near the end of the calendar"),
        (
            {
                "duration": None,
                "starts_at": "9999-12-31T23:00:00-12:00",
                "ends_at": "9999-12-31T23:30:00-12:00",
            },
            "is not within the years 1900 to 9998",
        ),
        ({"duration": None, "ends_at": "0001-01-01T00:00:00+14:00"}, "is not within the years 1900 to 9998"),
        ({"author": "somebody else"}, "author"),
    ],
)
def test_what_is_wrong_is_named(
    settings: Settings, clock: FakeClock, changes: dict[str, Any], words: str
) -> None:
    with serving(settings, clock) as monitor:
        asked = {"match": ETL, "reason": "x", "duration": "8h", **changes}
        asked = {key: value for key, value in asked.items() if value is not None}
        answer = monitor.client.post(API, json=asked)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert words in answer.json()["detail"]
        assert get(monitor.client, API)["silences"] == []


def test_a_foreign_page_silences_nothing(monitor: Served) -> None:
    asked = {"match": ETL, "reason": "x", "duration": "8h"}
    assert monitor.client.post(API, json=asked, headers=EVIL).status_code == 403
    assert monitor.client.post("/silences", data={"dag_id": "etl"}, headers=EVIL).status_code == 403
    silence = made(monitor)
    assert monitor.client.delete(f"{API}/{silence['id']}", headers=EVIL).status_code == 403
    assert monitor.client.post(f"/silences/{silence['id']}/end", headers=EVIL).status_code == 403


def test_the_form_shows_what_it_would_cover(monitor: Served) -> None:
    monitor.post([run_event("failed", "etl"), run_event("failed", "load"), task_event("failed", "t", "etl")])
    page = monitor.client.get("/silences/new?deployment=local&dag_id=etl").text
    assert "2 events" in page
    assert 'value="etl"' in page
    asked = {"dag_id": "etl, load", "type": "airflow.dag_run.*", "action": "preview"}
    answer = monitor.client.post("/silences", data=asked)
    assert answer.status_code == 303  # a page of its own: to load it again sends nothing again
    assert "2 events" in monitor.client.get(answer.headers["location"]).text
    assert get(monitor.client, API)["silences"] == []
    assert "In the last day" not in monitor.client.get("/silences/new").text


def test_a_silence_by_the_form(monitor: Served, clock: FakeClock) -> None:
    form = {"deployment": "local", "dag_id": "etl", "until": "tomorrow", "reason": "the source is down"}
    answer = monitor.client.post("/silences", data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/silences")
    (silence,) = get(monitor.client, API)["silences"]
    assert (silence["match"], silence["ends_at"]) == (ETL, "2026-11-23T08:00:00Z")
    for path in ("/silences", "/"):
        page = monitor.client.get(path).text
        assert "Airflow local, and DAG etl" in page
    ended = monitor.client.post(f"/silences/{silence['id']}/end")
    assert (ended.status_code, ended.headers["location"]) == (303, "/silences")
    page = monitor.client.get("/silences").text
    assert "Nothing is silenced" in page
    assert "ended early by local" in page


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reason": ""}, "reason: is empty"),
        ({"dag_id": ""}, "as a whole"),
        ({"whole_airflow": "true", "action": "confirm"}, "less than a whole Airflow"),
        ({"until": "for ever"}, "none of the choices"),
        ({"until": "own"}, "another end: is empty"),
        ({"until": "own", "own_end": "soon"}, "no moment such as"),
        ({"until": "own", "own_end": "2026-11-22T09:00"}, "is over already"),
        ({"dag_id": ",".join(["x"] * 21)}, "21 values"),
    ],
)
def test_a_form_with_a_mistake_comes_back_as_it_was(
    settings: Settings, clock: FakeClock, changes: dict[str, str], words: str
) -> None:
    form = {"dag_id": "etl", "until": "1h", "reason": "the source is down", **changes}
    with serving(settings, clock) as monitor:
        answer = monitor.client.post("/silences", data=form)
        assert answer.status_code == 422
        assert words in answer.text
        assert f'value="{form["reason"]}"' in answer.text
        assert get(monitor.client, API)["silences"] == []


def test_spans_end_in_the_morning_of_a_zone() -> None:
    """Zürich, the night in which clocks go back: 8:00 is by the clock on the wall."""
    evening = datetime(2026, 10, 24, 20, 0, tzinfo=timezone.utc)
    assert forms.end_of("tomorrow", "", evening, "Europe/Zurich") == datetime(
        2026, 10, 25, 7, 0, tzinfo=timezone.utc
    )
    words = [choice.words for choice in forms.choices(evening, "Europe/Zurich")]
    assert words == ["1 hour", "8 hours", "until tomorrow, Sunday 08:00 (Europe/Zurich)", "1 week"]
    own = forms.end_of("own", "2026-10-26T08:00", evening, "Europe/Zurich")
    assert own == datetime(2026, 10, 26, 7, 0, tzinfo=timezone.utc)
    with pytest.raises(ValueError, match="beyond every calendar"):
        forms.end_of("own", "0001-01-01T00:00", evening, "Asia/Tokyo")


def test_the_longest_silence() -> None:
    scope = SilenceScope(Match.model_validate(ETL))
    assert mistake_in(scope, NOW, NOW + timedelta(days=366), NOW) is None
    assert "at most 366 days" in str(mistake_in(scope, NOW, NOW + timedelta(days=366, seconds=1), NOW))


def log(database: Database, *told: dict[str, Any], at: datetime = NOW) -> None:
    parsed = [parse_event(one) for one in told]
    database.write_now(lambda connection: append(connection, parsed, at))


def test_a_preview_counts_what_the_match_takes(database: Database) -> None:
    log(database, run_event("failed", "etl", "old"), at=NOW - timedelta(days=1, seconds=1))
    log(database, *(run_event("failed", f"etl_{number}") for number in range(30)))
    log(database, run_event("failed", "payroll"), task_event("failed", try_number=2, dag_id="etl_1"))

    def covered(visible: AllowedDags = None, **given: Any) -> int:
        scope = SilenceScope(Match.model_validate(given))
        return database.read_now(lambda connection: preview(connection, scope, NOW, visible)).number

    assert covered(dag_id="etl*") == 31
    assert covered(dag_id="etl") == 0
    assert covered(type="airflow.dag_run.*") == 31
    assert covered(task_id="load") == 1
    assert covered(attempt=2) == 1
    assert covered(tags="nightly") == 0
    assert covered(type="*") == 32
    assert covered(frozenset({("local", "payroll")}), type="*") == 1
    assert covered(frozenset(), type="*") == 0


def test_events_by_their_numbers(database: Database) -> None:
    log(database, *(run_event("failed", f"dag_{number}") for number in range(5)))

    def seqs(wanted: set[int], visible: AllowedDags = None) -> list[int]:
        found = database.read_now(lambda connection: read.find_by_seqs(connection, wanted, visible))
        return [event.seq for event in found]

    assert seqs({4, 1, 99}) == [1, 4]
    assert seqs(set()) == []
    assert seqs({1, 2, 3}, frozenset({("local", "dag_1")})) == [2]


def test_a_preview_looks_through_so_many(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        services = monitor.app.state.services
        many = silences_pages.LOOKED_THROUGH + 1
        log(services.database, *(run_event("failed", "etl", f"run_{number}") for number in range(many)))
        page = monitor.client.get("/silences/new?dag_id=etl").text
        assert f"of the latest {many - 1} (there were more)" in page
        assert page.count("/runs/local/etl/") == silences_pages.EXAMPLES


@pytest.fixture
def airflow() -> Iterator[SignInAirflow]:
    every = ["etl", "payroll"]
    with SignInAirflow().serving() as airflow:
        airflow.dags[MONITOR_USER[0]] = every
        airflow.add("alice", "alice's secret", ["etl"])
        airflow.add("chief", "chief's secret", every)
        yield airflow


@pytest.fixture
def guarded(settings: Settings, airflow: SignInAirflow, clock: FakeClock) -> Iterator[Served]:
    with serving(with_sign_in(settings, airflow), clock) as monitor:
        yield monitor


@pytest.fixture
def browser(guarded: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=guarded.url, headers={"Accept": "text/html"}) as browser:
        yield browser


WIDE = (
    {"deployment": ["local"], "dag_id": ["payroll"]},
    {"dag_id": ["etl"]},
    {"deployment": ["local"]},
    {"deployment": ["*"], "dag_id": ["etl"]},
    {"deployment": ["local"], "dag_id": ["et?"]},
    {"deployment": ["local"], "dag_id": ["etl", "payroll"]},
    {"type": ["*"]},
    {"tags": ["nightly"]},
)
"""Of more than alice's one DAG."""
WHOLE = ({"deployment": ["local"]}, {"type": ["*"]})


@pytest.mark.parametrize("match", WIDE)
def test_more_than_one_dag_is_silenced_by_who_reads_all(browser: httpx.Client, match: Any) -> None:
    asked = {"match": match, "reason": "x", "duration": "8h", "whole_airflow": match in WHOLE}
    refused = browser.post(API, json=asked, headers=sign_in(browser, "alice"))
    assert (refused.status_code, refused.headers["content-type"]) == (403, "application/problem+json")
    assert "exactly one deployment and one dag_id" in refused.json()["detail"]
    assert get(browser, API)["silences"] == []
    assert browser.post(API, json=asked, headers=sign_in(browser, "chief")).status_code == 201


def test_nobody_silences_all_while_airflow_cannot_say(
    browser: httpx.Client, airflow: SignInAirflow, clock: FakeClock
) -> None:
    csrf = sign_in(browser, "chief")
    airflow.away = True
    clock.forward(RIGHTS_SECONDS)
    asked = {"match": {"type": ["*"]}, "reason": "x", "duration": "8h", "whole_airflow": True}
    assert browser.post(API, json=asked, headers=csrf).status_code == 503
    asked |= {"match": ETL, "whole_airflow": False}
    assert browser.post(API, json=asked, headers=csrf).status_code == 201
    asked_then = airflow.asked
    assert browser.get("/incidents").status_code == 200
    assert airflow.asked == asked_then  # an Airflow that is away is not asked again by every page


def test_who_sees_and_ends_which_silence(browser: httpx.Client) -> None:
    chief = sign_in(browser, "chief")
    for match in (ETL, {"deployment": ["local"], "dag_id": ["payroll"]}, {"tags": ["secret"]}):
        asked = {"match": match, "reason": f"why {match}", "duration": "8h"}
        assert browser.post(API, json=asked, headers=chief).status_code == 201
    assert len(get(browser, API)["silences"]) == 3
    alice = sign_in(browser, "alice")
    assert [one["id"] for one in get(browser, API)["silences"]] == [1]
    for path in ("/silences", "/"):
        page = browser.get(path).text
        assert "DAG etl" in page
        assert "payroll" not in page
        assert "secret" not in page
    for number in (2, 3):
        assert browser.get(f"{API}/{number}").status_code == 404
        assert browser.delete(f"{API}/{number}", headers=alice).status_code == 404
        assert browser.post(f"/silences/{number}/end", headers=alice).status_code == 404
    assert browser.delete(f"{API}/1").status_code == 403
    assert browser.delete(f"{API}/1", headers=alice).json()["ended_by"] == "alice"


def test_the_form_says_what_one_may_not(browser: httpx.Client) -> None:
    alice = sign_in(browser, "alice")
    assert "You may silence one DAG" in browser.get("/silences/new?tags=nightly").text
    assert "You may silence one DAG" not in browser.get("/silences/new?deployment=local&dag_id=etl").text
    form = {"tags": "nightly", "until": "1h", "reason": "x"}
    answer = browser.post("/silences", data=form, headers=alice)
    assert answer.status_code == 403
    assert "read every DAG" in answer.text
    assert browser.post("/silences", data=form).status_code == 403


def test_a_preview_counts_the_own_dags_alone(browser: httpx.Client, guarded: Served) -> None:
    guarded.post([run_event("failed", "etl"), run_event("failed", "payroll")])
    sign_in(browser, "alice")
    page = browser.get("/silences/new?type=airflow.*").text
    assert "1 event" in page
    assert "payroll" not in page


def broken(filename: str, number: int = 0) -> dict[str, Any]:
    data = {"filename": filename, "stacktrace": f"NameError: {number}"}
    return event(
        "airflow.dag.import_error", f"import_error:{filename}{number}", filename, moment(number), data
    )


def test_an_incident_without_a_dag_is_silenced_alone(monitor: Served) -> None:
    """Its button filled in nothing but the Airflow, and silenced all of it."""
    monitor.post([broken("a.py")])
    for path in ("/incidents", "/incidents/1"):
        assert "/silences/new?incident=1" in monitor.client.get(path).text
    page = monitor.client.get("/silences/new?incident=1").text
    assert "incident “a.py cannot be imported” of Airflow local" in page
    assert "1 event" in page
    form = {"incident": "1", "until": "1h", "reason": "being mended"}
    assert monitor.client.post("/silences", data=form).status_code == 303
    (silence,) = get(monitor.client, API)["silences"]
    assert (silence["incident_title"], silence["dag_id"]) == ("a.py cannot be imported", None)
    for path in ("/silences", "/"):
        assert "a.py cannot be imported" in monitor.client.get(path).text
    monitor.post([broken("a.py", 1), broken("b.py")])
    fail(monitor)

    def outcome(number: int) -> str:
        told: str = get(monitor.client, f"/api/v1/incidents/{number}")["decisions"][-1]["outcome"]
        return told

    assert [outcome(number) for number in (1, 2, 3)] == ["suppressed", "notified", "notified"]


def test_an_incident_is_silenced_by_the_api(monitor: Served) -> None:
    fail(monitor)
    monitor.post([broken("a.py")])
    page = monitor.client.get("/silences/new?incident=1").text
    assert 'name="dag_id" value="etl"' in page  # to be narrowed, and to be seen
    of_dag = made(monitor, match=None, incident_id=1)
    assert (of_dag["match"], of_dag["incident_key"]) == (ETL, None)
    of_file = made(monitor, match=None, incident_id=2)
    assert of_file["match"] == {"deployment": ["local"]}
    assert of_file["incident_title"] == "a.py cannot be imported"
    asked = {"incident_id": 9, "reason": "x", "duration": "8h"}
    assert monitor.client.post(API, json=asked).status_code == 404


def test_a_whole_airflow_is_silenced_by_who_means_it(monitor: Served) -> None:
    """The form, what that means, and once more; then every page says so for as long as it lasts."""
    form = {"deployment": "local", "until": "1h", "reason": "an upgrade", "whole_airflow": "true"}
    asked = monitor.client.post("/silences", data=form)
    assert get(monitor.client, API)["silences"] == []
    page = monitor.client.get(asked.headers["location"]).text
    assert "Silence a whole Airflow?" in page
    assert 'value="an upgrade"' in page
    assert "silenced as a whole" not in page
    answer = monitor.client.post("/silences", data={**form, "action": "confirm"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/silences")
    for path in ("/", "/runs", "/silences", "/status", "/mail", "/settings", "/tokens", "/docs"):
        page = monitor.client.get(path).text
        assert "The Airflow local is silenced as a whole" in page, path
        assert "local: an upgrade" in page
    (silence,) = get(monitor.client, API)["silences"]
    monitor.client.post(f"/silences/{silence['id']}/end")
    assert "silenced as a whole" not in monitor.client.get("/runs").text


def test_who_may_read_little_knows_that_all_is_silenced(browser: httpx.Client) -> None:
    chief = sign_in(browser, "chief")
    for match in ({"deployment": ["local"]}, {"deployment": ["other"]}):
        asked = {"match": match, "reason": "a secret", "duration": "8h", "whole_airflow": True}
        assert browser.post(API, json=asked, headers=chief).status_code == 201
    assert "chief: a secret" in browser.get("/runs").text
    sign_in(browser, "alice")
    page = browser.get("/runs").text
    assert "The Airflow local is silenced as a whole" in page
    assert "other" not in page.split("whole-silences")[1].split("<main")[0]
    assert "a secret" not in page
    form = {"deployment": "local", "until": "1h", "reason": "x", "whole_airflow": "true", "action": "confirm"}
    assert browser.post("/silences", data=form, headers=sign_in(browser, "alice")).status_code == 403
