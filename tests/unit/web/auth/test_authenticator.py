"""Sign-in with Airflow's names and passwords, and what each may then see, on every surface."""

import html
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.policy import SMTP
from urllib.parse import quote, urlencode

import httpx
import pytest
from pydantic import SecretStr

from monitor.delivery.messages import links
from monitor.delivery.messages.model import RunInfo
from monitor.notifications.outbox import queries
from monitor.settings import Settings
from monitor.web.auth import rate_limit
from monitor.web.auth.permissions import RIGHTS_SECONDS, STALE_SECONDS
from monitor.web.auth.sessions import SESSION_SECONDS
from monitor.web.pages.login import own_path
from monitor.web.security import MAX_FORM
from tests import wait
from tests.sample import asset_event, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.web_support import (
    MONITOR_USER,
    FeedReader,
    Served,
    SignInAirflow,
    hidden,
    serving,
    try_to_sign_in,
    with_sign_in,
)

ALICE = ("alice", "alice's secret")


@pytest.fixture
def airflow() -> Iterator[SignInAirflow]:
    with SignInAirflow().serving() as airflow:
        airflow.add(*ALICE, ["etl", "training"])
        airflow.add("bob", "bob's secret", ["payroll"])
        yield airflow


@pytest.fixture
def monitor(settings: Settings, airflow: SignInAirflow, clock: FakeClock) -> Iterator[Served]:
    with serving(with_sign_in(settings, airflow), clock) as monitor:
        yield monitor


@pytest.fixture
def browser(monitor: Served) -> Iterator[httpx.Client]:
    """Keeps cookies, asks for pages, and does not follow redirects."""
    with httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as browser:
        yield browser


@pytest.fixture
def alice(browser: httpx.Client) -> httpx.Client:
    answer = try_to_sign_in(browser, *ALICE)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    return browser


PAGES = (
    "/",
    "/events/list",
    "/mail",
    "/status",
    "/runs/local/etl/manual__1",
    "/deliveries/1",
    "/incidents",
    "/incidents/1",
    "/silences",
    "/silences/new",
    "/settings",
    "/templates",
    "/templates/run_failed",
    "/templates/run_failed/html",
)
API = (
    "/events",
    "/api",
    "/api/v1/events",
    "/api/v1/runs",
    "/api/v1/assets",
    "/api/v1/deliveries",
    "/api/v1/incidents",
    "/api/v1/incidents/1",
    "/api/v1/silences",
    "/api/v1/silences/1",
    "/api/v1/events/x/decisions",
)


@pytest.mark.parametrize("path", PAGES)
def test_pages_send_strangers_to_sign_in_and_back(browser: httpx.Client, path: str) -> None:
    answer = browser.get(path + "?a=b")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/login?next={path}%3Fa%3Db"


@pytest.mark.parametrize("path", [*API, "/api/v1/runs/etl/manual__1", "/api/v1/deliveries/1"])
def test_programs_are_told_401(monitor: Served, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Cookie": "windsock_session=forged.sig"}):
        answer = monitor.client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


def test_probes_need_no_sign_in_and_tell_no_details(monitor: Served, alice: httpx.Client) -> None:
    assert monitor.client.get("/livez").json() == {"status": "ok"}
    ready = monitor.client.get("/readyz").json()
    assert (ready["status"], set(ready)) == ("ok", {"status", "written_seconds_ago"})
    assert set(monitor.client.get("/health").json()) == {"status"}
    assert "database" in alice.get("/health").json()["parts"]
    monitor.post([run_event(dag_id="secret_dag"), task_event(task_id="secret_task", dag_id="secret_dag")])
    metrics = monitor.client.get("/metrics").text
    assert "windsock_events_total" in metrics
    assert "secret" not in metrics


def test_error_pages_keep_the_navigation_of_whoever_is_signed_in(
    monitor: Served, alice: httpx.Client
) -> None:
    html = {"Accept": "text/html"}
    for path, status in (("/nowhere", 404), ("/incidents/999", 404)):
        page = alice.get(path, headers=html)
        assert (page.status_code, "Sign out" in page.text) == (status, True)
        assert 'aria-label="Pages"' in page.text
    refused = alice.post("/silences", headers=html, data={"csrf": "wrong"})
    assert (refused.status_code, 'aria-label="Pages"' in refused.text) == (403, True)
    assert 'aria-label="Pages"' not in monitor.client.get("/nowhere", headers=html).text  # a stranger's


def test_the_cookie(alice: httpx.Client, monitor: Served) -> None:
    alice.cookies.clear()
    answer = try_to_sign_in(alice, *ALICE)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert f"Max-Age={SESSION_SECONDS}" in cookie
    assert ALICE[1] not in cookie
    assert "token-" not in cookie
    assert "Secure" not in cookie


def test_the_cookie_is_secure_where_the_monitor_is_reached_by_https(
    settings: Settings, airflow: SignInAirflow
) -> None:
    https = with_sign_in(settings, airflow).model_copy(update={"public_url": "https://windsock.example"})
    with serving(https) as monitor:
        page = monitor.client.get("/login")
        assert "Secure" in page.headers["set-cookie"]
        form = {"username": ALICE[0], "password": ALICE[1], "csrf": hidden("csrf", page.text)}
        cookies = {"Cookie": f"windsock_form={form['csrf']}"}
        answer = monitor.client.post("/login", data=form, headers=cookies)
        assert answer.status_code == 303
        assert all("Secure" in cookie for cookie in answer.headers.get_list("set-cookie")[:1])


def test_signing_in_leads_back_to_the_page(browser: httpx.Client) -> None:
    answer = try_to_sign_in(browser, *ALICE, target="/runs/local/etl/a%2Bb?x=1")
    assert answer.headers["location"] == "/runs/local/etl/a%2Bb?x=1"
    assert "alice" in browser.get("/").text


RUN_IDS = (
    *("manual__2026-11-22T10:00:00+00:00", "run id with spaces", "path/to/media.wav", "100% done", "a?b=c"),
    *("a#b", "größe 日本", "x%2Fy", "semi;colon&amp=1", "back\\slash", "a//b", "//evil.example/x", "tail/"),
    "日" * 250,
)


def test_a_mails_link_leads_to_its_run_through_the_sign_in(monitor: Served) -> None:
    monitor.post([run_event("failed", run_id=run_id) for run_id in RUN_IDS])
    shown = {}
    for run_id in RUN_IDS:
        with httpx.Client(base_url=monitor.url, headers={"Accept": "text/html"}) as stranger:
            asked = stranger.get(links.monitor_run(monitor.url, RunInfo("local", "etl", run_id, "failed")))
            page = stranger.get(asked.headers["location"]).text
            form = {name: html.unescape(hidden(name, page)) for name in ("next", "csrf")}
            answer = stranger.post("/login", data=form | {"username": ALICE[0], "password": ALICE[1]})
            there = stranger.get(answer.headers["location"])
            shown[run_id] = there.url.path != "/" and html.escape(run_id) in there.text
    assert shown == dict.fromkeys(RUN_IDS, True)


@pytest.mark.parametrize("target", ["//[", "http://[", "/" + "a" * 60_000, "[", "//[::1", "/\ud800"])
def test_an_odd_target_is_the_dashboard(browser: httpx.Client, target: str) -> None:
    odd = target.encode("utf-8", "surrogatepass")
    page = browser.get("/login?next=" + quote(odd[:2_000]))
    form = {"username": ALICE[0], "password": ALICE[1], "csrf": hidden("csrf", page.text)}
    answer = browser.post(
        "/login",
        content=f"{urlencode(form)}&next={quote(odd)}",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
    )
    assert (page.status_code, answer.status_code) == (200, 303)
    assert answer.headers["location"] in ("/", "/" + quote("\ufffd" * 3))


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "javascript:alert(1)",
        "evil",
        "",
        "///evil.example",
        "/\n/evil",
        "http:evil.example",
    ],
)
def test_no_other_site_is_gone_to(target: str) -> None:
    assert own_path(target) == "/"


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("nobody", "x")])
def test_a_wrong_password(browser: httpx.Client, user: str, password: str) -> None:
    answer = try_to_sign_in(browser, user, password)
    assert answer.status_code == 401
    assert "does not accept" in answer.text
    assert "windsock_session" not in browser.cookies
    assert browser.get("/").status_code == 303


def test_an_airflow_that_is_away_is_said_so(browser: httpx.Client, airflow: SignInAirflow) -> None:
    airflow.away = True
    answer = try_to_sign_in(browser, *ALICE)
    assert answer.status_code == 503
    assert "cannot be reached" in answer.text


def test_guessing_is_slowed_down(browser: httpx.Client, airflow: SignInAirflow, clock: FakeClock) -> None:
    for _ in range(rate_limit.FAILURES):
        assert try_to_sign_in(browser, "alice", "guess").status_code == 401
    asked = airflow.logins
    refused = try_to_sign_in(browser, *ALICE)
    assert refused.status_code == 429
    assert str(rate_limit.WINDOW_SECONDS) in refused.text
    assert airflow.logins == asked  # Airflow is not even asked
    clock.forward(rate_limit.WINDOW_SECONDS)
    assert try_to_sign_in(browser, *ALICE).status_code == 303


def test_guesses_from_elsewhere_shut_nobody_out(
    settings: Settings, airflow: SignInAirflow, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 3 * rate_limit.FAILURES
    monkeypatch.setattr("monitor.web.auth.authenticator.MOST_FAILURES", most)
    proxied = with_sign_in(settings, airflow).model_copy(update={"trusted_proxies": ("127.0.0.1",)})

    def sign_in(password: str, address: str) -> int:
        with httpx.Client(base_url=served.url, headers={"X-Forwarded-For": address}) as browser:
            return try_to_sign_in(browser, ALICE[0], password).status_code

    with serving(proxied, clock) as served, httpx.Client(base_url=served.url) as alice:
        assert try_to_sign_in(alice, *ALICE).status_code == 303
        for number in range(most):
            address = f"198.51.100.{number // rate_limit.FAILURES}"
            assert sign_in("guess", address) == 401
            if number == most - 2:
                assert sign_in(ALICE[1], "198.51.100.0") == 429  # from where somebody guessed
                assert sign_in(ALICE[1], "192.0.2.1") == 303
        # So many addresses at once are one attack: the name waits, and who is signed in stays so.
        assert sign_in(ALICE[1], "192.0.2.1") == 429
        assert alice.get("/api/v1/runs").status_code == 200
        clock.forward(rate_limit.WINDOW_SECONDS)
        assert sign_in(ALICE[1], "192.0.2.1") == 303


def test_guessing_tokens_is_slowed_down(monitor: Served, airflow: SignInAirflow, clock: FakeClock) -> None:
    for number in range(rate_limit.FAILURES):
        headers = {"Authorization": f"Bearer guess-{number}"}
        assert monitor.client.get("/api/v1/runs", headers=headers).status_code == 401
    answer = monitor.client.get("/api/v1/runs", headers={"Authorization": "Bearer guess"})
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) <= rate_limit.WINDOW_SECONDS


def test_the_form_of_another_site_signs_nobody_in(browser: httpx.Client) -> None:
    token = hidden("csrf", browser.get("/login").text)
    form = {"username": ALICE[0], "password": ALICE[1]}
    assert browser.post("/login", data={**form, "csrf": "other"}).status_code == 403
    foreign = browser.post("/login", data={**form, "csrf": token}, headers={"Origin": "https://evil.example"})
    assert foreign.status_code == 403
    browser.cookies.clear()
    assert browser.post("/login", data={**form, "csrf": token}).status_code == 403


def test_a_form_is_not_read_without_end(browser: httpx.Client) -> None:
    assert browser.post("/login", data={"username": "x" * MAX_FORM}).status_code == 413
    assert browser.post("/login", content=iter([b"username=", b"x"])).status_code == 411


def test_effects_need_the_token_of_the_session(alice: httpx.Client, monitor: Served) -> None:
    monitor.post([run_event("failed")])
    csrf = hidden("csrf", alice.get("/").text)
    for path in ("/api/v1/deliveries/1/resend", "/deliveries/1/resend", "/logout"):
        assert alice.post(path).status_code == 403
        assert alice.post(path, data={"csrf": "wrong"}).status_code == 403
        assert alice.post(path, headers=[(b"X-CSRF-Token", b"\xfcnwrong")]).status_code == 403
    assert alice.post("/api/v1/deliveries/99/resend", headers={"X-CSRF-Token": csrf}).status_code == 404
    assert alice.post("/logout", data={"csrf": csrf}).headers["location"] == "/login"
    assert alice.get("/").status_code == 303


def test_signing_out_ends_the_session_for_a_copied_cookie_too(alice: httpx.Client, monitor: Served) -> None:
    copied = {"Cookie": f"windsock_session={alice.cookies['windsock_session']}"}
    assert monitor.client.get("/api/v1/runs", headers=copied).status_code == 200
    alice.post("/logout", data={"csrf": hidden("csrf", alice.get("/").text)})
    assert monitor.client.get("/api/v1/runs", headers=copied).status_code == 401


def test_a_session_ends_by_itself(alice: httpx.Client, clock: FakeClock) -> None:
    clock.forward(SESSION_SECONDS - 1)
    assert alice.get("/").status_code == 200
    clock.forward(1)
    assert alice.get("/").status_code == 303


@pytest.mark.parametrize("is_set", [True, False])
def test_a_restart_signs_nobody_out_where_there_is_a_secret_of_ones_own(
    settings: Settings, airflow: SignInAirflow, is_set: bool
) -> None:
    secret = (SecretStr("s" * 40),) if is_set else ()
    kept = with_sign_in(settings, airflow).model_copy(update={"session_secret": secret})
    with serving(kept) as monitor:
        browser = httpx.Client(base_url=monitor.url)
        try_to_sign_in(browser, *ALICE)
        cookie = browser.cookies["windsock_session"]
        browser.close()
    with serving(kept) as monitor:
        answer = monitor.client.get("/api/v1/runs", headers={"Cookie": f"windsock_session={cookie}"})
        assert answer.status_code == (200 if is_set else 401)


def fill(monitor: Served) -> None:
    """The same of three DAGs: one that alice may read, one that she may not, and one that nobody may."""
    for number, dag_id in enumerate(("etl", "payroll", "nobodys")):
        monitor.post(
            [
                task_event("failed", f"task_of_{dag_id}", dag_id, error={"message": f"error of {dag_id}"}),
                asset_event(number, f"file:///asset_of_{dag_id}", source_dag_id=dag_id),
                run_event("failed", dag_id),
            ]
        )
    services = monitor.app.state.services
    found = services.database.read_now(lambda connection: queries.deliveries(connection, 10))
    assert len(found) == 3
    for message_id, name in [*((d.message_id, d.dag_id) for d in found), ("<a.task@wrote.it>", "nobodys")]:
        letter = EmailMessage(policy=SMTP)
        letter["Message-ID"], letter["Subject"] = message_id, f"mail of {name}"
        letter.set_content(name)
        letter.add_alternative(f"<p>{name}</p>", subtype="html")
        services.mailbox.file(letter.as_bytes(), ["ops@example.com"])


SURFACES = (
    "/",
    "/events/list",
    "/mail",
    "/api/v1/events",
    "/api/v1/runs",
    "/api/v1/assets",
    "/api/v1/deliveries",
    "/api/v1/incidents",
    "/incidents",
)


@pytest.mark.parametrize("path", SURFACES)
def test_each_sees_the_own_dags_alone(alice: httpx.Client, monitor: Served, path: str) -> None:
    fill(monitor)
    text = alice.get(path).text
    assert "etl" in text
    assert "payroll" not in text
    assert "nobodys" not in text


def test_the_mail_that_tasks_wrote_is_for_those_who_read_every_dag(
    browser: httpx.Client, monitor: Served, airflow: SignInAirflow
) -> None:
    every = ["etl", "payroll", "nobodys"]
    airflow.dags[MONITOR_USER[0]] = every
    airflow.add("chief", "chief's secret", every)
    airflow.add("clerk", "clerk's secret", every[:2])
    fill(monitor)
    for user, seen in (("chief", 4), ("clerk", 2)):
        try_to_sign_in(browser, user, f"{user}'s secret")
        assert len(set(re.findall(r"/mail/[0-9a-f-]+", browser.get("/mail").text))) == seen


def test_single_things_of_others_are_not_found(alice: httpx.Client, monitor: Served) -> None:
    fill(monitor)
    rows = monitor.app.state.services.mailbox.mails(10)
    letters = {row.id: "etl" in row.subject for row in rows}
    assert sorted(letters.values()) == [False, False, False, True]
    for letter, own in letters.items():
        for path in (f"/mail/{letter}", f"/mail/{letter}/html"):
            assert alice.get(path).status_code == (200 if own else 404)
    for dag_id, status in (("etl", 200), ("payroll", 404), ("nobodys", 404)):
        assert alice.get(f"/runs/local/{dag_id}/manual__1").status_code == status
        assert alice.get(f"/api/v1/runs/{dag_id}/manual__1").status_code == status
    deliveries = {d["id"] for d in alice.get("/api/v1/deliveries").json()["deliveries"]}
    csrf = {"X-CSRF-Token": hidden("csrf", alice.get("/").text)}
    for number in (1, 2, 3):
        found = number in deliveries
        assert alice.get(f"/deliveries/{number}").status_code == (200 if found else 404)
        assert alice.get(f"/api/v1/deliveries/{number}").status_code == (200 if found else 404)
        if not found:
            assert alice.post(f"/api/v1/deliveries/{number}/resend", headers=csrf).status_code == 404
    assert alice.get("/api?dag_id=payroll").json()["run"] is None
    assert "No run yet" in alice.get("/status?dag_id=payroll").text


def test_a_feed_tells_the_own_dags_alone_and_follows_the_rights(
    alice: httpx.Client, monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    cookie = {"Cookie": f"windsock_session={alice.cookies['windsock_session']}"}
    with FeedReader(monitor.url, headers=cookie) as reader:
        fill(monitor)
        own = reader.wait_for(3)
        assert {told["data"].get("dag_id") or told["data"]["source_dag_id"] for told in own} == {"etl"}
        airflow.dags["alice"] = ["payroll"]
        clock.forward(RIGHTS_SECONDS)
        # else within seconds: monitor/feed/subscriber.py
        monitor.app.state.services.feed_server.rights_changed()
        monitor.post([run_event(dag_id="etl", run_id="2"), run_event(dag_id="payroll", run_id="2")])
        assert reader.wait_for(4)[3]["data"]["dag_id"] == "payroll"


def test_signing_out_ends_the_feed(alice: httpx.Client, monitor: Served) -> None:
    cookie = {"Cookie": f"windsock_session={alice.cookies['windsock_session']}"}
    with FeedReader(monitor.url, headers=cookie) as reader:
        alice.post("/logout", data={"csrf": hidden("csrf", alice.get("/").text)})
        monitor.post([run_event()])  # it asks for its rights before it tells anything
        wait.until(reader.ended.is_set, "the feed to end")
        assert reader.events == []
        assert reader.error is None


def test_a_program_reads_with_airflows_token(
    monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    fill(monitor)
    bearer = {"Authorization": f"Bearer {airflow.token('bob')}"}
    runs = monitor.client.get("/api/v1/runs", headers=bearer).json()["runs"]
    assert [run["dag_id"] for run in runs] == ["payroll"]
    asked = airflow.asked
    assert monitor.client.get("/api/v1/events", headers=bearer).status_code == 200
    assert airflow.asked == asked  # what Airflow said is taken as said for a minute
    (delivery,) = monitor.client.get("/api/v1/deliveries", headers=bearer).json()["deliveries"]
    again = monitor.client.post(f"/api/v1/deliveries/{delivery['id']}/resend", headers=bearer)
    assert again.status_code == 202  # no CSRF token: no browser sends a bearer token by itself
    airflow.tokens.clear()
    clock.forward(RIGHTS_SECONDS)
    assert monitor.client.get("/api/v1/runs", headers=bearer).status_code == 401


def test_an_airflow_that_is_away_signs_nobody_out_for_a_while(
    alice: httpx.Client, monitor: Served, airflow: SignInAirflow, clock: FakeClock
) -> None:
    fill(monitor)
    assert "etl" in alice.get("/").text
    airflow.away = True
    clock.forward(RIGHTS_SECONDS)
    assert "etl" in alice.get("/").text
    clock.forward(STALE_SECONDS)
    answer = alice.get("/")
    assert answer.status_code == 503
    assert "etl" not in answer.text
    airflow.away = False
    assert alice.get("/").status_code == 200


def test_a_token_that_airflow_no_longer_takes_ends_the_session(
    alice: httpx.Client, airflow: SignInAirflow, clock: FakeClock
) -> None:
    assert alice.get("/").status_code == 200
    airflow.tokens.clear()
    clock.forward(RIGHTS_SECONDS)
    assert alice.get("/").status_code == 303


def test_nobody_is_asked_to_sign_in_where_it_is_off(settings: Settings) -> None:
    with serving(settings) as monitor:
        assert monitor.client.get("/login").headers["location"] == "/"
        page = monitor.client.get("/").text
        assert "Sign out" not in page
