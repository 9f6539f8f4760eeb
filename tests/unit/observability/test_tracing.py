"""Spans from a hook's event to the mail and the webhook, at a collector; and what is off costs nothing."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import run as run_process
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from monitor.clock import utc_now
from monitor.events.event import parse_event, trace_of
from monitor.observability.tracing import OFF, traceparent_of
from tests import wait
from tests.monitor_process import REPOSITORY, MonitorProcess
from tests.sample import START, run_event, task_event
from tests.served import served
from tests.unit.conftest import make_secret, sign
from tests.unit.otlp_collector import Collector, collecting

RULES = """
receivers:
  people: {email: [ops@example.com], webhook: [{url: "${HOOK_URL}", secret: "${HOOK_SECRET}"}]}
rules:
  - {name: all, match: {type: ["airflow.dag_run.failed"]}, notify_on: [first_failure], to: [people]}
"""


@pytest.fixture
def hooked() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A webhook's receiver, and the headers of what it got."""
    got: list[dict[str, str]] = []

    async def take(request: Request) -> Response:
        await request.body()
        got.append(dict(request.headers))
        return Response(status_code=204)

    with served(Starlette(routes=[Route("/hook", take, methods=["POST"])])) as url:
        yield f"{url}/hook", got


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def monitor_of(home: Path, hook: str, env: dict[str, str]) -> MonitorProcess:
    rules = home / "windsock.yaml"
    rules.write_text(RULES)
    return MonitorProcess(
        home, {"WINDSOCK_CONFIG": str(rules), "HOOK_URL": hook, "HOOK_SECRET": make_secret(), **env}
    )


def post(monitor: MonitorProcess, events: list[dict[str, Any]]) -> None:
    body = json.dumps(events)
    answer = httpx.post(
        f"{monitor.url}/api/v1/events", content=body, headers=sign(monitor.secret, body), trust_env=False
    )
    assert answer.json()["accepted"] == len(events), answer.text


def now() -> float:
    return (utc_now() - START).total_seconds() - 12


def test_one_trace_from_the_hooks_event_to_mail_and_webhook(
    tmp_path: Path, hooked: tuple[str, list[dict[str, str]]], collector: Collector
) -> None:
    url, got = hooked
    env = {
        "WINDSOCK_TRACES": "otlp",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    monitor = monitor_of(tmp_path, url, env)
    event = run_event("failed", start=now())
    told = trace_of(parse_event(event))
    try:
        monitor.start()
        post(monitor, [{**event, "traceparent": told}, task_event("failed", start=now())])
        wait.until(lambda: got and len(collector.named("send ")) == 2, "spans of mail and webhook")
    finally:
        monitor.stop()
    trace_id, parent = told.split("-")[1:3]
    (logged,) = collector.named("log airflow.dag_run")
    assert (logged.trace_id, logged.parent_id) == (trace_id, parent)
    (request,) = collector.named("ingest")
    assert logged.links == (request.span_id,)
    # The task's event came without a trace, and is in its run's all the same.
    assert [span.trace_id for span in collector.named("log airflow.task_instance")] == [trace_id]
    for channel in ("email", "webhook"):
        (delivered,) = collector.named(f"deliver {channel}")
        (sent,) = collector.named(f"send {channel}")
        assert (delivered.trace_id, delivered.parent_id) == (trace_id, parent)
        assert (sent.trace_id, sent.parent_id) == (trace_id, delivered.span_id)
        known = {"deployment": "local", "dag_id": "etl", "rule": "all", "attempt": 1, "outcome": "sent"}
        assert {
            f"windsock.{name}": value for name, value in known.items()
        }.items() <= delivered.attributes.items()
        assert not delivered.failed
    assert got[0]["traceparent"].split("-")[1:3] == [trace_id, collector.named("send webhook")[0].span_id]
    assert request.attributes == {"windsock.events": 2}
    assert logged.attributes["windsock.event_id"] == event["id"]
    assert collector.services == {"windsock"}
    sent_lines = [line for line in monitor.log.read_text().splitlines() if ": sent: " in line]
    assert len(sent_lines) == 2
    assert all(f"trace_id={trace_id}" in line for line in sent_lines)


def test_with_traces_off_a_webhook_carries_the_events_own(
    tmp_path: Path, hooked: tuple[str, list[dict[str, str]]]
) -> None:
    url, got = hooked
    monitor = monitor_of(tmp_path, url, {})
    event = run_event("failed", start=now())
    told = trace_of(parse_event(event))
    try:
        monitor.start()
        post(monitor, [{**event, "traceparent": told}])
        wait.until(lambda: got, "the webhook")
    finally:
        monitor.stop()
    assert got[0]["traceparent"] == told


@pytest.mark.slow
def test_a_collector_that_is_away_holds_up_nothing(
    tmp_path: Path, hooked: tuple[str, list[dict[str, str]]]
) -> None:
    url, got = hooked
    env = {"WINDSOCK_TRACES": "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    monitor = monitor_of(tmp_path, url, env)
    try:
        monitor.start()
        post(monitor, [run_event("failed", start=now())])
        wait.until(lambda: got, "the webhook")
    finally:
        assert monitor.stop() == 0


def test_off_imports_nothing_and_measures_nothing() -> None:
    code = "import sys, monitor.app; print([name for name in sys.modules if 'opentelemetry.sdk' in name])"
    done = run_process([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
    with OFF.span("x", parent="y", a=1) as first, OFF.span("z") as second:
        assert first is second
        assert not first.is_recording()
        assert traceparent_of(first) is None


@pytest.mark.parametrize("name", ["dag_run.failed", "task_instance.success", "dag.import_error.new"])
def test_plugin_and_monitor_derive_the_same_trace(name: str) -> None:
    from airflow_windsock import traces

    event = json.loads((REPOSITORY / f"tests/contract/{name}.json").read_text())["event"]
    event["time"] = event["time"] or "2026-11-22T10:00:07.500000Z"
    assert trace_of(parse_event(event)) == traces.derive_traceparent(event)
