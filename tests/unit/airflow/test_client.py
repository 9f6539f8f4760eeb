"""The REST client against a scripted server: tokens, pages, failures, logs."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from monitor.airflow import paging
from monitor.airflow.client import AirflowApi, quote_segment
from monitor.airflow.connection import MAX_ANSWER, MAX_REFUSAL, MAX_TOKEN_ANSWER
from monitor.airflow.paging import PAGE_SIZE
from monitor.airflow.task_logs import MAX_READ, MAX_TEXT, LogTail
from monitor.airflow.task_logs import MAX_VALUES as MAX_RECORD_VALUES
from monitor.bounded_json import MAX_VALUES
from monitor.errors import (
    AirflowAnswerTooLong,
    AirflowError,
    AirflowNotFound,
    AirflowRefused,
    AirflowUnaddressable,
    AirflowUnreachable,
)
from tests.ports import free_port
from tests.unit.airflow_api_fake import NO_ROUTE, PASSWORD, USERNAME, FakeAirflow, run_row, serving, task_row
from tests.unit.conftest import NOW, FakeClock

T = TypeVar("T")
GONE = "The DagRun with dag_id: `etl` and run_id: `manual__1` was not found"


@pytest.fixture
def fake(clock: FakeClock) -> Iterator[FakeAirflow]:
    with serving(FakeAirflow(clock)) as fake:
        yield fake


def ask(
    fake: FakeAirflow,
    question: Callable[[AirflowApi], Awaitable[T]],
    password: str = PASSWORD,
    timeout: float = 10,
    url: str | None = None,
) -> T:
    async def story() -> T:
        api = AirflowApi("local", url or fake.url, USERNAME, password, timeout, fake.clock)
        try:
            return await question(api)
        finally:
            await api.close()

    return asyncio.run(story())


def test_one_token_serves_many_questions_at_once(fake: FakeAirflow) -> None:
    fake.dags = ["a", "b"]

    async def question(api: AirflowApi) -> list[int]:
        return await asyncio.gather(*(api.may_read() for _ in range(8)))

    assert ask(fake, question) == [2] * 8
    assert fake.logins == 1


def test_the_token_is_renewed_before_it_ends_whatever_airflows_clock_says(fake: FakeAirflow) -> None:
    async def question(api: AirflowApi) -> list[int]:
        logins = []
        for seconds in (0, 3000, 500):  # of a life of 3600; the tokens are dated two hours ago
            fake.clock.forward(seconds)
            await api.may_read()
            logins.append(fake.logins)
        return logins

    assert ask(fake, question) == [1, 1, 2]


def test_a_token_that_is_refused_is_renewed_once_and_the_question_asked_again(fake: FakeAirflow) -> None:
    fake.dags = ["a"]

    async def question(api: AirflowApi) -> list[int]:
        await api.may_read()
        fake.tokens.clear()  # the JWT secret was changed
        return await asyncio.gather(*(api.may_read() for _ in range(4)))

    assert ask(fake, question) == [1] * 4
    assert fake.logins == 2


def test_a_token_that_was_signed_with_another_secret_is_renewed_too(fake: FakeAirflow) -> None:
    fake.failures = [("/dags", JSONResponse({"detail": "Invalid JWT token"}, 403))]

    assert ask(fake, lambda api: api.may_read()) == 0
    assert fake.logins == 2


def test_a_new_token_that_is_refused_is_an_error(fake: FakeAirflow) -> None:
    fake.failures = [("/dags", JSONResponse({"detail": "Not authenticated"}, 401)) for _ in range(2)]

    with pytest.raises(AirflowRefused, match="JWT secrets differ"):
        ask(fake, lambda api: api.may_read())
    assert fake.logins == 2


def test_a_wrong_password_is_named_without_it_and_not_tried_again_at_once(fake: FakeAirflow) -> None:
    async def question(api: AirflowApi) -> list[str]:
        told = []
        for seconds in (0, 5, 60):
            fake.clock.forward(seconds)
            with pytest.raises(AirflowRefused) as refused:
                await api.may_read()
            told.append(str(refused.value))
        return told

    told = ask(fake, question, password="wr0ng-password")
    assert fake.logins == 2
    assert all("WINDSOCK_AIRFLOW_PASSWORD" in text and "wr0ng-password" not in text for text in told)


def test_another_users_sign_in_and_what_that_one_may_read(fake: FakeAirflow) -> None:
    fake.dags = [f"dag_{number:03d}" for number in range(250)]

    async def question(api: AirflowApi) -> set[str]:
        return await api.readable_dags(await api.sign_in(USERNAME, PASSWORD))

    assert ask(fake, question, password="not needed") == set(fake.dags)
    assert fake.logins == 1
    assert "exclude_stale=false" in fake.asked[0]


def test_another_users_token_that_has_ended_is_refused_and_not_renewed(fake: FakeAirflow) -> None:
    with pytest.raises(AirflowRefused):
        ask(fake, lambda api: api.readable_dags("ended"))
    assert fake.logins == 0


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        (JSONResponse({"detail": "Forbidden"}, 403), AirflowRefused, "Viewer"),
        (JSONResponse({"detail": GONE}, 404), AirflowNotFound, "was not found"),
        (JSONResponse({"detail": GONE.replace("etl", "etl2")}, 404), AirflowUnreachable, "no word of"),
        (JSONResponse({"detail": "Not Found"}, 404), AirflowUnreachable, "no word of Airflow's"),
        (NO_ROUTE, AirflowUnreachable, "no word of Airflow's"),
        (PlainTextResponse("default backend - 404", 404), AirflowUnreachable, "no word of Airflow's"),
        (PlainTextResponse(f"<html>{GONE}", 404), AirflowUnreachable, "no word of Airflow's"),
        (JSONResponse({}), AirflowError, "it is not about etl of manual__1"),
        (JSONResponse({"dag_id": "etl", "dag_run_id": "other"}), AirflowError, "it is not about"),
        (PlainTextResponse("slow down", 429), AirflowUnreachable, "again later"),
        (PlainTextResponse("<html>oops", 500), AirflowUnreachable, "500"),
        (JSONResponse({"detail": [{"loc": "limit"}]}, 422), AirflowError, "limit"),
        (RedirectResponse("https://elsewhere"), AirflowError, "WINDSOCK_AIRFLOW_URL"),
        (PlainTextResponse("<html>a proxy's page"), AirflowError, "not JSON"),
        (JSONResponse([1]), AirflowError, "not a JSON object"),
        (PlainTextResponse(b" " * (MAX_ANSWER + 1)), AirflowAnswerTooLong, "longer than"),
        (
            PlainTextResponse('{"a": [' + "[]," * MAX_VALUES + "1]}"),
            AirflowAnswerTooLong,
            "more than 100000 values",
        ),
        (PlainTextResponse("<p>" * MAX_REFUSAL, 503), AirflowUnreachable, "503"),
        (PlainTextResponse("[" * MAX_REFUSAL, 503), AirflowUnreachable, "503"),
    ],
)
def test_each_failure_says_whether_to_try_again_and_what_to_mend(
    fake: FakeAirflow, answer: Response, error: type[AirflowError], told: str
) -> None:
    fake.failures = [("/dagRuns/", answer)]

    with pytest.raises(AirflowError, match=told) as failed:
        ask(fake, lambda api: api.dag_run("etl", "manual__1"))
    assert type(failed.value) is error


def test_no_answer_is_told_without_what_is_secret_in_the_url(fake: FakeAirflow) -> None:
    url = f"http://someone:s3cret@127.0.0.1:{free_port()}"

    with pytest.raises(AirflowUnreachable, match=r"127\.0\.0\.1") as failed:
        ask(fake, lambda api: api.version(), url=url)
    assert "s3cret" not in str(failed.value)


def test_a_server_that_never_answers_is_given_up_on(fake: FakeAirflow) -> None:
    release = threading.Event()

    def hold(_request: Request) -> None:
        release.wait(20)

    fake.before_answer = hold
    try:
        with pytest.raises(AirflowUnreachable, match="no answer"):
            ask(fake, lambda api: api.may_read(), timeout=0.2)
    finally:
        release.set()


@pytest.mark.parametrize("life", [1e308, float("inf"), float("nan")])
def test_a_token_without_an_end_is_used_until_it_is_refused(fake: FakeAirflow, life: float) -> None:
    fake.token_life, fake.dags = life, ["etl"]
    assert ask(fake, lambda api: api.may_read())


def test_a_sign_ins_answer_is_bounded(fake: FakeAirflow) -> None:
    fake.failures = [("/auth/token", JSONResponse({"access_token": "x" * MAX_TOKEN_ANSWER}, 201))]
    with pytest.raises(AirflowError, match="longer than"):
        ask(fake, lambda api: api.sign_in("someone", "password"))


def test_a_refusal_that_repeats_a_password_is_not_passed_on(fake: FakeAirflow) -> None:
    """As FastAPI does with a body that it cannot read."""
    said = [{"msg": "no", "input": {"username": "someone", "password": 'ge"heim/1'}}]
    fake.failures = [("/auth/token", JSONResponse({"detail": said}, 422))]
    with pytest.raises(AirflowError, match="someone") as refused:
        ask(fake, lambda api: api.sign_in("someone", 'ge"heim/1'))
    assert "heim" not in str(refused.value)


@pytest.mark.parametrize("cursors", [True, False])
def test_every_page_is_read(fake: FakeAirflow, cursors: bool) -> None:
    fake.cursors = cursors
    fake.tasks = [task_row(number, NOW) for number in range(2 * PAGE_SIZE + 50)]
    fake.tasks[7]["state"] = "failed"

    async def question(api: AirflowApi) -> tuple[int, int]:
        every = await api.task_instances("etl", "manual__1")
        return len({row["id"] for row in every}), len(
            await api.task_instances("etl", "manual__1", ["failed"])
        )

    assert ask(fake, question) == (len(fake.tasks), 1)


@pytest.mark.parametrize("leaving", [1, 30, 250])
def test_rows_that_leave_a_listing_while_it_is_paged_by_offset_hide_no_other(
    fake: FakeAirflow, leaving: int
) -> None:
    fake.cursors = False
    fake.tasks = [task_row(number, NOW) for number in range(6 * PAGE_SIZE)]
    staying = {row["id"] for row in fake.tasks[leaving:]}
    answers = 0

    def leave(_request: Request) -> None:
        nonlocal answers
        answers += 1
        if answers == 4:
            del fake.tasks[:leaving]

    fake.before_answer = leave

    async def question(api: AirflowApi) -> list[str]:
        return [row["id"] async for page in api.task_instances_updated(NOW) for row in page.rows]

    read = ask(fake, question)
    assert staying <= set(read)
    assert len(read) == len(set(read))


def test_what_was_updated_in_a_time_and_when_airflow_said_so(fake: FakeAirflow) -> None:
    fake.runs = [run_row(str(number), NOW + timedelta(seconds=number)) for number in range(5)]
    fake.clock.forward(3600)

    async def question(api: AirflowApi) -> list[Any]:
        since, until = NOW + timedelta(seconds=1), NOW + timedelta(seconds=3)
        return [page async for page in api.runs_updated(since, until, ["success"])]

    (page,) = ask(fake, question)
    assert [row["dag_run_id"] for row in page.rows] == ["1", "2", "3"]
    assert (page.total, page.moment) == (3, fake.clock())


def test_the_dags_and_the_import_errors_in_full(fake: FakeAirflow) -> None:
    fake.dag_rows = [
        {"dag_id": f"dag_{n:03d}", "is_paused": n % 2 == 0, "is_stale": n == 7} for n in range(150)
    ]
    fake.import_errors = [{"import_error_id": n, "filename": f"{n}.py"} for n in range(150)]

    async def question(api: AirflowApi) -> tuple[list[Any], list[Any]]:
        dags = [row async for page in api.dags() for row in page.rows]
        return dags, [row async for page in api.import_errors() for row in page.rows]

    assert ask(fake, question) == (fake.dag_rows, fake.import_errors)
    assert "exclude_stale=false" in fake.requests("/dags")[0]


@pytest.mark.parametrize("answer", [{"dag_runs": None}, {"dag_runs": ["no object"]}, {}])
def test_a_listing_that_is_none_is_an_error(fake: FakeAirflow, answer: dict[str, Any]) -> None:
    fake.failures = [("/dagRuns", JSONResponse(answer))]

    async def question(api: AirflowApi) -> list[Any]:
        return [page async for page in api.runs_updated(NOW)]

    with pytest.raises(AirflowError, match="dag_runs"):
        ask(fake, question)


def test_names_are_quoted_in_paths(fake: FakeAirflow) -> None:
    with pytest.raises(AirflowNotFound):
        ask(fake, lambda api: api.dag_run("données", "manual__2026-11-22T10:00:00+00:00"))
    (path,) = fake.requests("/dags/")
    assert path == "/api/v2/dags/donn%C3%A9es/dagRuns/manual__2026-11-22T10%3A00%3A00%2B00%3A00?"


@pytest.mark.parametrize(
    "run_id", ["a%2Fb", "été", "a b", "x;y", "x?y#z", "...", "a/../b".replace("/", "%2F")]
)
def test_every_other_sign_is_asked_for_by_its_path(fake: FakeAirflow, run_id: str) -> None:
    fake.runs = [run_row(run_id, NOW, "failed")]
    assert ask(fake, lambda api: api.dag_run("etl", run_id))["state"] == "failed"
    assert len(fake.asked) == 1


@pytest.mark.parametrize("run_id", ["media/2026/clip.wav", "/", ".", ".."])
def test_a_run_whose_id_no_path_takes_is_asked_for_by_listings(fake: FakeAirflow, run_id: str) -> None:
    fake.runs = [run_row(f"manual__{number}", NOW) for number in range(3)]
    fake.runs.append(run_row(run_id, NOW, "failed"))
    fake.tasks = [task_row(number, NOW) | {"dag_run_id": run_id} for number in range(250)]
    fake.tasks[7]["state"] = "failed"
    for task in fake.tasks:
        task["run_after"] = fake.runs[-1]["run_after"]

    async def question(api: AirflowApi) -> tuple[str, int, int]:
        run = await api.dag_run("etl", run_id)
        failed, every = [await api.task_instances("etl", run_id, state) for state in (["failed"], ())]
        return run["state"], len(failed), len(every)

    assert ask(fake, question) == ("failed", 1, 250)


def test_a_run_whose_id_no_path_takes_is_gone_only_where_its_dag_may_be_read(fake: FakeAirflow) -> None:
    run_id = "media/clip"
    with pytest.raises(AirflowNotFound, match=run_id):
        ask(fake, lambda api: api.dag_run("etl", run_id))
    with pytest.raises(AirflowNotFound, match=run_id):
        ask(fake, lambda api: api.task_instances("etl", run_id))
    for status, error in ((403, AirflowRefused), (404, AirflowUnreachable)):
        fake.failures = [("/details", JSONResponse({"detail": "Forbidden"}, status))]
        with pytest.raises(error):
            ask(fake, lambda api: api.task_instances("etl", run_id))


def test_what_only_a_path_shows_of_such_a_run_has_no_address(fake: FakeAirflow) -> None:
    for question in (
        lambda api: api.log_tail("etl", "a/b", "load", -1, 1, 5),
        lambda api: api.tries("etl", "a/b", "load", -1),
    ):
        with pytest.raises(AirflowUnaddressable, match="allowed_run_id_pattern"):
            ask(fake, question)
    assert fake.asked == []


def test_a_sign_in_that_leads_nowhere_is_no_word_of_airflows(fake: FakeAirflow) -> None:
    with pytest.raises(AirflowUnreachable, match="POST /wrong/auth/token with 404"):
        ask(fake, lambda api: api.dag_run("etl", "manual__1"), url=f"{fake.url}/wrong")


@pytest.mark.parametrize(
    ("path", "question"),
    [
        ("/queuedEvents", lambda api: api.assets_waiting("etl")),
        ("/details", lambda api: api.asset_condition("etl")),
        ("/dags", lambda api: api.may_read()),
        ("/taskInstances", lambda api: api.task_instances("etl", "manual__1")),
        ("/tries", lambda api: api.tries("etl", "manual__1", "load", -1)),
    ],
)
@pytest.mark.parametrize("answer", [NO_ROUTE, JSONResponse({"up": True}), PlainTextResponse("<html>")])
def test_what_is_not_airflows_is_no_answer(
    fake: FakeAirflow, path: str, question: Callable[[AirflowApi], Awaitable[Any]], answer: Response
) -> None:
    fake.failures = [(path, answer)]
    with pytest.raises(AirflowError) as failed:
        ask(fake, question)
    assert not isinstance(failed.value, AirflowNotFound)


def records(*events: dict[str, Any]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


def tail(fake: FakeAirflow, lines: int) -> list[str]:
    return ask(fake, lambda api: api.log_tail("etl", "manual__1", "load", 3, 2, lines))


def test_a_logs_end_as_text_with_the_chain_of_errors(fake: FakeAirflow) -> None:
    cause = {
        "exc_type": "KeyError",
        "exc_value": "'x'",
        "frames": [{"filename": "/d.py", "lineno": 1, "name": "f"}],
    }
    error = {"exc_type": "ValueError", "exc_value": "no good\nat all", "frames": []}
    fake.log = records(
        {"timestamp": None, "event": "::group::Log message source details"},
        {"timestamp": "2026-11-22T10:00:01.123456Z", "event": "two\nlines", "level": "info"},
        {
            "timestamp": "2026-11-22T10:00:02Z",
            "event": "Task failed",
            "level": "error",
            "error_detail": [error, cause],
        },
        {"timestamp": "2026-11-22T10:00:03Z", "event": "::endgroup::"},
    )

    assert tail(fake, 100) == [
        "2026-11-22 10:00:01 INFO two",
        "lines",
        "2026-11-22 10:00:02 ERROR Task failed",
        '  File "/d.py", line 1, in f',
        "KeyError: 'x'",
        "The error above led to:",
        "ValueError: no good",
        "at all",
    ]
    assert fake.requests("/logs/2")[0].endswith("/taskInstances/load/logs/2?map_index=3")


def test_only_the_last_lines_are_kept_and_long_ones_cut(fake: FakeAirflow) -> None:
    fake.log = records(*({"event": f"line {number}"} for number in range(5000)), {"event": "x" * 300_000})

    *before, last = tail(fake, 3)

    assert before == ["line 4998", "line 4999"]
    assert len(last) == 2000


def test_of_a_long_record_the_end_is_shown() -> None:
    """What is cleaned is bounded: a hundred of the longest records of escape sequences take two seconds."""
    numbers = "".join(f"{number}\n" for number in range(MAX_TEXT))
    log = LogTail(2 * MAX_TEXT)
    log.take(records({"event": numbers}).encode())
    assert "\n".join(log.text()) + "\n" == numbers[-MAX_TEXT:]


def test_a_log_without_end_is_given_up_on(fake: FakeAirflow) -> None:
    fake.log = "a line\n" * (MAX_READ // 7 + 100_000)
    *_, last = tail(fake, 3)
    assert "its end was not read" in last


@pytest.mark.parametrize("cursors", [True, False])
def test_a_page_that_is_too_long_is_asked_for_in_parts(fake: FakeAirflow, cursors: bool) -> None:
    fake.cursors = cursors
    fake.runs = [run_row(f"manual__{number}", NOW) for number in range(12)]
    for row in fake.runs[2:5]:
        row["conf"] = {"long": "x" * (MAX_ANSWER // 2)}  # two of them are too much for one answer

    async def question(api: AirflowApi) -> list[str]:
        return [row["dag_run_id"] async for page in api.runs_updated(NOW) for row in page.rows]

    assert ask(fake, question) == [row["dag_run_id"] for row in fake.runs]


def test_a_listing_without_end_is_given_up_on(fake: FakeAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MAX_PAGES", 3)  # two thousand take a minute
    fake.tasks = [task_row(number, NOW) for number in range(4 * PAGE_SIZE)]
    with pytest.raises(AirflowError, match="more than 3 pages"):
        ask(fake, lambda api: api.task_instances("etl", "manual__1"))


def test_a_record_that_holds_too_much_is_shown_as_it_is(fake: FakeAirflow) -> None:
    fake.log = '{"event": "never mind", "more": [' + "[]," * MAX_RECORD_VALUES + "1]}\n" + "[" * 10_000
    first, deep = tail(fake, 2)
    assert "[],[]," in first
    assert deep.startswith("[[[")


@pytest.mark.parametrize("log", ["", "\n\n", "plain text\n", '"a string"\n', "plain text"])
def test_a_log_that_is_not_structured_is_taken_as_it_is(fake: FakeAirflow, log: str) -> None:
    fake.log = log

    assert tail(fake, 5) == [line for line in log.splitlines() if line]


def test_a_log_that_is_not_there_is_not_found(fake: FakeAirflow) -> None:
    fake.failures = [("/logs/", JSONResponse({"detail": "TaskInstance not found"}, 404))]

    with pytest.raises(AirflowNotFound):
        tail(fake, 5)


@pytest.mark.parametrize(
    "detail",
    [
        "Dag with id: etl was not found",
        "Unable to obtain dag with id etl from session",
        "The Dag with ID: `etl` was not found",
    ],
)
def test_what_each_version_says_of_a_dag_that_was_deleted(fake: FakeAirflow, detail: str) -> None:
    fake.failures = [("/details", JSONResponse({"detail": detail}, 404))]
    with pytest.raises(AirflowNotFound):
        ask(fake, lambda api: api.dag("etl"))


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "a\\b", "/"])
def test_a_name_that_is_more_than_one_part_of_a_path_is_asked_for_by_nobody(name: str) -> None:
    with pytest.raises(AirflowUnaddressable):
        quote_segment(name)


@pytest.mark.parametrize(
    ("name", "quoted"), [("etl", "etl"), ("...", "..."), ("a b?c#d%2F", "a%20b%3Fc%23d%252F")]
)
def test_any_other_name_is_one_part(name: str, quoted: str) -> None:
    assert quote_segment(name) == quoted
