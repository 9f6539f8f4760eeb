"""Pages of lists, ETags and HEAD: what programs that ask again and again rely on."""

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from monitor.settings import Settings
from monitor.web.responses import MAX_LINK
from tests import wait
from tests.sample import asset_event, run_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

ROWS = 7
POLLED = (
    "/api",
    "/api/v1/events",
    "/api/v1/runs",
    "/api/v1/runs/dag_1/manual__1",
    "/api/v1/assets",
    "/api/v1/incidents",
    "/api/v1/incidents/1",
    "/api/v1/silences",
    "/api/v1/silences/1",
    "/api/v1/deliveries",
    "/api/v1/deliveries/1",
)


def stored(request: pytest.FixtureRequest, settings: Settings, kind: str) -> Settings:
    if kind == "sqlite":
        return settings
    return settings.model_copy(update={"database_url": request.getfixturevalue("postgres_url")})


@pytest.fixture(params=["sqlite", "postgresql"])
def monitor(request: pytest.FixtureRequest, settings: Settings, clock: FakeClock) -> Iterator[Served]:
    with serving(stored(request, settings, request.param), clock) as monitor:
        for number in range(1, ROWS + 1):
            add(monitor, number)
        yield monitor


def add(monitor: Served, number: int) -> None:
    """One more row of everything."""
    dag = f"dag_{number}"
    monitor.post([run_event("failed", dag), asset_event(number, f"file:///{number}")])
    silence = {"match": {"deployment": "local", "dag_id": dag}, "reason": "works", "duration": "1d"}
    assert monitor.client.post("/api/v1/silences", json=silence).status_code == 201


def get(monitor: Served, path: str) -> Any:
    answer = monitor.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.json()


LISTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "events": lambda row: row["seq"],
    "runs": lambda row: row["dag_id"],
    "assets": lambda row: row["uri"],
    "incidents": lambda row: row["id"],
    "silences": lambda row: row["id"],
    "deliveries": lambda row: row["id"],
}


@pytest.mark.parametrize("name", LISTS)
def test_a_walk_meets_each_row_once_while_others_are_added(monitor: Served, name: str) -> None:
    there = [LISTS[name](row) for row in get(monitor, f"/api/v1/{name}?limit=500")[name]]
    assert len(there) >= ROWS
    met, number = [], 100
    address: httpx.URL | None = httpx.URL(f"{monitor.url}/api/v1/{name}?limit=3")
    while address is not None:
        answer = monitor.client.get(address)
        page = answer.json()
        assert len(page[name]) == 3 or page["next"] is None
        assert 0 < len(page[name]) <= 3  # no empty page at the end
        met += [LISTS[name](row) for row in page[name]]
        link = answer.links.get("next")
        assert (link is None) == (page["next"] is None)
        address = address.join(link["url"]) if link else None
        assert address is None or address.params["cursor"] == str(page["next"])
        add(monitor, number := number + 1)
    assert met == there


def test_a_page_that_is_full_and_the_last_says_so(monitor: Served) -> None:
    page = get(monitor, f"/api/v1/runs?limit={ROWS}")
    assert (len(page["runs"]), page["next"]) == (ROWS, None)


def test_the_link_keeps_what_was_asked_for_unless_it_is_too_long(monitor: Served) -> None:
    answer = monitor.client.get("/api/v1/events?dag_id=dag_*&dag_id=ü&limit=1&cursor=9")
    assert (
        answer.links["next"]["url"] == f"?dag_id=dag_%2A&dag_id=%C3%BC&limit=1&cursor={answer.json()['next']}"
    )
    answer = monitor.client.get(f"/api/v1/events?dag_id=dag_*&dag_id={'x' * 1_000}&type=*{'*' * 999}&limit=1")
    assert answer.json()["next"]
    assert len(answer.headers.get("link", "")) <= MAX_LINK
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("dag_1", ["dag_1"]),
        ("dag_?", [f"dag_{number}" for number in range(ROWS, 0, -1)]),
        ("1%*", ["1%off"]),
        ("a\\*", ["a\\b"]),
        ("[a*", ["[a]"]),
        ("*" * 1_400 + "x", ["dagx"]),  # takes a regular expression minutes
    ],
)
def test_globs_mean_the_same_on_every_database(monitor: Served, glob: str, found: list[str]) -> None:
    monitor.post([run_event("success", dag) for dag in ("dagx", "1%off", "100", "a\\b", "[a]")])
    asked = {"dag_id": glob, "type": "airflow.dag_run.*"}
    rows = monitor.client.get("/api/v1/events", params=asked).json()["events"]
    assert [row["event"]["data"]["dag_id"] for row in rows] == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("incidents?state=closed", 1),
        ("incidents?dag_id=dag_2", 1),
        ("incidents?deployment=other", 0),
        ("incidents?acknowledged=true", 1),
        ("incidents?acknowledged=false", ROWS - 1),
        ("incidents?since=2026-11-22T10:00:10Z", ROWS),
        ("incidents?until=2026-11-22T10:00:10Z", 0),
        ("silences?dag_id=dag_3&deployment=local", 1),
        ("silences?active=true", ROWS),
        ("silences?deployment=other", 0),
        ("deliveries?dag_id=dag_1&run_id=manual__1&deployment=local", None),
        ("deliveries?run_id=other", 0),
    ],
)
def test_lists_are_narrowed(monitor: Served, asked: str, found: int | None) -> None:
    monitor.client.post("/api/v1/incidents/3/acknowledgement", json={"reason": "a ticket is open"})
    monitor.post([run_event("success", "dag_1", run_id="manual__2", start=100)])
    name = asked.partition("?")[0]
    rows = get(monitor, f"/api/v1/{asked}")[name]
    assert rows if found is None else len(rows) == found


def settled(monitor: Served) -> bool:
    rows = get(monitor, "/api/v1/deliveries?limit=500")["deliveries"]
    return bool(rows) and not any(row["state"] in ("pending", "sending") for row in rows)


def test_what_has_not_changed_is_not_sent_again(monitor: Served) -> None:
    wait.until(lambda: settled(monitor), "the mails to be sent")
    for path in POLLED:
        first = monitor.client.get(path)
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["vary"] == "Authorization, Cookie"
        tag = first.headers["etag"]
        for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
            again = monitor.client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b""), path
            assert again.headers["etag"] == tag
            assert "content-type" not in again.headers
        other = monitor.client.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.json()) == (200, first.json())


def test_what_has_changed_is_sent_whatever_changed_it(monitor: Served, clock: FakeClock) -> None:
    wait.until(lambda: settled(monitor), "the mails to be sent")

    def tags() -> dict[str, str]:
        return {path: monitor.client.get(path).headers["etag"] for path in POLLED}

    def changed(before: dict[str, str]) -> set[str]:
        answers = {p: monitor.client.get(p, headers={"If-None-Match": tag}) for p, tag in before.items()}
        assert {answer.status_code for answer in answers.values()} <= {200, 304}
        return {
            path.removeprefix("/api/v1/") for path, answer in answers.items() if answer.status_code == 200
        }

    before = tags()
    monitor.client.post("/api/v1/incidents/1/acknowledgement", json={"reason": "a ticket is open"})
    assert changed(before) == {"incidents", "incidents/1"}
    before = tags()
    monitor.client.delete("/api/v1/silences/1")
    assert changed(before) == {"silences", "silences/1"}
    before = tags()
    clock.forward(2 * 86_400)  # by the clock alone: the silences are over
    assert {"silences"} <= changed(before)
    before = tags()
    monitor.post([asset_event(99, "file:///99")])
    assert {"assets", "events"} <= changed(before)


def test_a_tag_of_one_reader_is_none_of_anothers(settings: Settings) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "secret", ["dag_1"])
        airflow.add("bob", "secret", ["dag_2"])
        with serving(with_sign_in(settings, airflow)) as monitor:
            monitor.post([run_event("failed", "dag_1"), run_event("failed", "dag_2")])
            alice, bob = ({"Authorization": f"Bearer {airflow.token(name)}"} for name in ("alice", "bob"))
            tag = monitor.client.get("/api/v1/runs", headers=alice).headers["etag"]
            answer = monitor.client.get("/api/v1/runs", headers={**bob, "If-None-Match": tag})
            assert [run["dag_id"] for run in answer.json()["runs"]] == ["dag_2"]
            stranger = monitor.client.get("/api/v1/runs", headers={"If-None-Match": tag})
            assert stranger.status_code == 401
            odd = {b"Authorization": "Bearer tökén".encode()}
            assert monitor.client.get("/api/v1/runs", headers=odd).status_code == 401


@pytest.mark.parametrize(
    "path", [*POLLED, "/", "/health", "/livez", "/metrics", "/static/live.js", "/events"]
)
def test_head_is_get_without_a_body(settings: Settings, clock: FakeClock, path: str) -> None:
    with serving(settings, clock) as monitor:
        add(monitor, 1)
        wait.until(lambda: settled(monitor), "the mail to be sent")
        answer = monitor.client.head(path)
        assert (answer.status_code, answer.content) == (200, b"")
        if path == "/events":
            assert answer.headers["content-type"].startswith("text/event-stream")
            gauge = "windsock_feed_subscribers 0.0"
            wait.until(lambda: gauge in monitor.client.get("/metrics").text, "the feed to be closed")
            return
        whole = monitor.client.get(path)
        assert answer.headers.get("etag") == whole.headers.get("etag")
        assert answer.headers["content-type"] == whole.headers["content-type"]


@pytest.mark.parametrize("path", ["/health", "/livez", "/readyz"])
def test_how_the_monitor_is_is_never_kept(settings: Settings, path: str) -> None:
    with serving(settings) as monitor:
        answer = monitor.client.get(path, headers={"If-None-Match": "*"})
        assert answer.status_code == 200
        assert "etag" not in answer.headers
