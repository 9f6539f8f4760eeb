"""Behind a real nginx with TLS and a path prefix, by the configuration that docs/proxy.md tells: where it
hands the path on, and where it cuts it off.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest

from monitor.settings import Settings
from tests import wait
from tests.nginx_server import PAGE, NginxServer
from tests.ports import free_port
from tests.sample import run_event
from tests.unit.web.auth.test_authenticator import ALICE
from tests.unit.web_support import (
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

PAGES = ("/", "/incidents", "/events/list", "/mail", "/silences", "/status", "/templates", "/tokens", "/docs")


@dataclass
class Stage:
    monitor: Served
    nginx: NginxServer
    browser: httpx.Client
    """At the proxy; keeps cookies and follows no redirect."""


@pytest.fixture(params=["kept", "cut"])
def stage(request: pytest.FixtureRequest, settings: Settings) -> Iterator[Stage]:
    port = free_port()
    nginx = NginxServer(port, cuts=request.param == "cut")
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl"])
        public = {"public_url": nginx.url, "port": port, "trusted_proxies": ("127.0.0.1",)}
        with (
            serving(with_sign_in(settings, airflow).model_copy(update=public)) as monitor,
            httpx.Client(
                base_url=nginx.url, verify=nginx.trusted, headers={"Accept": "text/html"}
            ) as browser,
        ):
            nginx.start()
            try:
                yield Stage(monitor, nginx, browser)
            finally:
                nginx.stop()


def test_signing_in_pages_and_what_they_load(stage: Stage) -> None:
    browser = stage.browser
    assert browser.get("/").headers["location"] == "/windsock/login?next=/"
    assert browser.get(f"https://localhost:{stage.nginx.port}/windsock").headers["location"] == "/windsock/"
    plain = httpx.get(f"http://localhost:{stage.nginx.http_port}/windsock/")
    assert (plain.status_code, plain.headers["location"]) == (301, "https://localhost/windsock/")
    signed_in = try_to_sign_in(browser, *ALICE, target="/incidents")
    assert (signed_in.status_code, signed_in.headers["location"]) == (303, "/windsock/incidents")
    (cookie,) = [one for one in signed_in.headers.get_list("set-cookie") if "windsock_session" in one]
    for attribute in ("Path=/windsock/", "Secure", "HttpOnly", "SameSite=lax"):
        assert attribute in cookie.split("; ")
    stage.monitor.post([run_event("failed")])
    for path in PAGES:
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "max-age" in answer.headers["strict-transport-security"]
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        links = re.findall(r'(?:href|src|action|data-feed)="(/[^"]*)"', answer.text)
        assert links
        assert [link for link in links if not link.startswith("/windsock/")] == []
    for file in ("page.js", "live.js", "windsock.css", "shapes.svg"):
        assert browser.get(f"/static/{file}").status_code == 200
    csrf = hidden("csrf", browser.get("/").text)
    own = {"Origin": f"https://localhost:{stage.nginx.port}"}
    left = browser.post("/logout", data={"csrf": csrf}, headers=own)
    assert (left.status_code, left.headers["location"]) == (303, "/windsock/login")
    assert browser.get("/").status_code == 303


def test_events_arrive_at_once_though_nginx_buffers_and_go_on_after_it_was_killed(stage: Stage) -> None:
    assert "proxy_buffering off" not in PAGE.read_text().split("```nginx")[1]
    assert try_to_sign_in(stage.browser, *ALICE).status_code == 303
    cookie = {"Cookie": f"windsock_session={stage.browser.cookies['windsock_session']}"}
    with FeedReader(stage.nginx.url, headers=cookie, verify=stage.nginx.trusted) as reader:
        stage.monitor.post([run_event("running")])
        reader.wait_for(1)  # the answer goes on: what is buffered until its end would never come
        seen = reader.messages[-1].id
        stage.nginx.kill()
        wait.until(reader.ended.is_set, "the feed to break off")
    stage.monitor.post([run_event("success")])
    stage.nginx.start()
    again = cookie | {"Last-Event-ID": seen}
    with FeedReader(stage.nginx.url, headers=again, verify=stage.nginx.trusted) as reader:
        stage.monitor.post([run_event("running", run_id="manual__2")])
        told = [(event["data"]["run_id"], event["data"]["state"]) for event in reader.wait_for(2)]
        assert told == [("manual__1", "success"), ("manual__2", "running")]


def test_a_whole_batch_passes(stage: Stage) -> None:
    """As long as the monitor takes: nginx's own limit is a quarter of it."""
    body = b"[" + b" " * (4 * 1024 * 1024 - 2) + b"]"
    headers = {"Content-Type": "application/cloudevents-batch+json", "Authorization": "Bearer wst_guess"}
    answer = stage.browser.post("/api/v1/events", content=body, headers=headers)
    assert "no such token" in answer.json()["detail"]  # the monitor's own word, and not nginx's 413
