"""Log lines: forms, what they carry, what they never hold; and the id of each request."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from monitor.clock import utc_now
from monitor.errors import SettingsError
from monitor.observability import logging as observability_logging
from monitor.observability.logging import HEAD, TAIL, JsonForm, Redactor, TextForm, secrets_of
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from monitor.settings_values import AirflowSettings
from monitor.web.middleware import MAX_PATH, area_of
from tests import wait
from tests.feed.log import AWKWARD
from tests.monitor_process import MonitorProcess
from tests.sample import START, run_event
from tests.unit.conftest import sign
from tests.unit.hostile_names import ATTACK
from tests.unit.web_support import Served, serving

FORGED = "etl\r\n2026-11-25 10:00:00,000 INFO monitor: all is well\x1b[2J\x1b[31m\u2028\u202e"


def record(message: str, error: BaseException | None = None, **extra: object) -> logging.LogRecord:
    caught = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("monitor.x", logging.WARNING, __file__, 1, message, (), caught)
    vars(made).update(extra)
    return made


def test_json_lines_say_what_they_are_about() -> None:
    try:
        raise ValueError(FORGED)  # noqa: TRY301
    except ValueError as error:
        line = JsonForm(Redactor()).format(record("it failed", error, delivery_id=7, event_ids=["a", "b"]))
    assert line.isascii()
    assert len(line.splitlines()) == 1
    told = json.loads(line)
    assert (told["level"], told["logger"], told["message"]) == ("warning", "monitor.x", "it failed")
    assert (told["delivery_id"], told["event_ids"]) == (7, ["a", "b"])
    assert "ValueError" in told["exception"]
    assert told["time"].endswith("Z")


@pytest.mark.parametrize("name", [FORGED, ATTACK, AWKWARD])
def test_no_name_forges_a_line_or_commands_a_terminal(name: str) -> None:
    form = TextForm(Redactor())
    try:
        raise ValueError(name)  # noqa: TRY301
    except ValueError as error:
        lines = form.format(record(f"run of {name}", error, dag_id=name)).splitlines()
    assert len([line for line in lines if not line.startswith("    | ")]) == 1
    assert all(line.isprintable() for line in lines)


SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
HIDDEN = (
    (f"signed with {SECRET}", SECRET),
    ("GET https://hooks.example.com/services?token=abcdef&x=1 failed", "abcdef"),
    ("connect to postgresql+psycopg://user:hunter22@db/windsock", "hunter22"),
    ("POST /links/unsubscribe/eyJhbGciOi.tok-en 500", "eyJhbGciOi"),
    ("GET http://monitor/windsock/links/silence/abc.def?x=1", "abc.def"),
)


@pytest.mark.parametrize(("line", "secret"), HIDDEN)
def test_no_secret_is_logged(line: str, secret: str) -> None:
    redact = Redactor([SECRET])
    for form in (JsonForm(redact), TextForm(redact)):
        try:
            raise ValueError(line)  # noqa: TRY301
        except ValueError as error:
            told = form.format(record(line, error, path=line))
        assert secret not in told


@pytest.mark.parametrize("around", range(-40, 41, 8))
@pytest.mark.parametrize("end", [HEAD, TAIL])
@pytest.mark.parametrize(("line", "secret"), HIDDEN)
def test_no_part_of_a_secret_stands_where_a_long_line_is_cut(
    line: str, secret: str, end: int, around: int
) -> None:
    """Whichever part of the line the cut goes through; a part of five signs would be told."""
    filler = "word " * 10_000
    before = filler[: HEAD - around] if end == HEAD else filler
    after = filler if end == HEAD else filler[: TAIL - around]
    told = Redactor([SECRET])(f"{before} {line} {after}")
    assert "characters left out" in told
    assert len(told) < HEAD + TAIL + 100
    assert not [part for part in (secret[at : at + 5] for at in range(len(secret) - 4)) if part in told]


def test_what_a_line_may_hold_is_bounded() -> None:
    path = "/" + "a." * 32_000
    for form in (JsonForm(Redactor()), TextForm(Redactor())):
        try:
            raise ValueError(path)  # noqa: TRY301
        except ValueError as error:
            told = form.format(record(f"GET {path} 404", error, path=path))
        assert len(told) < 4 * (HEAD + TAIL)


def test_every_secret_of_the_settings_is_known(settings: Settings) -> None:
    further = AirflowSettings(url="http://a", username="u", password=SecretStr("the further one"))
    changed = settings.model_copy(
        update={
            "smtp_password": SecretStr("of the mail"),
            "airflows": {"emea": further},
            "database_url": "postgresql+psycopg://w:of-the-database@db/w",
        }
    )
    found = set(secrets_of(changed))
    assert {"of the mail", "the further one", "of-the-database"} <= found
    assert {one.get_secret_value() for one in settings.ingest_secret} <= found


def test_what_is_bound_is_in_each_line() -> None:
    observability_logging.bind(request_id="r1", dag_id=None)
    assert json.loads(JsonForm(Redactor()).format(record("x")))["request_id"] == "r1"
    assert TextForm(Redactor()).format(record("x")).endswith("x [request_id=r1]")


@pytest.fixture
def monitor(settings: Settings) -> Iterator[Served]:
    with serving(settings) as found:
        yield found


@pytest.mark.parametrize(
    ("given", "kept"),
    [("proxy-1.2/3", True), ("", False), ("a b", False), ("x" * 129, False), ("evil[31m", False)],
)
def test_a_request_has_the_proxys_id_where_it_is_sane(monitor: Served, given: str, kept: bool) -> None:
    answer = monitor.client.get("/api/v1/incidents/99", headers={"X-Request-ID": given})
    assert (answer.headers["X-Request-ID"] == given) is kept
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_long_path_is_logged_in_part(monitor: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "monitor.access")
    assert monitor.client.get("/" + "a." * 3_000).status_code == 404

    def told() -> list[str]:
        return [one.getMessage() for one in caplog.records if one.name == "monitor.access"]

    wait.until(told, "the request to be logged")  # behind the answer
    assert len(told()[0]) < MAX_PATH + 100


def test_requests_are_counted_by_what_they_are() -> None:
    assert [
        area_of(*asked)
        for asked in (
            ("POST", "/api/v1/events"),
            ("GET", "/api/v1/events"),
            ("GET", "/events"),
            ("GET", "/metrics"),
            ("GET", "/static/app.js"),
            ("GET", "/runs"),
        )
    ] == ["ingest", "api", "feed", "probe", "static", "page"]


@pytest.fixture
def process(tmp_path: Path) -> Iterator[MonitorProcess]:
    found = MonitorProcess(
        tmp_path, {"WINDSOCK_LOG_FORMAT": "JSON", "NOTIFICATION_EMAIL_TO": "ops@example.com"}
    )
    try:
        yield found.start()
    finally:
        found.stop()


def test_a_monitor_logs_json_lines_only(process: MonitorProcess) -> None:
    """Every line of a process's life, uvicorn's and alembic's too; a delivery's with all that it is about."""
    now = (utc_now() - START).total_seconds()
    body = json.dumps([run_event("failed", "etl", FORGED, now - 10)])
    with httpx.Client(base_url=process.url, trust_env=False) as client:
        headers = sign(process.secret, body) | {"X-Request-ID": "from-the-proxy"}
        assert client.post("/api/v1/events", content=body, headers=headers).json()["accepted"] == 1
        client.get("/nowhere?token=abcdef")
    wait.until(lambda: "monitor.delivery.attempt" in process.log.read_text(), "the mail to be sent")
    process.stop()
    text = process.log.read_text()
    assert "abcdef" not in text
    assert process.secret not in text
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line["logger"].startswith("uvicorn") for line in lines)
    taken = next(line for line in lines if line.get("path") == "/api/v1/events")
    assert (taken["request_id"], taken["status"], taken["dag_id"]) == ("from-the-proxy", 202, "etl")
    assert taken["run_id"] == FORGED
    told = next(line for line in lines if line["logger"] == "monitor.delivery.attempt")
    assert (told["event_id"], told["delivery_id"]) == (taken["event_ids"][0], 1)


def test_a_wrong_setting_is_named() -> None:
    with pytest.raises(SettingsError, match=r"WINDSOCK_LOG_FORMAT.*'xml'"):
        load_settings(env_file=None, auth="none", log_format="xml")
