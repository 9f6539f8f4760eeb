"""Assets on pages and in the API: who may see what, the pages' order, freshness, and Airflow's word."""

import asyncio
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request

from monitor.airflow.client import AirflowApi
from monitor.event_log.projections.assets import AssetName
from monitor.settings import Settings
from monitor.web.airflow_lookups import (
    FAILED_KEPT,
    KEPT,
    MAX_ASKING,
    MAX_ASKING_OF_ONE,
    NOT_NAMED,
    UNDER_WAY,
    AssetLineage,
    Lineage,
)
from tests.sample import asset_event, moment
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow
from tests.unit.airflow_api_fake import serving as airflow_serving
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, SignInAirflow, serving, try_to_sign_in, with_sign_in
from tests.wait import DEADLINE

URI = "s3://lake/a b?c=d&e#f/%2F/é<script>alert(1)</script>"
API = "/api/v1/assets/updates"
HOUR = 3600.0


@pytest.fixture(params=["sqlite", "postgresql"])
def monitor(request: pytest.FixtureRequest, settings: Settings, clock: FakeClock) -> Iterator[Served]:
    on_postgres = request.param == "postgresql"
    url = request.getfixturevalue("postgres_url") if on_postgres else ""
    with serving(settings.model_copy(update={"database_url": url}), clock) as monitor:
        yield monitor


def updated(number: int, at: float = 0, uri: str = URI, **data: Any) -> dict[str, Any]:
    told = {"extra": {"accuracy": number / 10}, "timestamp": moment(at), **data}
    return asset_event(number, uri, **told) | {"time": moment(at)}


def begins(*dag_ids: str) -> list[dict[str, str]]:
    return [{"dag_id": one, "run_id": "asset_triggered__1"} for one in dag_ids]


def page_of(client: httpx.Client, uri: str = URI, **query: str) -> httpx.Response:
    return client.get("/assets/local", params={"uri": uri, **query})


def api_of(client: httpx.Client, **query: Any) -> dict[str, Any]:
    answer = client.get(API, params={"deployment": "local", "uri": URI, **query})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_updates_are_paged_newest_first(monitor: Served, clock: FakeClock) -> None:
    clock.forward(5 * HOUR)
    monitor.post([updated(n, n * HOUR) for n in range(1, 6)] + [updated(9, 0, URI + "/other")])
    numbers: list[list[int]] = []
    query: dict[str, Any] = {}
    while True:
        page = api_of(monitor.client, limit=2, **query)
        numbers.append([one["asset_event_id"] for one in page["updates"]])
        if page["next"] is None:
            break
        query = {"cursor": page["next"]}
    assert numbers == [[5, 4], [3, 2], [1]]
    (first,) = api_of(monitor.client, limit=1)["updates"]
    assert first["extra"] == {"accuracy": 0.5}
    assert first["timestamp"] == "2026-11-22T15:00:00Z"


def test_an_address_holds_any_uri(monitor: Served) -> None:
    monitor.post([updated(1)])
    listed = monitor.client.get("/assets").text
    assert f"/assets/local?uri={quote(URI, safe='')}" in listed.replace("+", "%20").replace("&amp;", "&")
    shown = page_of(monitor.client)
    assert shown.status_code == 200
    for page in (listed, shown.text):
        assert "<script>alert" not in page
    assert page_of(monitor.client, URI + "*").status_code == 404
    assert page_of(monitor.client, "x\0").status_code == 422
    assert monitor.client.get("/assets/local").status_code == 422
    for wrong in ("uri=x", "deployment=local", "deployment=local&uri=x&cursor=0", "deployment=a&uri=b&q=1"):
        assert monitor.client.get(f"{API}?{wrong}").status_code == 422, wrong
    assert api_of(monitor.client, deployment="elsewhere") == {"updates": [], "next": None}


def test_numbers_that_json_does_not_have(monitor: Served) -> None:
    extra = {"huge": 10**400, "small": 1e-12, "true": True, "none": None, "list": [1], "accuracy": "good"}
    monitor.post([updated(1, extra=extra)])
    assert page_of(monitor.client).status_code == 200
    assert api_of(monitor.client)["updates"][0]["extra"] == extra


@pytest.mark.parametrize(
    ("gaps", "age", "word"),
    [
        ([24] * 6, 20, "fresh"),
        ([24] * 6, 40, "later than usual"),
        ([24] * 3, 400, "too early to say"),
    ],
)
def test_freshness_by_its_own_rhythm(
    settings: Settings, clock: FakeClock, gaps: list[float], age: float, word: str
) -> None:
    with serving(settings, clock) as monitor:
        moments = [sum(gaps[:n]) * HOUR for n in range(len(gaps) + 1)]
        clock.forward(moments[-1])
        monitor.post([updated(n, at) for n, at in enumerate(moments)])
        clock.forward(age * HOUR)
        for page in (page_of(monitor.client), monitor.client.get("/assets")):
            assert word in page.text
        assert "1 d" in page_of(monitor.client).text  # the median


def test_freshness_by_a_watch(settings: Settings, clock: FakeClock) -> None:
    rules = "watches:\n  - {name: new models, watch: stale, asset: 's3://lake/*', after: 2h}\n"
    (settings.home / "windsock.yaml").write_text(rules)
    with serving(settings, clock) as monitor:
        monitor.post([updated(1)])
        clock.forward(HOUR)
        assert "By the watch new models it may be 2 h old" in page_of(monitor.client).text
        clock.forward(2 * HOUR)
        shown = page_of(monitor.client).text
        assert "stale" in shown
        monitor.post([asset_event(7, "other://x")])
        assert "no stale watch" in page_of(monitor.client, "other://x").text


def test_readers_see_the_updates_by_their_dags_alone(settings: Settings) -> None:
    airflow = SignInAirflow()
    airflow.add("jane", "j", ["etl", "release"])
    airflow.add("joe", "j", ["reports"])
    airflow.add("monitor", airflow.passwords["monitor"], ["etl", "release", "reports", "secret"])
    with airflow.serving(), serving(with_sign_in(settings, airflow)) as monitor:
        monitor.post([updated(1, created_dagruns=begins("release", "secret"))])
        monitor.post([updated(2, HOUR, source_dag_id="secret", extra={"accuracy": 0.123})])
        with httpx.Client(base_url=monitor.url) as jane, httpx.Client(base_url=monitor.url) as joe:
            try_to_sign_in(jane, "jane", "j")
            try_to_sign_in(joe, "joe", "j")
            (seen,) = api_of(jane)["updates"]
            assert seen["asset_event_id"] == 1
            assert seen["created_runs"] == begins("release")
            shown = page_of(jane)
            assert shown.status_code == 200
            for hidden in ("secret", "0.123", "<dt>Updates</dt>"):
                assert hidden not in shown.text
            assert api_of(joe)["updates"] == []
            assert page_of(joe).status_code == 404


def test_airflow_says_who_makes_it_and_who_waits_for_it(settings: Settings, clock: FakeClock) -> None:
    fake = FakeAirflow(clock)
    fake.asset_rows = [
        {"id": 6, "uri": URI + "x", "name": "x"},
        {
            "id": 7,
            "uri": URI,
            "name": "f",
            "scheduled_dags": [{"dag_id": "weekly_report"}],
            "producing_tasks": [{"dag_id": "backfiller", "task_id": "write"}],
            "consuming_tasks": [{"dag_id": "audit", "task_id": "look"}],
        },
    ]
    with airflow_serving(fake):
        asked = {
            "airflow_url": fake.url,
            "airflow_username": USERNAME,
            "airflow_password": SecretStr(PASSWORD),
        }
        with serving(settings.model_copy(update=asked), clock) as monitor:
            monitor.post([updated(1, created_dagruns=begins("release"))])
            shown = page_of(monitor.client).text
            for told in ("weekly_report", "backfiller", "audit › look", "release", "not named in Airflow"):
                assert told in shown
            before = len(fake.requests("uri_pattern"))
            page_of(monitor.client)
            assert len(fake.requests("uri_pattern")) == before, "it is remembered"
            fake.asset_rows = []
            clock.forward(KEPT.total_seconds())
            assert "no DAG in Airflow names this asset" in page_of(monitor.client).text


def test_an_airflow_that_is_away_costs_no_page(settings: Settings, clock: FakeClock) -> None:
    airflow = SignInAirflow(away=True)
    with airflow.serving():
        asked = {"airflow_url": airflow.url, "airflow_username": "x", "airflow_password": SecretStr("x")}
        with serving(settings.model_copy(update=asked), clock) as monitor:
            monitor.post([updated(1)])
            assert "From the updates alone: Airflow does not say" in page_of(monitor.client).text
            before = airflow.logins
            clock.forward(FAILED_KEPT.total_seconds() - 1)
            page_of(monitor.client)
            assert airflow.logins == before


def test_an_asset_that_was_never_updated(settings: Settings, clock: FakeClock) -> None:
    made = asset_event(1, URI)
    made |= {"type": "airflow.asset.created", "id": "asset:1:created"}
    made["data"] = {"asset": made["data"]["asset"], "reported_by": "listener"}
    with serving(settings, clock) as monitor:
        monitor.post([made])
        clock.forward(timedelta(days=3).total_seconds())
        shown = page_of(monitor.client)
        assert shown.status_code == 200
        assert "never updated" in shown.text
        assert "It has not been updated yet" in shown.text


def test_one_readers_assets_leave_room_for_others(clock: FakeClock) -> None:
    with airflow_serving(FakeAirflow(clock)) as airflow:
        release = threading.Event()

        def hold(_request: Request) -> None:
            release.wait(DEADLINE)

        airflow.before_answer = hold

        async def look() -> list[AssetLineage]:
            api = AirflowApi("local", airflow.url, USERNAME, PASSWORD, DEADLINE, clock)
            lineage = Lineage({"local": api}, clock)
            try:
                of_alice = [
                    lineage.get("alice", AssetName("local", f"s3://{n}")) for n in range(3 * MAX_ASKING)
                ]
                shown = await asyncio.gather(*of_alice)
                asking = asyncio.create_task(lineage.get("bob", AssetName("local", "s3://bob")))
                release.set()
                return [*shown, await asking]
            finally:
                await api.close()

        *of_alice, of_bob = asyncio.run(look())
    assert set(of_alice) == {UNDER_WAY}
    assert of_bob == NOT_NAMED
    assert sum("uri_pattern" in path for path in airflow.asked) == MAX_ASKING_OF_ONE + 1


def test_a_glob_holds_no_nul(monitor: Served) -> None:
    wanted = {"match": {"deployment": "local", "dag_id": "a\0b"}, "reason": "r", "duration": "1h"}
    answer = monitor.client.post("/api/v1/silences", json=wanted)
    assert answer.status_code == 422
    assert "holds a NUL character" in answer.text
