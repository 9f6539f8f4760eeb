"""Each answer to GET has a bound in bytes, whatever was reported, and its next pages have the rest."""

import json
import re
from collections.abc import Callable, Iterator
from html import escape, unescape
from typing import Any
from urllib.parse import quote, urlencode

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection, insert, update

from monitor.database import schema
from monitor.database.statements import MAX_PAGE_BYTES, fit, size_of, take
from monitor.events.data import MAX_KEY, MAX_LABEL, MAX_MESSAGE, MAX_NAME, MAX_TRACE, MAX_URI
from monitor.events.reports import MAX_EVENT
from monitor.settings_loading import load_settings
from monitor.web.pages.dashboard import SHOWN_ATTENTION
from monitor.web.query_params import MAX_PAGE
from tests.sample import START, asset_event, run_event, task_event
from tests.unit.conftest import LONG_AFTER, make_secret
from tests.unit.surfaces import surfaces
from tests.unit.web_support import Served, serving

MOST = 2 * MAX_PAGE_BYTES
"""Bytes of any answer: a page's rows, written in markup or with one row that is a page of its own."""
SIGN = "\N{LATIN SMALL LETTER E WITH ACUTE}"  # two bytes in JSON, six in an address
QUOTE = '"'  # two bytes in JSON, five in HTML
MANY = 150  # rows of each list: more than a page holds of the longest
TASKS = 120
LONG = 12  # rows whose texts are as long as an event lets them be
STREAMS = ("GET /events",)  # bounded by what their readers take: test_feed.py


def name(number: int, most: int = MAX_KEY) -> str:
    return f"{number:04}{SIGN * (most - 4)}"


RUN = {"deployment": "local", "dag_id": name(1), "run_id": name(0)}
URI = name(0, 1_000)  # an address has 8 KiB
WORDS = QUOTE * 2_000


def fill(connection: Connection) -> None:
    """Write rows of which each text is as long as it may be, and takes as many bytes as one can."""

    def put(table: Any, rows: list[dict[str, Any]]) -> None:
        for start in range(0, len(rows), 200):
            connection.execute(insert(table), rows[start : start + 200])

    put(schema.events, [_event_row(seq, body) for seq, body in enumerate(_bodies(), start=1)])
    connection.execute(update(schema.log_state).values(last_seq=5_000))
    ends = {"queued_at": START, "start_date": START, "end_date": START}
    run = {"run_key": "k", "state": "failed", "run_type": "manual", "message": QUOTE * MAX_MESSAGE, **ends}
    runs = [{**RUN, **run, "run_id": name(number), "last_seq": number + 1} for number in range(MANY)]
    put(schema.dag_runs, runs)
    put(schema.task_instances, [_task_row(number) for number in range(TASKS)])
    put(
        schema.task_instances,
        [
            {**_task_row(number), "run_id": name(of), "error": None}
            for of in range(1, MANY)
            for number in range(3)
        ],
    )
    put(schema.assets, [_asset_row(number) for number in range(MANY)])
    put(schema.incidents, [_incident_row(number) for number in range(1, 2 * MANY + 1)])
    put(schema.dags, [_dag_row()])
    put(schema.notifications, [_notification_row()])
    put(schema.deliveries, [_delivery_row(number) for number in range(1, MANY + 1)])
    put(
        schema.delivery_attempts, [{"delivery_id": 1, "at": START, "outcome": "sent", "answer": WORDS}] * MANY
    )
    put(schema.decisions, [_decision_row(number % LONG + 1) for number in range(2 * MANY)])
    put(schema.silences, [_silence_row(number) for number in range(MANY)])
    put(schema.tokens, [_token_row(number) for number in range(MANY)])


def _bodies() -> Iterator[dict[str, Any]]:
    names = {"dag_id": RUN["dag_id"], "run_id": RUN["run_id"]}
    text = QUOTE * (MAX_EVENT // 2 - 8_000)
    error = {
        "type": text[: len(text) // 3],
        "message": text[: len(text) // 3],
        "traceback": text[: len(text) // 3],
    }
    for number in range(LONG):
        yield run_event("failed", **names, start=number, message=text)
        yield task_event("up_for_retry", task_id=name(number), **names, map_index=number, error=error)
        extra = {"text": text[: len(text) // 2], **{f"{key:04}": QUOTE * 20 for key in range(1_000)}}
        yield asset_event(2 * number, URI, extra=extra)
        began = [{"dag_id": name(one, 40), "run_id": name(one, 40)} for one in range(400)]
        yield asset_event(2 * number + 1, URI, created_dagruns=began, source_dag_id=RUN["dag_id"])
    for number in range(MANY):
        yield task_event("success", task_id=name(number), **names)


def _event_row(seq: int, event: dict[str, Any]) -> dict[str, Any]:
    data = event["data"]
    body = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
    assert len(body.encode()) <= MAX_EVENT
    row = {key: event[key] for key in ("source", "type", "subject")}
    row |= {"seq": seq, "id": event["id"][:190] + str(seq), "time": START, "received_at": START, "body": body}
    row |= {"deployment": "local", "state": data.get("state"), "task_id": data.get("task_id")}
    row |= {key: data.get(key) or data.get(f"source_{key}") for key in ("dag_id", "run_id")}
    return {**row, "asset_uri": data["asset"]["uri"] if "asset" in data else None}


def _task_row(number: int) -> dict[str, Any]:
    error = {"type": name(number), "message": QUOTE * MAX_MESSAGE, "traceback": QUOTE * MAX_TRACE}
    return {
        **RUN,
        "task_id": name(number),
        "map_index": number,
        "ti_id": f"{number:036}",
        "try_number": 3,
        "max_tries": 5,
        "state": ("success", "failed", "skipped")[number % 3],
        "operator": SIGN * MAX_LABEL,
        "hostname": SIGN * MAX_LABEL,
        "start_date": START,
        "end_date": START,
        "error": error if number % 12 == 1 else None,
        "last_seq": 1,
    }


def _asset_row(number: int) -> dict[str, Any]:
    extra = {"text": QUOTE * (MAX_EVENT // 2 - 8_000)} if number < LONG else {name(1): 1.5}
    source = {f"source_{key}": RUN[key] for key in ("dag_id", "run_id")}
    return {
        "deployment": "local",
        "uri": URI if number == 0 else name(number, MAX_URI),
        "name": SIGN * MAX_NAME,
        "group": SIGN * MAX_LABEL,
        "updates": 1,
        "updated_at": START,
        "extra": extra,
        **source,
        "source_task_id": name(1),
        "last_seq": number + 1,
    }


def _incident_row(number: int) -> dict[str, Any]:
    closed = {"closed_at": START, "closed_seq": 2, "closed_because": SIGN * MAX_NAME, "closed_by": SIGN * 100}
    is_open = number <= MANY
    is_unattended = is_open and number % LONG == 0
    acked = {"acked_at": START, "acked_by": SIGN * 100, "ack_reason": QUOTE * 500}
    return {
        "deployment": "local",
        "key": f"dag:{RUN['dag_id']}" if number == 2 * MANY else f"{number}",
        "dag_id": RUN["dag_id"],
        "title": f"{SIGN * MAX_NAME} cannot be imported",
        "state": "open" if is_open else "closed",
        "failures": MANY,
        "opened_at": START,
        "opened_seq": 1,
        "last_at": START,
        "last_seq": 1 if is_unattended else 3,
        "flapping": False,
        **(dict.fromkeys(acked) if is_unattended else acked),
        **(dict.fromkeys(closed) if is_open else closed),
    }


def _dag_row() -> dict[str, Any]:
    names = [name(number) for number in range(LONG)]
    paused = {"is_paused": False, "times_paused": 0, "times_unpaused": 0}
    return {"deployment": "local", "dag_id": RUN["dag_id"], **paused, "tags": names, "owners": names}


def _notification_row() -> dict[str, Any]:
    moments = dict.fromkeys(("created_at", "due_at", "sealed_at"), START)
    names = {"rule": SIGN * 200, "template": "run_failed", "group_key": "k", "deployment": "local"}
    return {**names, **moments, "kind": "opened", "incident_id": 1}


def _delivery_row(number: int) -> dict[str, Any]:
    recipient = f"{number}{QUOTE * 300}"
    moments = dict.fromkeys(("created_at", "next_attempt_at", "settled_at"), START)
    return {
        **RUN,
        **moments,
        "notification_id": 1,
        "channel": "email",
        "recipient": recipient,
        "kind": "opened",
        "incident_id": 1,
        "event_seq": 1,
        "event_id": SIGN * 200,
        "rule": SIGN * 200,
        "template": SIGN * 100,
        "recipients": [recipient],
        "state": "dead",
        "reason": WORDS,
        "subject": SIGN * 250,
        "message_id": SIGN * 250,
        "attempts": MANY,
    }


def _decision_row(seq: int) -> dict[str, Any]:
    ids = {"incident_id": 1, "silence_id": 1, "notification_id": 1}
    names = {"event_id": "e", "deployment": "local", "dag_id": RUN["dag_id"], "rule": SIGN * 200}
    return {"event_seq": seq, **names, **ids, "outcome": "notified", "reason": WORDS, "created_at": START}


def _silence_row(number: int) -> dict[str, Any]:
    one_of = {"deployment": ["local"], "dag_id": [f"{each}{QUOTE * 1_400}" for each in range(20)]}
    ends = START.replace(year=2090) if number % 2 else START
    return {
        "match": {"any_of": [one_of] * 2} if number < LONG else one_of | {"dag_id": ["etl"]},
        "author": SIGN * 100,
        "reason": QUOTE * 500,
        "created_at": START,
        "starts_at": START,
        "ends_at": ends,
        "ended_by": SIGN * 100,
    }


def _token_row(number: int) -> dict[str, Any]:
    return {
        "hash": f"{number:064}",
        "prefix": "wst_1234567",
        "name": SIGN * 100,
        "scopes": ["read"],
        "created_by": SIGN * 250,
        "authenticated_by": [f"{each:0100}" for each in range(20)],
        "dags": None,
        "deployments": None,
        "created_at": START,
        "expires_at": START.replace(year=2090),
    }


@pytest.fixture(scope="module")
def monitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A monitor whose database holds the worst. No test here changes it."""
    settings = load_settings(
        env_file=None,
        home=tmp_path_factory.mktemp("worst"),
        port=0,
        auth="none",
        ingest_secret=(SecretStr(make_secret()),),
        notify_max_age_hours=LONG_AFTER,
    )
    with serving(settings, lambda: START) as monitor:  # whose failures are of the last 24 hours, then
        monitor.app.state.services.database.write_now(fill)
        monitor.client.timeout = 60
        yield monitor


VALUES: dict[str, object] = {
    **RUN,
    "uri": URI,
    "task_id": name(0),
    "map_index": 0,
    "event_id": "asset_event:03",
    "delivery_id": 1,
    "incident_id": 1,
    "silence_id": 1,
    "token_id": 1,
    "name": "run_failed",
    "letter_id": "none",
    "token": "none",
}
NOTHING_THERE = {"/mail/{letter_id}", "/mail/{letter_id}/html"}
"""Of a mailbox that has no letter."""


def ask(monitor: Served, path: str) -> httpx.Response:
    """Ask, and hold the answer to the bound."""
    answer = monitor.client.get(path)
    assert len(answer.content) <= MOST, f"{path[:100]}: {len(answer.content):,} bytes"
    return answer


def test_every_answer_has_a_bound(monitor: Served) -> None:
    asked = [one for one in surfaces(monitor.app) if not one.is_effect and one.name not in STREAMS]
    assert len(asked) > 40
    for surface in asked:
        answer = ask(monitor, surface.at(VALUES, f"limit={MAX_PAGE}"))
        if answer.status_code == 422:  # it has no pages
            answer = ask(monitor, surface.at(VALUES))
        known = surface.path in NOTHING_THERE or surface.path.startswith("/links/")
        assert known or answer.status_code in (200, 303, 503), f"{surface.name}: {answer.text[:500]}"


OF_ASSET = urlencode({"deployment": "local", "uri": URI})
OF_RUN = f"{quote(RUN['dag_id'])}/{quote(RUN['run_id'])}"
EVENTS = 4 * LONG + MANY
LISTS: dict[str, tuple[str, str, Callable[[Any], Any], int]] = {
    "runs": ("/api/v1/runs", "cursor next", lambda row: row["run_id"], MANY),
    "tasks": (f"/api/v1/runs/{OF_RUN}", "cursor next", lambda row: row["task_id"], TASKS),
    "assets": ("/api/v1/assets", "cursor next", lambda row: row["uri"], MANY),
    "updates": (f"/api/v1/assets/updates?{OF_ASSET}", "cursor next", lambda row: row["seq"], 2 * LONG),
    "events": ("/api/v1/events", "cursor next", lambda row: row["seq"], EVENTS),
    "deliveries": ("/api/v1/deliveries", "cursor next", lambda row: row["id"], MANY),
    "incidents": ("/api/v1/incidents", "cursor next", lambda row: row["id"], 2 * MANY),
    "silences": ("/api/v1/silences", "cursor next", lambda row: row["id"], MANY),
    "tokens": ("/api/v1/tokens", "cursor next", lambda row: row["id"], MANY),
    "ledger": ("/api/v1/deliveries/1", "attempts_cursor next_attempts", lambda _row: None, MANY),
    "decisions": ("/api/v1/deliveries/1", "cursor next", lambda _row: None, 2 * MANY),
    "decisions of incident": ("/api/v1/incidents/1", "cursor next", lambda _row: None, 2 * MANY),
}


@pytest.mark.parametrize("listed", LISTS)
def test_the_pages_of_an_api_list_have_each_row_once(monitor: Served, listed: str) -> None:
    path, names, key, number = LISTS[listed]
    asked, following = names.split()
    found: list[Any] = []
    mark = "&" if "?" in path else "?"
    limit = "" if names != "cursor next" or "decisions" in listed else f"limit={MAX_PAGE}&"
    cursor = ""
    while True:
        answer = ask(monitor, f"{path}{mark}{limit}{cursor}").json()
        rows = answer[listed.partition(" ")[0]]
        assert rows
        found += rows
        if answer[following] is None:
            break
        cursor = urlencode({asked: answer[following]})
    assert len(found) == number
    keys = [key(row) for row in found]
    assert keys.count(None) == number or len(set(keys)) == number


KEY = r'[^>]* data-key="([^"]*)"'
NEXT = r'<a href="([^"]*)" rel="next"'
MORE_TASKS = r'<a href="([^"]*)" rel="next" data-key="more"'
PAGES: dict[str, tuple[str, str, str, int]] = {
    "runs": (f"/runs?limit={MAX_PAGE}", f'<li class="row run"{KEY}', NEXT, MANY),
    "tasks": (f"/runs/local/{OF_RUN}", r'class="line" data-key="([^"]*/\d+)"', MORE_TASKS, TASKS),
    "assets": (f"/assets?limit={MAX_PAGE}", f'<li class="row asset"{KEY}', NEXT, MANY),
    "updates": (f"/assets/local?limit={MAX_PAGE}&uri={quote(URI)}", r'<tr data-key="(\d+)"', NEXT, 2 * LONG),
    "events": (f"/events/list?limit={MAX_PAGE}", f'<li class="row event"{KEY}', NEXT, EVENTS),
    "deliveries": (
        f"/mail?limit={MAX_PAGE}",
        f'<li class="row mail"{KEY}',
        r'href="([^"]*)">Older del',
        MANY,
    ),
    "closed": (
        f"/incidents?limit={MAX_PAGE}",
        r'data-key="(\d+)".{0,400}dash',
        r'href="([^"]*)">Older incidents',
        MANY,
    ),
    "open": ("/incidents", r'data-key="(\d+)".{0,400}(?:check|alert)', r'href="([^"]*)">Older open', MANY),
    "silences": (
        f"/silences?limit={MAX_PAGE}",
        f'<li class="row silence"{KEY}',
        r'href="([^"]*)">Older sil',
        MANY,
    ),
    "tokens": (f"/tokens?limit={MAX_PAGE}", r'/tokens/(\d+)/revoke"', r'href="([^"]*)">Older tok', MANY),
    "decisions": ("/deliveries/1", r'data-key="\d+ (.)', r'href="([^"]*)" rel="next">Older events', 2 * MANY),
    "attempts": ("/deliveries/1", r'<li class="row" data-key="\d+"()>', r'rel="next">Older att', MANY),
    "thread": ("/incidents/1", r'"detail decision"()', r'href="([^"]*)" rel="next">Older events', 2 * MANY),
}
REPEATED = ("decisions", "attempts", "thread")
"""Rows that have no key of their own."""


@pytest.mark.parametrize("shown", PAGES)
def test_the_pages_that_people_read_have_each_row_once(monitor: Served, shown: str) -> None:
    path, row, link, number = PAGES[shown]
    found: list[str] = []
    while True:
        page = ask(monitor, path).text
        keys = re.findall(row, page, re.DOTALL)
        assert keys, path
        found += keys
        following = re.search(link if "href" in link else f'href="([^"]*)" {link}', page)
        if following is None:
            break
        path = unescape(following[1])
    assert len(found) == number
    assert shown in REPEATED or len(set(found)) == number


def test_now_shows_the_longest_of_each_kind(monitor: Served) -> None:
    page = ask(monitor, "/").text
    assert page.count(">Acknowledge<") == SHOWN_ATTENTION
    for shown in ("owner ", "Closed", "in task", "Latest run"):
        assert shown in page


@pytest.mark.parametrize(
    "value", ["a\tb", QUOTE * 9, SIGN, {"a": [1, None, "<"]}, (True, 2**90), {"at": START}]
)
def test_a_size_is_at_least_what_json_and_html_take(value: Any) -> None:
    text = json.dumps(value, ensure_ascii=False, default=str)
    assert size_of(value) >= len(text.encode())
    assert not isinstance(value, str) or size_of(value) >= len(escape(value).encode())


def test_a_page_ends_by_rows_or_by_bytes_and_says_whether_there_is_more() -> None:
    rows = ["x" * 100] * 5
    assert fit(rows, 5) == (rows, False)
    assert fit(rows, 4) == (rows[:4], True)
    assert fit(rows, 5, 250) == (rows[:2], True)
    assert fit(rows, 5, 10) == (rows[:1], True)
    assert fit(rows[:1], 5, 10) == (rows[:1], False)
    assert fit([], 5) == ([], False)


def test_no_more_is_read_than_a_page_needs() -> None:
    rows = iter(["x" * 100] * 100)
    taken = take(rows, 250)
    assert fit(taken, 50, 250) == (taken[:2], True)
    assert len(list(rows)) == 97
