"""One training run through the whole stack: what Airflow did, what was mailed, logged, streamed and kept."""

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from tests import wait
from tests.compose.conftest import DAGS
from tests.compose.engine import docker
from tests.compose.stack import Event, Stack
from tests.compose.test_scripts import SECRETS

RUN_SECONDS = 240.0  # three DAGs, nine tasks; a busy machine takes 60
TELL_SECONDS = 120.0  # for what the listener did not tell to come from the reconciler, and for the mails
HEALTH_SECONDS = 120.0
REPORT = "Airflow_Lab2: model report"


@dataclass
class Training:
    """What a training run came to."""

    runs: list[tuple[str, str]]
    live: list[Event]


@pytest.fixture(scope="module")
def training(stack: Stack) -> Training:
    """A training run and all that starts from it, with a reader of the feed beside it."""

    def through(events: list[Event]) -> bool:
        ended = {e["data"]["dag_id"] for e in events if e["type"] == "airflow.dag_run.success"}
        return ended >= set(DAGS)

    def ended() -> list[tuple[str, str]]:
        runs = stack.runs()
        done = [run for run in runs if run[1] in ("success", "failed")]
        return done if len(done) == len(DAGS) or ("Airflow_Lab2", "failed") in done else []

    with ThreadPoolExecutor(1) as beside:
        reading = beside.submit(stack.feed, through, RUN_SECONDS + TELL_SECONDS)
        stack.trigger("Airflow_Lab2", stack.bearer).raise_for_status()
        runs = wait.until(ended, "the runs' ends", RUN_SECONDS)
        assert runs == [(dag, "success") for dag in DAGS]
        return Training(runs, reading.result())


def test_every_terminal_state_is_logged_once(stack: Stack, training: Training) -> None:
    states = stack.engine.terminal_states()
    assert len(states) == len(set(states)) == 14  # 3 runs; 7, 3 and 1 tasks

    def untold() -> list[str]:
        told = Counter(event["id"] for event in stack.log())
        return [f"{state}: {told[state]} times" for state in states if told[state] != 1]

    wait.until(lambda: not untold(), "every terminal state in the log", TELL_SECONDS)
    assert untold() == []


def test_feed_tells_what_the_log_holds(stack: Stack, training: Training) -> None:
    logged = [event["id"] for event in stack.log()]
    replayed = stack.feed(lambda events: len(events) >= len(logged), RUN_SECONDS)
    assert [event["id"] for event in replayed][: len(logged)] == logged
    live = [event["id"] for event in training.live]
    assert live == logged[: len(live)]


def test_asset_updates_are_logged_once_with_what_started_from_them(stack: Stack, training: Training) -> None:
    def updates() -> list[Event]:
        return [event for event in stack.log() if event["type"] == "airflow.asset.updated"]

    wait.until(lambda: len(updates()) >= 3, "the asset updates", TELL_SECONDS)
    assert sorted(event["data"]["asset"]["name"] for event in updates()) == [
        "champion",
        "model.pkl",
        "scaler.pkl",
    ]


def test_report_and_success_mail_arrive_once(stack: Stack, training: Training) -> None:
    wait.until(lambda: len(stack.mails()) >= 2, "both mails", TELL_SECONDS)
    mails = stack.mails()
    subjects = sorted(mail["Subject"] for mail in mails)
    assert len(subjects) == 2
    assert sum(subject.startswith(REPORT) for subject in subjects) == 1
    assert sum("Airflow_Lab2 · " in subject for subject in subjects) == 1
    assert {to["Address"] for mail in mails for to in mail["To"]} == {stack.recipient}
    settled = stack.monitor("api/v1/deliveries").raise_for_status().json()["deliveries"]
    assert [delivery["state"] for delivery in settled] == ["sent"]


def test_monitor_may_read_airflow_and_nothing_else(stack: Stack) -> None:
    viewer = stack.sign_in("windsock", stack.settings["AIRFLOW_VIEWER_PASSWORD"])
    assert stack.trigger("scoring", viewer).status_code == httpx.codes.FORBIDDEN


def test_feed_and_log_want_a_sign_in(stack: Stack) -> None:
    for path in ("events", "api/v1/events"):
        assert (
            httpx.get(f"{stack.monitor_url}/{path}", trust_env=False).status_code == httpx.codes.UNAUTHORIZED
        )


def test_mail_sink_wants_a_sign_in(stack: Stack) -> None:
    container = stack.engine.containers()["mailpit"]
    assert "MP_UI_AUTH_FILE=/run/secrets/MAILPIT_AUTH" in container["Config"]["Env"]
    known = stack.engine.inside("mailpit", "cat", "/run/secrets/MAILPIT_AUTH")
    assert known == f"{stack.settings['AIRFLOW_USERNAME']}:{stack.settings['MAILPIT_PASSWORD']}\n"
    if "standin.of" in container["Config"]["Labels"]:
        pytest.skip("the stand-in for Mailpit knows no sign-in: its configuration is what was checked")
    for path in ("", "api/v1/messages"):
        assert stack.mail_sink(path).status_code == httpx.codes.UNAUTHORIZED
        assert stack.mail_sink(path, ("admin", "wrong")).status_code == httpx.codes.UNAUTHORIZED


def test_nothing_runs_as_root_or_may_become_it(stack: Stack) -> None:
    for service, container in stack.engine.containers().items():
        host = container["HostConfig"]
        assert host["CapDrop"] == ["ALL"], service
        assert host["ReadonlyRootfs"], service
        assert host["Memory"] > 0, service
        if container["State"]["Running"]:
            status = docker("exec", container["Id"], "cat", "/proc/1/status")
            uid = next(line for line in status.splitlines() if line.startswith("Uid:"))
            assert "0" not in uid.split()[1:], f"{service}: {uid}"
            assert "NoNewPrivs:\t1" in status, service


def test_no_secret_is_in_what_the_engine_tells(stack: Stack) -> None:
    secrets = {name: value for name, value in stack.settings.items() if name in SECRETS}
    assert len(secrets) == len(SECRETS)
    told = str(stack.engine.containers())
    assert [name for name, value in secrets.items() if value in told] == []


def test_images_say_what_they_are(stack: Stack) -> None:
    for image, title in (("windsock-monitor:local", "Windsock"), ("windsock-airflow:local", "Airflow")):
        labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image))
        assert title in labels["org.opencontainers.image.title"]
        for name in ("version", "revision", "created", "licenses"):
            assert labels[f"org.opencontainers.image.{name}"], name


def test_ports_are_open_to_this_machine_only(stack: Stack) -> None:
    bound = {
        binding["HostIp"]
        for container in stack.engine.containers().values()
        for bindings in container["NetworkSettings"]["Ports"].values()
        for binding in bindings or ()
    }
    assert bound == {"127.0.0.1"}


def test_log_outlives_the_monitor(stack: Stack, training: Training) -> None:
    before = [event["id"] for event in stack.log()]
    mails = len(stack.mails())
    monitors = [name for name in stack.engine.containers() if re.fullmatch(r"monitor(-\d)?", name)]
    docker("restart", *(stack.engine.containers()[name]["Id"] for name in monitors))
    for name in monitors:
        wait.until(lambda name=name: _healthy(stack, name), f"the health of {name}", HEALTH_SECONDS)  # type: ignore[misc]
    assert [event["id"] for event in stack.log()][: len(before)] == before
    assert len(stack.mails()) == mails


def test_at_last_every_service_is_healthy_and_none_was_restarted(stack: Stack, training: Training) -> None:
    containers = stack.engine.containers()
    init = containers.pop("airflow-init")
    assert (init["State"]["Status"], init["State"]["ExitCode"]) == ("exited", 0)
    for service, container in containers.items():
        assert container["State"]["Health"]["Status"] == "healthy", service
        assert container["RestartCount"] == 0, service
        assert not container["State"]["OOMKilled"], service


def _healthy(stack: Stack, service: str) -> bool:
    return bool(stack.engine.containers()[service]["State"]["Health"]["Status"] == "healthy")
