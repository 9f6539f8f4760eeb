"""A reader sees what Airflow lets that user read: no new DAG is passed over, and sets are compared."""

import asyncio
import json
from collections.abc import Iterator

import httpx
import pytest

from monitor.event_log.append import append
from monitor.events.event import parse_event
from monitor.settings import Settings
from monitor.web.auth import rate_limit
from monitor.web.auth.permissions import RIGHTS_SECONDS, STALE_SECONDS
from tests import wait
from tests.sample import asset_event, run_event
from tests.unit.conftest import NOW, FakeClock
from tests.unit.web.auth.test_authenticator import airflow
from tests.unit.web_support import (
    MONITOR_USER,
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

__all__ = ["airflow"]

Headers = dict[str, str]


@pytest.fixture
def monitor(settings: Settings, airflow: SignInAirflow, clock: FakeClock) -> Iterator[Served]:
    airflow.dags[MONITOR_USER[0]] = ["etl", "training", "payroll"]
    airflow.add("chief", "chief's secret", ["etl", "training", "payroll"])
    with serving(with_sign_in(settings, airflow), clock) as monitor:
        yield monitor


def signed_in(monitor: Served, user: str) -> Headers:
    with httpx.Client(base_url=monitor.url) as browser:
        assert try_to_sign_in(browser, user, f"{user}'s secret").status_code == 303
        return {"Cookie": f"windsock_session={browser.cookies['windsock_session']}"}


def csrf_of(monitor: Served, headers: Headers) -> Headers:
    return headers | {"X-CSRF-Token": hidden("csrf", monitor.client.get("/", headers=headers).text)}


def new_dag(airflow: SignInAirflow, dag_id: str, *users: str) -> None:
    """Parsed by Airflow a moment ago, and for these to read."""
    for user in (*users, MONITOR_USER[0]):
        airflow.dags[user] = [*airflow.dags[user], dag_id]


def dags_in(monitor: Served, headers: Headers, path: str = "/api/v1/events") -> list[str]:
    answer = monitor.client.get(path, headers=headers)
    assert answer.status_code == 200, answer.text
    return [one["event"]["data"]["dag_id"] for one in answer.json()["events"]]


@pytest.mark.parametrize("kind", ["session", "airflow's token"])
@pytest.mark.parametrize("user", ["alice", "chief"])
def test_a_feed_tells_of_a_dag_that_is_newer_than_the_remembered_rights(
    monitor: Served, airflow: SignInAirflow, user: str, kind: str
) -> None:
    monitor.post([run_event(dag_id="etl")])
    token = {"Authorization": f"Bearer {airflow.token(user)}"}
    headers = signed_in(monitor, user) if kind == "session" else token
    with FeedReader(monitor.url, headers=headers) as reader:
        monitor.post([run_event(dag_id="etl", run_id="before")])
        reader.wait_for(1)
        for number in range(3):
            new_dag(airflow, f"new_{number}", user)
            monitor.post([run_event(dag_id=f"new_{number}", run_id=str(run)) for run in range(4)])
        told = [(one["data"]["dag_id"], one["data"]["run_id"]) for one in reader.wait_for(13)]
        assert told[1:] == [(f"new_{number}", str(run)) for number in range(3) for run in range(4)]


def test_a_replay_tells_of_it_too(monitor: Served, airflow: SignInAirflow) -> None:
    headers = signed_in(monitor, "alice")
    monitor.post([run_event(dag_id="etl")])
    assert dags_in(monitor, headers) == ["etl"]
    new_dag(airflow, "brand_new", "alice")
    monitor.post([run_event(dag_id="brand_new")])
    with FeedReader(monitor.url, "/events?since=2020-01-01T00:00:00Z", headers) as reader:
        assert [one["data"]["dag_id"] for one in reader.wait_for(2)] == ["etl", "brand_new"]


def test_the_log_of_the_api_and_the_pages_tell_of_it_too(monitor: Served, airflow: SignInAirflow) -> None:
    headers = signed_in(monitor, "alice")
    monitor.post([run_event(dag_id="etl")])
    assert dags_in(monitor, headers) == ["etl"]
    new_dag(airflow, "brand_new", "alice")
    monitor.post([run_event(dag_id="brand_new"), run_event(dag_id="etl", run_id="2")])
    assert dags_in(monitor, headers) == ["etl", "brand_new", "etl"]
    for path in ("/", "/runs", "/events/list", "/api/v1/runs"):
        assert "brand_new" in monitor.client.get(path, headers=headers).text, path


def test_it_is_told_whichever_process_logged_it(monitor: Served, airflow: SignInAirflow) -> None:
    headers = signed_in(monitor, "alice")
    monitor.post([run_event(dag_id="etl")])
    assert dags_in(monitor, headers) == ["etl"]
    new_dag(airflow, "brand_new", "alice")
    batch = [parse_event(run_event(dag_id="brand_new"))]
    monitor.app.state.services.database.write_now(lambda c: append(c, batch, NOW))
    assert dags_in(monitor, headers) == ["brand_new", "etl"]


def test_the_runs_that_an_update_began_are_told_of_a_new_dag_too(
    monitor: Served, airflow: SignInAirflow
) -> None:
    headers = signed_in(monitor, "alice")
    with FeedReader(monitor.url, headers=headers) as reader:
        monitor.post([run_event(dag_id="etl")])
        reader.wait_for(1)
        new_dag(airflow, "brand_new", "alice")
        began = [{"dag_id": "brand_new", "run_id": "1"}, {"dag_id": "payroll", "run_id": "1"}]
        monitor.post([asset_event(1, source_dag_id="etl", created_dagruns=began)])
        assert reader.wait_for(2)[1]["data"]["created_dagruns"] == began[:1]


def test_nothing_is_passed_over_while_airflow_cannot_be_asked(
    monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    headers = signed_in(monitor, "alice")
    with FeedReader(monitor.url, headers=headers) as reader:
        monitor.post([run_event(dag_id="etl")])
        reader.wait_for(1)
        place = reader.messages[-1].id
        new_dag(airflow, "brand_new", "alice")
        airflow.away = True
        monitor.post([run_event(dag_id="brand_new"), run_event(dag_id="etl", run_id="2")])
        wait.until(reader.ended.is_set, "the feed to end")
        assert len(reader.events) == 1
    assert dags_in(monitor, headers) == ["etl"]  # nor is what comes behind it shown
    assert monitor.client.get("/", headers=headers).status_code == 200
    airflow.away = False
    clock.forward(RIGHTS_SECONDS)
    with FeedReader(monitor.url, f"/events?after={place}", headers) as reader:
        assert [one["data"]["dag_id"] for one in reader.wait_for(2)] == ["brand_new", "etl"]


def test_new_dags_of_others_are_asked_about_once(monitor: Served, airflow: SignInAirflow) -> None:
    headers = signed_in(monitor, "alice")
    monitor.post([run_event(dag_id="etl")])
    assert dags_in(monitor, headers) == ["etl"]
    asked = airflow.asked
    for number in range(20):
        monitor.post([run_event(dag_id="secret", run_id=str(number))])
        assert dags_in(monitor, headers) == ["etl"]
    assert airflow.asked == asked + 1


def test_a_dag_that_was_deleted_and_came_again_is_new(
    monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    headers = signed_in(monitor, "alice")
    monitor.post([run_event(dag_id="etl")])
    airflow.dags["alice"] = ["training"]
    clock.forward(RIGHTS_SECONDS)
    assert dags_in(monitor, headers) == []
    airflow.dags["alice"] = ["training", "etl"]
    monitor.post([run_event(dag_id="etl", run_id="2")])
    assert dags_in(monitor, headers) == ["etl", "etl"]


def test_an_administrator_keeps_every_page_when_a_dag_is_new(monitor: Served, airflow: SignInAirflow) -> None:
    headers = signed_in(monitor, "chief")
    monitor.post([run_event("failed", dag_id) for dag_id in ("etl", "payroll")])
    assert monitor.client.get("/settings", headers=headers).status_code == 200
    open_incidents = monitor.client.get("/api/v1/incidents", headers=headers).json()["incidents"]
    signed_in(monitor, "alice")  # has both lists asked for at another moment
    for number in range(3):
        new_dag(airflow, f"new_{number}", "chief")
        if number:
            monitor.post([run_event(dag_id=f"new_{number}")])
        signed_in(monitor, "alice")
        assert monitor.client.get("/settings", headers=headers).status_code == 200
        assert monitor.client.get("/api/v1/incidents", headers=headers).json()["incidents"] == open_incidents


def test_an_administrator_stays_one_while_airflow_is_away(
    monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    headers = signed_in(monitor, "chief")
    assert monitor.client.get("/settings", headers=headers).status_code == 200
    airflow.away = True
    clock.forward(RIGHTS_SECONDS)
    assert monitor.client.get("/settings", headers=headers).status_code == 200
    clock.forward(STALE_SECONDS)
    assert monitor.client.get("/settings", headers=headers).status_code == 503


def test_as_many_dags_are_not_the_same_dags(monitor: Served, airflow: SignInAirflow) -> None:
    monitor.post([run_event("failed", "payroll")])
    airflow.dags["alice"] = ["etl", "own_1", "own_2", "own_3"]  # the monitor's own user reads three
    headers = csrf_of(monitor, signed_in(monitor, "alice"))
    assert monitor.client.get("/settings", headers=headers).status_code == 403
    assert monitor.client.get("/api/v1/incidents", headers=headers).json()["incidents"] == []
    for scope, status in (("read", 201), ("ingest", 403)):
        wanted = {"name": "god", "scopes": [scope]}
        made = monitor.client.post("/api/v1/tokens", headers=headers, json=wanted)
        assert made.status_code == status
        assert made.json().get("dags", 4) == 4


def test_dags_that_are_added_do_not_make_an_administrator(monitor: Served, airflow: SignInAirflow) -> None:
    signed_in(monitor, "chief")  # what the monitor's own user may read is remembered from here on
    new_dag(airflow, "own_1", "alice")
    new_dag(airflow, "own_2", "alice")
    headers = signed_in(monitor, "alice")
    assert monitor.client.get("/settings", headers=headers).status_code == 403


def test_an_airflow_that_shows_the_monitor_nothing_makes_nobody_an_administrator(
    monitor: Served, airflow: SignInAirflow
) -> None:
    airflow.dags[MONITOR_USER[0]] = []
    headers = signed_in(monitor, "alice")
    assert monitor.client.get("/settings", headers=headers).status_code == 403
    monitor.post([run_event(dag_id="etl")])
    assert monitor.client.get("/settings", headers=headers).status_code == 403


def test_a_token_for_everything_asks_anew(monitor: Served, airflow: SignInAirflow) -> None:
    headers = csrf_of(monitor, signed_in(monitor, "chief"))
    airflow.dags["chief"] = ["etl"]  # a moment ago: pages may still show the rest for a minute
    assert monitor.client.get("/settings", headers=headers).status_code == 200
    made = monitor.client.post("/api/v1/tokens", headers=headers, json={"name": "t", "scopes": ["read"]})
    assert made.json()["dags"] == 1
    wanted = {"name": "t", "scopes": ["ingest"]}
    assert monitor.client.post("/api/v1/tokens", headers=headers, json=wanted).status_code == 403


@pytest.mark.parametrize("other", ["\ufb01ona", "Fiona", "fiona\u200b", "F\u0131ona"])
def test_names_that_look_alike_share_no_tokens(monitor: Served, airflow: SignInAirflow, other: str) -> None:
    airflow.add("fiona", "fiona's secret", ["etl"])
    airflow.add(other, f"{other}'s secret", [])
    monitor.post([run_event(dag_id="etl")])
    own = csrf_of(monitor, signed_in(monitor, "fiona"))
    wanted = {"name": "robot", "scopes": ["read", "admin"]}
    made = monitor.client.post("/api/v1/tokens", headers=own, json=wanted).json()
    stranger = csrf_of(monitor, signed_in(monitor, other))
    assert monitor.client.get("/api/v1/tokens", headers=stranger).json()["tokens"] == []
    assert monitor.client.delete(f"/api/v1/tokens/{made['id']}", headers=stranger).status_code == 404
    bearer = {"Authorization": f"Bearer {made['secret']}"}
    assert dags_in(monitor, bearer) == ["etl"]


def test_guesses_that_are_sent_side_by_side_are_counted(monitor: Served, airflow: SignInAirflow) -> None:
    async def guess_all(number: int) -> list[int]:
        async with httpx.AsyncClient(base_url=monitor.url, timeout=60) as client:

            async def guess(which: int) -> int:
                form = {"username": "alice", "password": f"guess {which}", "next": "/", "csrf": "k"}
                answer = await client.post("/login", data=form, headers={"Cookie": "windsock_form=k"})
                return answer.status_code

            return await asyncio.gather(*map(guess, range(number)))

    asked = airflow.logins
    found = asyncio.run(guess_all(60))
    assert sorted(found) == [401] * rate_limit.FAILURES + [429] * (60 - rate_limit.FAILURES)
    assert airflow.logins == asked + rate_limit.FAILURES


def test_one_program_with_many_connections_is_no_guessing(monitor: Served, airflow: SignInAirflow) -> None:
    bearer = {"Authorization": f"Bearer {airflow.token('alice')}"}

    async def ask_all() -> list[int]:
        async with httpx.AsyncClient(base_url=monitor.url, timeout=60, headers=bearer) as client:
            answers = await asyncio.gather(*(client.get("/api/v1/runs") for _ in range(40)))
        return [answer.status_code for answer in answers]

    assert asyncio.run(ask_all()) == [200] * 40


def test_the_number_of_an_assets_updates_counts_nothing_hidden(
    monitor: Served, airflow: SignInAirflow
) -> None:
    uri = "file:///shared.pkl"
    monitor.post([asset_event(number, uri, source_dag_id="payroll") for number in range(7)])
    monitor.post([asset_event(50, uri, source_dag_id="etl")])
    for user, told in (("alice", None), ("chief", 8)):
        headers = signed_in(monitor, user)
        (asset,) = monitor.client.get("/api/v1/assets", headers=headers).json()["assets"]
        assert asset["updates"] == told
        for path in ("/assets", f"/assets/local?uri={uri}"):
            page = monitor.client.get(path, headers=headers).text
            assert (">8<" in page or "8 updates" in page) == (told == 8), path


def test_one_user_leaves_feeds_for_others(
    settings: Settings, airflow: SignInAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.feed.connections.room", lambda: 12)
    monkeypatch.setattr("monitor.feed.connections.MIN_SHARE", 3)
    with serving(with_sign_in(settings, airflow)) as monitor:
        alice, bob = signed_in(monitor, "alice"), signed_in(monitor, "bob")
        made = monitor.client.post(
            "/api/v1/tokens", headers=csrf_of(monitor, alice), json={"name": "t", "scopes": ["read"]}
        ).json()
        bearer = {"Authorization": f"Bearer {made['secret']}"}
        open_feeds = [FeedReader(monitor.url, headers=alice) for _ in range(3)]
        for one in open_feeds:
            one.__enter__()
        for headers in (alice, bearer):  # a token of hers is hers too
            refused = monitor.client.get("/events", headers=headers)
            assert refused.status_code == 429
            assert "3 feeds open" in refused.json()["detail"]
            assert int(refused.headers["retry-after"]) > 0
        with FeedReader(monitor.url, headers=bob) as other:
            assert other.status == 200
        open_feeds.pop().__exit__()
        wait.until(lambda: _status(monitor, alice) == 200, "her place to be free")
        for one in open_feeds:
            one.__exit__()


def _status(monitor: Served, headers: Headers) -> int:
    with monitor.client.stream("GET", "/events", headers=headers) as answer:
        return answer.status_code


def test_a_letter_and_a_preview_name_no_run_of_a_hidden_dag(
    settings: Settings, airflow: SignInAirflow, clock: FakeClock
) -> None:
    rules = "rules:\n  - {name: all, notify_on: [success, notice], match: {type: '*'}, to: ops@example.com}\n"
    (settings.home / "windsock.yaml").write_text(rules)
    airflow.dags[MONITOR_USER[0]] = ["etl", "training", "payroll"]
    airflow.add("chief", "chief's secret", ["etl", "training", "payroll"])
    uri, began = "file:///model.pkl", [{"dag_id": "payroll", "run_id": "SECRET_RUN"}]
    metrics = {"accuracy": 0.5512}
    with serving(with_sign_in(settings, airflow).model_copy(update={"confirm_grace": 0}), clock) as monitor:
        monitor.post([asset_event(1, uri, source_dag_id="payroll", source_run_id="p", extra=metrics)])
        update = {"source_dag_id": "etl", "source_run_id": "manual__1", "extra": {"accuracy": 0.75}}
        monitor.post([asset_event(2, uri, **update, created_dagruns=began), run_event(dag_id="etl")])
        box = monitor.app.state.services.mailbox
        wait.until(lambda: len(box.mails(10)) >= 3, "the mails to be sent")
        seen = {user: _texts(monitor, signed_in(monitor, user)) for user in ("alice", "chief")}
    hidden_words = ("payroll", "SECRET_RUN", "0.5512")
    assert {word: word in seen["chief"] for word in hidden_words} == dict.fromkeys(hidden_words, True)
    assert {word: word in seen["alice"] for word in hidden_words} == dict.fromkeys(hidden_words, False)
    assert "0.75" in seen["alice"]


def _texts(monitor: Served, headers: Headers) -> str:
    """Of every delivery, preview and letter that the reader gets."""
    get = monitor.client.get
    found = get("/api/v1/deliveries", headers=headers).json()["deliveries"]
    assert found
    texts = [json.dumps(found), get("/mail", headers=headers).text]
    texts += [
        get(f"/deliveries/{one['id']}{end}", headers=headers).text for one in found for end in ("", "/html")
    ]
    for row in monitor.app.state.services.mailbox.mails(10):
        for path in (f"/mail/{row.id}", f"/mail/{row.id}/html"):
            answer = get(path, headers=headers)
            texts += [answer.text] if answer.status_code == 200 else []
    return "\n".join(texts)
