"""What a run's page asks Airflow: logs and details, masked, its silence told, the reader's rights kept;
and the timeline's arithmetic."""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from html import unescape
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse

from monitor.airflow.client import AirflowApi
from monitor.concurrency import end
from monitor.event_log.projections.runs import RunName
from monitor.settings import Settings
from monitor.web import airflow_lookups
from monitor.web.airflow_lookups import LINES, OPEN_AT_ONCE, OPEN_OF_ONE, AskedAirflow
from monitor.web.pages.run_timeline import MAX_LINES, chart_of, fold
from tests import wait
from tests.sample import START, run_event, task_event
from tests.unit.airflow_api_fake import PASSWORD, USERNAME, FakeAirflow, run_row
from tests.unit.airflow_api_fake import serving as serving_airflow
from tests.unit.conftest import FakeClock
from tests.unit.web_support import Served, SignInAirflow, serving, try_to_sign_in, with_sign_in
from tests.wait import DEADLINE

LOG = "/logs/local/etl/manual__1?task_id=load"
NO_TASK = "TaskInstance with dag_id: `etl`, run_id: `manual__1` and task_id: `load` was not found"
DETAILS = "/details/local/etl/manual__1"


@pytest.fixture
def airflow(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving_airflow(FakeAirflow(clock)) as fake:
        yield fake


@pytest.fixture
def monitor(settings: Settings, airflow: FakeAirflow) -> Iterator[Served]:
    known = {"airflow_url": airflow.url, "airflow_username": USERNAME}
    with serving(settings.model_copy(update={**known, "airflow_password": SecretStr(PASSWORD)})) as monitor:
        monitor.client.headers["Accept"] = "text/html"
        monitor.post([run_event("failed"), task_event("failed")])
        yield monitor


def test_the_end_of_a_log_is_shown_without_what_is_secret(monitor: Served, airflow: FakeAirflow) -> None:
    lines = [{"event": f"line {number}", "level": "info"} for number in range(LINES + 50)]
    told = "connects to postgres://bob:hunter2@db/x with password=hunter2 <script>x</script>"
    airflow.log = "\n".join(json.dumps(line) for line in [*lines, {"event": told, "level": "error"}])
    answer = monitor.client.get(f"{LOG}&try_number=2")
    assert answer.status_code == 200
    assert "hunter2" not in answer.text
    assert "postgres://***@db/x with password=*** &lt;script&gt;" in answer.text
    assert f"The last {LINES} lines" in answer.text
    assert "line 51\n" in answer.text
    assert "line 49\n" not in answer.text
    (asked,) = airflow.requests("/logs/")
    assert asked.startswith("/api/v2/dags/etl/dagRuns/manual__1/taskInstances/load/logs/2?")


@pytest.mark.parametrize(
    "task_id",
    ["../../../../payroll/dagRuns/manual__1/taskInstances/load", "..", ".", "load/../x", "a\\b", "none"],
)
def test_the_log_of_another_thing_is_asked_for_by_nobody(
    monitor: Served, airflow: FakeAirflow, task_id: str
) -> None:
    """Airflow is asked with the monitor's own rights, and a proxy before it may resolve `..` in a path."""
    before = len(airflow.asked)
    answer = monitor.client.get("/logs/local/etl/manual__1", params={"task_id": task_id, "try_number": 1})
    assert answer.status_code == 404
    assert [path for path in airflow.asked[before:] if "/logs/" in path] == []


class HeldQuestions:
    """Questions for logs that Airflow has got, and answers after `release`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._released = threading.Event()
        self.release = self._released.set

    def hold(self, request: Request) -> None:
        if "/logs/" in request.url.path:
            self.asked.append(request.url.path)
            self._released.wait(DEADLINE)


@contextmanager
def held_questions(airflow: FakeAirflow) -> Iterator[HeldQuestions]:
    """Airflow answers no question for a log in the block."""
    held = HeldQuestions()
    airflow.before_answer = held.hold
    try:
        yield held
    finally:
        held.release()


def test_questions_are_asked_so_many_at_once(monitor: Served, airflow: FakeAirflow) -> None:
    """One more of the same reader waits until another has its answer."""
    with ThreadPoolExecutor(OPEN_OF_ONE + 2) as readers:
        with held_questions(airflow) as held:
            answers = [readers.submit(_log, monitor.url) for _ in range(OPEN_OF_ONE + 2)]
            wait.until(lambda: len(held.asked) >= OPEN_OF_ONE, "the questions to be asked")
            assert monitor.client.get("/livez").status_code == 200
            assert len(held.asked) == OPEN_OF_ONE
        assert {answer.result() for answer in answers} == {200}
    assert len(held.asked) == OPEN_OF_ONE + 2


def test_the_wait_for_a_question_ends_too(
    monitor: Served, airflow: FakeAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_lookups, "ASK_SECONDS", 1.0)
    with ThreadPoolExecutor(OPEN_OF_ONE) as readers, held_questions(airflow) as held:
        answers = [readers.submit(_log, monitor.url) for _ in range(OPEN_OF_ONE)]
        wait.until(lambda: len(held.asked) == OPEN_OF_ONE, "the questions to be asked")
        assert "Airflow did not answer within 1 s" in monitor.client.get(LOG).text
        assert {answer.result() for answer in answers} == {200}


def test_one_readers_questions_leave_room_for_others(airflow: FakeAirflow, clock: FakeClock) -> None:
    """Those of a reader who has gone are asked no more."""
    run = RunName("local", "etl", "manual__1")

    async def ask(asked: list[str], release: Callable[[], None]) -> None:
        api = AirflowApi("local", airflow.url, USERNAME, PASSWORD, 10, clock)
        try:
            lookups = AskedAirflow({"local": api})
            of_alice = [
                asyncio.create_task(lookups.log_end("alice", run, "load", -1, 2))
                for _ in range(3 * OPEN_AT_ONCE)
            ]
            await until(lambda: len(asked) == OPEN_OF_ONE, "Alice's questions")
            of_bob = asyncio.create_task(lookups.log_end("bob", run, "load", -1, 2))
            await until(lambda: len(asked) == OPEN_OF_ONE + 1, "Bob's question")
            await end(of_alice)
            release()
            assert await of_bob == []
        finally:
            await api.close()
        assert len(asked) == OPEN_OF_ONE + 1

    with held_questions(airflow) as held:
        asyncio.run(ask(held.asked, held.release))


async def until(condition: Callable[[], bool], what: str) -> None:
    await asyncio.to_thread(wait.until, condition, what)


def _log(url: str) -> int:
    return httpx.get(f"{url}{LOG}&try_number=2", timeout=DEADLINE).status_code


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (JSONResponse({"detail": NO_TASK}, 404), "Airflow has no log of try 1 of &#39;load&#39;"),
        (JSONResponse({"detail": "no"}, 403), "does not let the monitor&#39;s own user read this"),
        (JSONResponse({"detail": "no"}, 503), "cannot be asked at the moment"),
    ],
)
def test_airflows_silence_is_told(
    monitor: Served, airflow: FakeAirflow, answer: JSONResponse, words: str
) -> None:
    airflow.failures.append(("/logs/", answer))
    assert words in monitor.client.get(LOG).text


def test_a_monitor_without_an_airflow_says_so(settings: Settings) -> None:
    with serving(settings) as monitor:
        monitor.post([run_event("failed"), task_event("failed")])
        for path in (LOG, DETAILS):
            assert "set WINDSOCK_AIRFLOW_URL" in monitor.client.get(path).text


def test_what_airflow_knows_is_compared_with_the_last_good_run(monitor: Served, airflow: FakeAirflow) -> None:
    good = run_row("manual__0", START - timedelta(hours=1)) | {
        "conf": {"day": "Monday"},
        "dag_versions": [{"version_number": 3}],
    }
    bad = run_row("manual__1", START + timedelta(seconds=40), "failed") | {
        "conf": {"day": "Tuesday", "api_token": "s3cr3t"},
        "dag_versions": [{"version_number": 4}],
        "note": "looked at by <b>Jane</b>, password=s3cr3t",
        "triggering_user_name": "jane",
    }
    airflow.runs += [good, bad]
    page = monitor.client.get(DETAILS).text
    assert "s3cr3t" not in page
    assert "&lt;b&gt;Jane" in page
    text = re.sub(r"<[^>]+>|\s+", " ", page)
    text = re.sub(r"\s+", " ", text)
    for words in (
        "Started by jane",
        "DAG version 4",
        "conf.day Monday Tuesday",
        "DAG version 3 4",
        "manual__0",
    ):
        assert words in text, words


@pytest.mark.parametrize("path", [f"{LOG}&try_number=-1", "/logs/local/etl/manual__1", f"{LOG}&x=1"])
def test_a_wrong_question_is_refused(monitor: Served, airflow: FakeAirflow, path: str) -> None:
    assert monitor.client.get(path).status_code == 422
    assert airflow.requests("/logs/") == []


def test_airflow_is_not_asked_of_what_the_reader_may_not_read(settings: Settings) -> None:
    with SignInAirflow().serving() as airflow:
        airflow.add("alice", "secret", ["etl"])
        with (
            serving(with_sign_in(settings, airflow)) as monitor,
            httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as alice,
        ):
            monitor.post([run_event("failed"), run_event("failed", "payroll")])
            try_to_sign_in(alice, "alice", "secret")
            assert alice.get(DETAILS).status_code == 200
            for kind in ("details", "logs", "runs"):
                assert alice.get(f"/{kind}/local/payroll/manual__1?task_id=x").status_code == 404
            assert "payroll" not in alice.get("/runs").text
            assert "payroll" not in alice.get("/").text


def run(state: str = "running", **more: Any) -> dict[str, Any]:
    return {"state": state, "queued_at": None, "start_date": START, "end_date": None, **more}


def task(
    begun: float | None, ended: float | None = None, state: str = "success", **more: Any
) -> dict[str, Any]:
    start, end = (START + timedelta(seconds=at) if at is not None else None for at in (begun, ended))
    named = {"task_id": "t", "map_index": -1, "try_number": 1, "start_date": start, "end_date": end}
    return {**named, "state": state, **more}


def test_nothing_is_drawn_of_a_run_that_has_not_begun() -> None:
    assert chart_of(run(start_date=None), [task(None, state="removed")], {}, START) is None


@pytest.mark.parametrize("seconds", [0, 1, 59, 600, 90_000, 10_000_000])
def test_the_axis_holds_what_goes_on_and_has_few_ticks(seconds: int) -> None:
    now = START + timedelta(seconds=seconds)
    chart = chart_of(run(), [task(0, None, "running")], {}, now)
    assert chart is not None
    assert chart.length > seconds
    assert 1 <= len(chart.ticks) <= 8
    assert chart.lines[0].bars[0].end is None
    assert float(chart.percent(seconds)) <= 100


def test_tasks_of_an_earlier_occurrence_do_not_crush_the_axis() -> None:
    old, new = task(-90_000, -89_990), task(5, 15, task_id="again")
    chart = chart_of(run("success", end_date=START + timedelta(seconds=20)), [old, new], {}, START)
    assert chart is not None
    assert chart.length < 30
    assert [len(line.bars) for line in chart.lines] == [0, 1]


def test_the_instances_of_a_mapped_task_are_one_row_with_equal_errors_together() -> None:
    error = {"type": "RuntimeError", "message": "checksum mismatch", "traceback": "Traceback"}
    mapped = [task(number, number + 1, map_index=number, error=None) for number in range(40)]
    for number in range(1, 31):
        mapped[number].update(state="failed", error=error)
    (folded, single) = fold(
        [*mapped, task(0, 50, task_id="extract")],
        {"t": {"failed": 30, "success": 10}, "extract": {"success": 1}},
    )
    assert (folded["task_id"], folded["state"]) == ("t", "failed")
    assert (folded["start_date"], folded["end_date"]) == (START, START + timedelta(seconds=40))
    assert folded["mapped"].text == "30 failed, 10 success"
    assert folded["mapped"].failures == ((error, tuple(range(1, 31))),)
    assert "mapped" not in single
    chart = chart_of(run("failed", end_date=START + timedelta(seconds=60)), [folded, single], {}, START)
    assert chart is not None
    assert [len(line.bars) for line in chart.lines] == [1, 1]
    assert chart.lines[0].bars[0].words == "30 failed, 10 success, 40.0 s"


def test_a_folded_row_goes_on_while_an_instance_runs() -> None:
    (folded,) = fold(
        [task(0, 5, "failed", map_index=0, error=None), task(1, None, "running", map_index=1)],
        {"t": {"failed": 1, "running": 1}},
    )
    chart = chart_of(run(), [folded], {}, START + timedelta(seconds=60))
    assert chart is not None
    assert chart.lines[0].bars[0].end is None


def test_a_runs_page_folds_mapped_tasks_and_opens_them_page_by_page(monitor: Served) -> None:
    error = {"type": "RuntimeError", "message": "checksum <b>mismatch</b>", "traceback": "Traceback"}
    instances = MAX_LINES + 3
    states = ["failed" if number in (7, 150) else "success" for number in range(instances)]
    monitor.post(
        [
            task_event(state, "shard", map_index=number, error=error if state == "failed" else None)
            for number, state in enumerate(states)
        ]
    )
    page = "/runs/local/etl/manual__1"
    folded = monitor.client.get(page).text
    assert folded.count('role="row" class="line mapped"') == 1
    assert f"{instances - 2} success" in folded
    assert "<strong>2 × RuntimeError</strong> checksum &lt;b&gt;mismatch&lt;/b&gt;" in folded
    assert "shard [7], [150]" in folded
    first = monitor.client.get(f"{page}?task_id=shard").text
    indexes = re.findall(r'class="line" data-key="shard/(\d+)"', first)
    assert (indexes[:3], len(indexes)) == (["7", "150", "0"], MAX_LINES)
    assert f"{MAX_LINES} of {instances} instances" in first
    [more] = re.findall('<a href="([^"]*)" rel="next" data-key="more">', first)
    second = monitor.client.get(unescape(more)).text
    assert re.findall(r'class="line" data-key="shard/(\d+)"', second) == ["200", "201", "202"]
    assert "This run has no task “nope”." in monitor.client.get(f"{page}?task_id=nope").text


def test_a_long_run_id_shows_both_ends_and_is_whole_for_who_copies_it(monitor: Served) -> None:
    run_id = "manual__2026-11-25T04:10:00.123456+00:00"
    monitor.post([run_event("failed", run_id=run_id)])
    row = monitor.client.get("/runs").text
    parts = 'manual__2026-11-25T04:10:00<span class="middle">.123456+</span>00:00'
    assert f'<span class="detail id"><span title="{run_id}">{parts}</span></span>' in row
    assert 'id">manual__1</span>' in row


def test_of_very_many_tasks_those_that_failed_or_run_stand_on_the_first_page(monitor: Served) -> None:
    many = [f"t{number:03}" for number in range(MAX_LINES + 50)]
    monitor.post(
        [run_event("running", run_id="many"), *(task_event(task_id=one, run_id="many") for one in many[:-2])]
    )
    monitor.post(
        [task_event("running", many[-2], run_id="many"), task_event("failed", many[-1], run_id="many")]
    )
    page = monitor.client.get("/runs/local/etl/many").text
    drawn = re.findall('class="line" data-key="(t[0-9]+)/', page)
    assert drawn == sorted(many[: MAX_LINES - 2] + many[-2:])
    assert f"{MAX_LINES} of {len(many)} tasks" in page
    assert f"1 failed, 1 running, {MAX_LINES + 48} success" in page
    [more] = re.findall('<a href="([^"]*)" rel="next" data-key="more">', page)
    rest = monitor.client.get(unescape(more)).text
    assert re.findall('class="line" data-key="(t[0-9]+)/', rest) == many[MAX_LINES - 2 : -2]
    assert 'rel="next"' not in rest
    assert "First tasks" in rest
    assert monitor.client.get("/runs/local/etl/many?cursor=x").status_code == 422
