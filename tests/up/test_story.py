"""What must have happened before `--once` says so, with a server that answers as scripted."""

import asyncio
from collections.abc import Callable, Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from monitor.airflow.client import AirflowApi
from monitor.cli.up import report
from monitor.cli.up.processes import NotAllHappened
from monitor.cli.up.report import SCORING, TRAINING, DemoProgress, begin, play
from monitor.clock import utc_now
from monitor.concurrency import end
from monitor.delivery.channels.mailbox import Mailbox
from tests.served import served
from tests.wait import until
from windsock_client import Feed

SOON = 30.0
RUN_ID = "manual__2026-11-22T10:00:00+00:00"
RELEASE_ID, SCORING_ID = "asset_triggered__1", "asset_triggered__2"
EXTRA = {"accuracy": 0.98, "roc_auc": 0.99, "f1": 0.97, "sha256": "ab" * 32}


class Servers:
    """Airflow's and the monitor's answers. `faults`: how many answers are to be a 500."""

    def __init__(self) -> None:
        self.states = {
            (TRAINING, RUN_ID): "success",
            ("release", RELEASE_ID): "success",
            (SCORING, SCORING_ID): "success",
        }
        self.promotes = True
        self.faults = 0
        self.deliveries: list[dict[str, Any]] = [
            {"run_id": RUN_ID, "subject": "Airflow_Lab2 succeeded", "state": "sent", "reason": "sent"}
        ]
        self.tokens = self.looks = 0
        self.url = ""

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self.answer, methods=["GET", "POST"])])

    def answer(self, request: Request) -> Response:
        path = request.url.path
        if path == "/auth/token":
            self.tokens += 1
            return JSONResponse({"access_token": f"token-{self.tokens}"}, 201)
        if request.headers.get("Authorization") != f"Bearer token-{self.tokens}":
            return JSONResponse({}, 401)
        if self.faults:
            self.faults -= 1
            return JSONResponse({}, 500)
        return JSONResponse(self._body(request, path))

    def _body(self, request: Request, path: str) -> dict[str, Any]:
        if path == "/api/v1/deliveries":
            self.looks += 1
            return {"deliveries": self.deliveries}
        if path == "/api/v2/assets/events":
            return {"asset_events": self._asset_events(request.query_params["source_dag_id"])}
        if path == "/api/v2/dags":
            return {"dags": [{"dag_id": dag_id} for dag_id, _ in self.states]}
        if path.endswith("/taskInstances"):
            return {"task_instances": [{"id": "1", "task_id": "build_model"}]}
        if request.method == "POST":
            return self._run(TRAINING, RUN_ID)
        _, _, _, _, dag_id, _, run_id = path.split("/")
        return self._run(dag_id, run_id)

    def _run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        state = self.states[dag_id, run_id]
        return {"dag_id": dag_id, "dag_run_id": run_id, "state": state, "duration": 1.5}

    def _asset_events(self, dag_id: str) -> list[dict[str, Any]]:
        if dag_id == TRAINING:
            return [_asset(name, EXTRA, "release", RELEASE_ID) for name in ("model.pkl", "scaler.pkl")]
        return [_asset("champion", {}, SCORING, SCORING_ID)] if self.promotes else []


def _asset(name: str, extra: dict[str, Any], dag_id: str, run_id: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "extra": extra,
        "created_dagruns": [{"dag_id": dag_id, "run_id": run_id}],
    }


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    with served(servers.app()) as servers.url:
        yield servers


@pytest.fixture
def story(tmp_path: Path) -> DemoProgress:
    """As it is after the trigger, with everything told and mailed."""
    mailbox = Mailbox(tmp_path, utc_now)
    mailbox.file(_mail(RUN_ID), ["you@example.com"], sender="airflow@example.com")
    heard = {
        ("airflow.dag_run.success", TRAINING, RUN_ID),
        ("airflow.dag_run.success", "release", RELEASE_ID),
        ("airflow.dag_run.success", SCORING, SCORING_ID),
        ("airflow.asset.updated", "model.pkl", RUN_ID),
        ("airflow.asset.updated", "scaler.pkl", RUN_ID),
    }
    return DemoProgress(
        {"dag_id": TRAINING, "dag_run_id": RUN_ID, "state": "queued", "duration": None}, heard, mailbox
    )


def _mail(run_id: str) -> bytes:
    mail = EmailMessage()
    mail["Subject"] = "model report"
    mail.set_content(f"<p>Run {run_id}</p>", subtype="html")
    return mail.as_bytes()


def _with(servers: Servers, work: Callable[[AirflowApi, Feed], Any]) -> Any:
    async def run() -> Any:
        airflow = AirflowApi("local", servers.url, "admin", "x", SOON, utc_now)
        loop = asyncio.get_running_loop()
        monitor = Feed(
            servers.url,
            token=lambda: asyncio.run_coroutine_threadsafe(airflow.own_token(), loop).result(),
        )
        try:
            return await work(airflow, monitor)
        finally:
            await airflow.close()

    return asyncio.run(run())


def _play(servers: Servers, story: DemoProgress) -> None:
    _with(servers, lambda airflow, monitor: asyncio.wait_for(play(story, airflow, monitor), SOON))


def _unfinished(servers: Servers, story: DemoProgress) -> str:
    """Return what is missing after a whole look."""

    async def look(airflow: AirflowApi, monitor: Feed) -> None:
        playing = asyncio.ensure_future(play(story, airflow, monitor))
        await asyncio.to_thread(until, lambda: servers.looks == 2, "a second look")
        await end([playing])

    _with(servers, look)
    return "; ".join(story.missing())


def test_all_of_it(servers: Servers, story: DemoProgress) -> None:
    _play(servers, story)
    assert [run["dag_id"] for run in story.runs] == [TRAINING, "release", SCORING]
    assert not story.missing()


def test_a_server_that_fails_is_asked_again(servers: Servers, story: DemoProgress) -> None:
    servers.faults = 2
    _play(servers, story)
    assert not story.missing()


def test_the_run_is_triggered_when_the_dags_are_known(servers: Servers) -> None:
    run = _with(servers, lambda airflow, _: begin(airflow))
    assert (run["dag_id"], run["dag_run_id"]) == (TRAINING, RUN_ID)


def test_a_champion_that_stays_is_no_failure(servers: Servers, story: DemoProgress) -> None:
    servers.promotes = False
    del servers.states[SCORING, SCORING_ID]
    _play(servers, story)
    assert "not due" in report.summary(story, 1)


@pytest.mark.parametrize("failed", [(TRAINING, RUN_ID), ("release", RELEASE_ID), (SCORING, SCORING_ID)])
def test_a_run_that_failed_ends_the_wait(
    servers: Servers, story: DemoProgress, failed: tuple[str, str]
) -> None:
    servers.states[failed] = "failed"
    with pytest.raises(NotAllHappened, match=rf"{failed[0]} failed \(in build_model\)"):
        _play(servers, story)


@pytest.mark.parametrize(
    ("unheard", "words"),
    [
        (("airflow.asset.updated", "scaler.pkl", RUN_ID), "has not shown the update of scaler.pkl"),
        (("airflow.dag_run.success", "release", RELEASE_ID), "has not shown the success of release"),
    ],
)
def test_what_the_feed_has_not_shown_is_missing(
    servers: Servers, story: DemoProgress, unheard: tuple[str, str, str], words: str
) -> None:
    story.heard.remove(unheard)
    assert words in _unfinished(servers, story)


def test_a_run_that_goes_on_is_missing(servers: Servers, story: DemoProgress) -> None:
    servers.states["release", RELEASE_ID] = "running"
    assert "release is running" in _unfinished(servers, story)


def test_a_mail_that_is_not_sent_is_missing(servers: Servers, story: DemoProgress) -> None:
    servers.deliveries[0] |= {"state": "pending", "reason": "the server said 451"}
    assert "not sent: pending (the server said 451)" in _unfinished(servers, story)


def test_a_mail_about_another_run_is_not_it(servers: Servers, story: DemoProgress) -> None:
    servers.deliveries[0] |= {"run_id": "manual__other"}
    assert "not sent: there is none" in _unfinished(servers, story)


def test_the_monitors_own_mail_is_no_report(servers: Servers, story: DemoProgress, tmp_path: Path) -> None:
    story.mailbox = Mailbox(tmp_path / "another", utc_now)
    story.mailbox.file(_mail(RUN_ID), ["you@example.com"])
    story.mailbox.file(_mail("manual__other"), ["you@example.com"], sender="airflow@example.com")
    assert "the DAG's report has not arrived" in _unfinished(servers, story)


def test_the_summary_tells_all_of_it(servers: Servers, story: DemoProgress) -> None:
    _play(servers, story)
    told = report.summary(story, 1234.5)
    for words in (RUN_ID, "accuracy 0.9800", "champion", "Airflow_Lab2 succeeded", "model report", "1234 MB"):
        assert words in told
    assert told.startswith("[bold]result    [/bold][green]✔ everything happened")


@pytest.mark.parametrize("fails", [False, True])
def test_the_result_has_at_most_20_lines_with_the_addresses(
    servers: Servers, story: DemoProgress, fails: bool
) -> None:
    """The addresses take four, the sentence that ends a failed run one, and the end of everything one."""
    servers.deliveries = [servers.deliveries[0] | {"subject": str(number)} for number in range(50)]
    if fails:
        servers.states[TRAINING, RUN_ID] = "failed"
        story.heard.clear()
        with pytest.raises(NotAllHappened):
            _play(servers, story)
    else:
        _play(servers, story)
    lines = report.summary(story, 1).splitlines()
    assert len(lines) <= 14
    assert ("✖" if fails else "✔") in lines[0]
    assert "and 49 more" in "\n".join(lines)
