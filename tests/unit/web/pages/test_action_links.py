"""The pages behind links in mails: no sign-in, a GET never acts, a POST acts; what does not work says why."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import Connection

from monitor.delivery.messages.links import EXPIRY
from monitor.events.event import parse_event
from monitor.notifications import incidents, silences
from monitor.notifications.incidents import Incident
from monitor.notifications.silences import Silence, SilenceScope, Unsubscribed
from monitor.rules.model import Match
from monitor.settings import Settings
from monitor.web.pages.action_links import mask_address
from monitor.web.pages.forms import BY_LINK
from tests.sample import asset_event, event, moment, run_event, task_event
from tests.unit.conftest import FakeClock
from tests.unit.web.pages.test_incidents import EVIL, fail, settled
from tests.unit.web_support import Served, SignInAirflow, serving, with_sign_in

ADDRESS = "jane.doe@example.com"
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def monitor(settings: Settings, clock: FakeClock) -> Iterator[Served]:
    """With sign-in: links need none."""
    with SignInAirflow().serving() as airflow, serving(with_sign_in(settings, airflow), clock) as monitor:
        monitor.client.headers["Accept"] = "text/html"
        yield monitor


def links(monitor: Served) -> dict[str, str]:
    """The path of a link of each purpose."""
    made = monitor.app.state.services.links
    urls = {
        "silence": made.silence("local", "etl"),
        "acknowledge": made.acknowledge(1),
        "unsubscribe": made.unsubscribe(ADDRESS, "failures"),
    }
    base = monitor.settings.url
    assert all(url.startswith(base) for url in urls.values())
    return {purpose: url.removeprefix(base) for purpose, url in urls.items()}


State = tuple[list[Silence], list[Incident], list[Unsubscribed]]


def state(monitor: Served) -> State:
    """All that links can change."""

    def look(connection: Connection) -> State:
        return (
            silences.page(connection, 10),
            incidents.page(connection, 10),
            silences.unsubscriptions(connection),
        )

    found: State = monitor.app.state.services.database.read_now(look)
    return found


def test_a_get_never_acts(monitor: Served) -> None:
    fail(monitor)
    before = state(monitor)
    for purpose, path in links(monitor).items():
        for method in ("GET", "HEAD", "OPTIONS"):
            monitor.client.request(method, path)
        queries = ("until=1h&reason=x", "action=stop", "List-Unsubscribe=One-Click", "action=acknowledge")
        for query in queries:
            answer = monitor.client.get(f"{path}?{query}")
            assert answer.status_code == 200, purpose
            assert answer.headers["cache-control"] == "no-store"
            assert "form-action 'self'" in answer.headers["content-security-policy"]
            assert answer.headers["referrer-policy"] == "same-origin"  # the token is not told to other sites
            assert "set-cookie" not in answer.headers
    assert state(monitor) == before


@pytest.mark.parametrize("purpose", list(EXPIRY))
def test_what_has_expired_does_nothing_and_says_what_to_do(
    monitor: Served, clock: FakeClock, purpose: str
) -> None:
    fail(monitor)
    path = links(monitor)[purpose]
    clock.forward(EXPIRY[purpose].total_seconds() + 1)
    before = state(monitor)
    for answer in (monitor.client.get(path), monitor.client.post(path, data={**ONE_CLICK, "until": "1h"})):
        assert answer.status_code == 410
        assert "This link has expired" in answer.text
        assert "/silences" in answer.text
    assert state(monitor) == before


@pytest.mark.parametrize("purpose", list(EXPIRY))
def test_what_is_forged_or_of_another_purpose_does_nothing(monitor: Served, purpose: str) -> None:
    fail(monitor)
    before = state(monitor)
    tokens = [path.rpartition("/")[2] for other, path in links(monitor).items() if other != purpose]
    for token in (*tokens, "nonsense", links(monitor)[purpose].rpartition("/")[2][:-2]):
        for method in ("GET", "POST"):
            answer = monitor.client.request(method, f"/links/{purpose}/{token}", data=ONE_CLICK)
            assert answer.status_code == 404
            assert "Nothing was done" in answer.text
    assert state(monitor) == before


def test_silencing(monitor: Served, clock: FakeClock) -> None:
    path = links(monitor)["silence"]
    page = monitor.client.get(path).text
    assert "the DAG etl" in page
    assert "until tomorrow, Monday 08:00 (UTC)" in page
    form = {"until": "8h", "reason": "the source is down", "name": "Jane"}
    answer = monitor.client.post(path, data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    (silence,) = state(monitor)[0]
    assert (silence.deployment, silence.dag_id) == ("local", "etl")
    assert (silence.author, silence.reason) == (f"Jane ({BY_LINK})", "the source is down")
    assert (silence.ends_at - clock.now).total_seconds() == 8 * 3600
    page = monitor.client.get(path).text
    assert "Silenced already" in page
    assert "the source is down" in page
    monitor.client.post(path, data={"action": "end", "silence_id": str(silence.id)})
    (silence,) = state(monitor)[0]
    assert silence.ended_by == BY_LINK
    assert "Silenced already" not in monitor.client.get(path).text


def test_silencing_until_a_moment_of_ones_own(monitor: Served) -> None:
    path = links(monitor)["silence"]
    answer = monitor.client.post(path, data={"until": "own", "own_end": "2026-11-22T09:00", "reason": "kept"})
    assert answer.status_code == 422
    assert "is over already" in answer.text
    assert 'value="kept"' in answer.text
    assert state(monitor)[0] == []
    monitor.client.post(path, data={"until": "own", "own_end": "2026-11-25T17:30"})
    (silence,) = state(monitor)[0]
    assert f"{silence.ends_at:%Y-%m-%d %H:%M}" == "2026-11-25 17:30"
    assert (silence.author, silence.reason) == (BY_LINK, "no reason given")


@pytest.mark.parametrize("form", [{}, {"until": "10y"}, {"until": "own"}, {"until": "own", "own_end": "x"}])
def test_silencing_for_no_time_is_asked_again(monitor: Served, form: dict[str, str]) -> None:
    assert monitor.client.post(links(monitor)["silence"], data=form).status_code == 422
    assert state(monitor)[0] == []


@pytest.mark.parametrize("field", ["reason", "name"])
def test_texts_are_bounded(monitor: Served, field: str) -> None:
    for text in ("x" * 501, "a\0b"):
        answer = monitor.client.post(links(monitor)["silence"], data={"until": "1h", field: text})
        assert answer.status_code == 422
        assert field in answer.text
    assert state(monitor)[0] == []


def test_a_link_makes_so_many_silences(monitor: Served, clock: FakeClock) -> None:
    path, signed_in = links(monitor)["silence"], SilenceScope(Match(deployment=("local",), dag_id=("etl",)))

    def post(number: int, until: str = "1h") -> None:
        form = {"until": until, "name": f"name {number}", "reason": f"reason {number}"}
        assert monitor.client.post(path, data=form).status_code == 303

    for number in range(20):
        post(number)
    (silence,) = state(monitor)[0]
    assert silence.author == f"name 0 ({BY_LINK})"
    post(20, "8h")
    post(21)  # it lasts longer already
    (silence,) = state(monitor)[0]
    assert (silence.author, silence.reason) == (f"name 20 ({BY_LINK})", "reason 20")
    assert silence.ends_at == clock.now + timedelta(hours=8)
    assert silence.is_of(signed_in)


def test_a_link_extends_no_silence_of_who_signed_in(monitor: Served, clock: FakeClock) -> None:
    path, database = links(monitor)["silence"], monitor.app.state.services.database
    match, end = Match(deployment=("local",), dag_id=("etl",)), clock.now + timedelta(minutes=5)

    def add(connection: Connection) -> Silence:
        return silences.add(connection, match, "ann", "hers", clock.now, end, clock.now)

    of_ann = database.write_now(add)
    assert monitor.client.post(path, data={"until": "1h"}).status_code == 303
    assert of_ann in state(monitor)[0]
    assert [one.author for one in state(monitor)[0]] == [BY_LINK, "ann"]
    clock.forward(3601)
    for _ in range(silences.MOST_ALIKE):
        end = clock.now + timedelta(minutes=5)
        database.write_now(add)
    answer = monitor.client.post(path, data={"until": "1h"})
    assert answer.status_code == 422
    assert "silences of the same" in answer.text


def test_no_link_silences_a_whole_airflow(monitor: Served) -> None:
    """Links of mails that an earlier version wrote still come."""
    services = monitor.app.state.services
    path = services.links.silence("local").removeprefix(monitor.settings.url)
    for method in ("GET", "POST"):
        answer = monitor.client.request(method, path, data={"until": "1h"})
        assert answer.status_code == 410
        assert "silences no whole Airflow" in answer.text
    assert state(monitor)[0] == []


def broken(filename: str, number: int = 0) -> dict[str, Any]:
    """An import error that a file has for the first time."""
    data = {"filename": filename, "stacktrace": f"NameError: {filename} {number}"}
    return event(
        "airflow.dag.import_error", f"import_error:{filename}{number}", filename, moment(number), data
    )


def silence_link(letter: Any) -> tuple[str, str]:
    """What the link of a mail says that it silences, and its path."""
    html = letter.get_body(("html",)).get_content()
    (found,) = re.findall(r'href="[^"]*(/links/silence/[^"]+)"[^>]*>([^<]+)<', html)
    return found[1], found[0]


def last_decision(monitor: Served, number: int) -> dict[str, Any]:
    found: dict[str, Any] = monitor.client.get(f"/api/v1/incidents/{number}").json()["decisions"][-1]
    return found


def test_the_link_of_an_import_error_silences_this_file_alone(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        assert monitor.post([broken("a.py")]).json()["accepted"] == 1
        settled(monitor)
        mailbox = monitor.app.state.services.mailbox
        (letter,) = (mailbox.get(one.id) for one in mailbox.mails(10))
        label, path = silence_link(letter)
        assert label == "Silence this incident"
        assert "a.py cannot be imported" in monitor.client.get(path).text
        assert monitor.client.post(path, data={"until": "1h"}).status_code == 303
        assert "Silenced already" in monitor.client.get(path).text
        monitor.post([broken("a.py", 1), broken("b.py"), run_event("failed", "etl")])
        settled(monitor)
        outcomes = {number: last_decision(monitor, number)["outcome"] for number in (1, 2, 3)}
        assert outcomes == {1: "suppressed", 2: "notified", 3: "notified"}
        (silence,) = state(monitor)[0]
        monitor.client.post(path, data={"action": "end", "silence_id": str(silence.id)})
        assert state(monitor)[0][0].ended_by == BY_LINK


def test_the_link_of_a_failed_run_silences_its_dag(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        fail(monitor)
        mailbox = monitor.app.state.services.mailbox
        (letter,) = (mailbox.get(one.id) for one in mailbox.mails(10))
        label, path = silence_link(letter)
        assert label == "Silence this DAG"
        monitor.client.post(path, data={"until": "1h"})
        (silence,) = state(monitor)[0]
        assert (silence.deployment, silence.dag_id, silence.incident_key) == ("local", "etl", None)


@pytest.mark.parametrize(
    ("told", "named"),
    [
        (run_event("success"), {"dag_id": "etl"}),
        (task_event("success"), {"dag_id": "etl", "task_id": "load"}),
        (asset_event(1), {"asset": "file:///model.pkl"}),
        (broken("a.py"), {}),
    ],
)
def test_a_mail_silences_what_it_is_about(told: dict[str, Any], named: dict[str, str]) -> None:
    assert silences.build_silence_fields(parse_event(told)) == named


def test_a_link_ends_silences_of_its_own_dag_alone(monitor: Served) -> None:
    services = monitor.app.state.services
    other = services.links.silence("local", "payroll").removeprefix(monitor.settings.url)
    monitor.client.post(other, data={"until": "1h"})
    monitor.client.post(links(monitor)["silence"], data={"action": "end", "silence_id": "1"})
    assert state(monitor)[0][0].ended_by is None


def test_a_name_with_a_glob_in_it_silences_no_others(monitor: Served) -> None:
    services = monitor.app.state.services
    path = services.links.silence("local", "etl*").removeprefix(monitor.settings.url)
    for method in ("GET", "POST"):
        answer = monitor.client.request(method, path, data={"until": "1h"})
        assert answer.status_code == 409
    assert state(monitor)[0] == []


def test_acknowledging(monitor: Served) -> None:
    fail(monitor)
    path = links(monitor)["acknowledge"]
    assert "etl fails" in monitor.client.get(path).text
    answer = monitor.client.post(path, data={"reason": "a ticket is open", "name": "Jane"})
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    page = monitor.client.get(path).text
    assert f"by Jane ({BY_LINK}): a ticket is open" in page
    monitor.client.post(path, data={"action": "take_back"})
    assert state(monitor)[1][0].acked_by is None
    monitor.client.post(path)
    assert (state(monitor)[1][0].acked_by, state(monitor)[1][0].ack_reason) == (BY_LINK, "no reason given")


def test_what_is_over_is_not_acknowledged(monitor: Served) -> None:
    fail(monitor)
    monitor.post([run_event("success", "etl", "run_9", start=60)])
    path = links(monitor)["acknowledge"]
    assert "There is nothing to acknowledge" in monitor.client.get(path).text
    assert monitor.client.post(path, data={"reason": "x"}).status_code == 303
    assert state(monitor)[1][0].acked_by is None


def test_an_incident_that_is_gone(monitor: Served) -> None:
    for method in ("GET", "POST"):
        assert monitor.client.request(method, links(monitor)["acknowledge"]).status_code == 404


def test_unsubscribing_and_taking_it_back(monitor: Served) -> None:
    path = links(monitor)["unsubscribe"]
    page = monitor.client.get(path).text
    assert "j…@example.com" in page
    assert "jane" not in page.replace(path, "")
    answer = monitor.client.post(path, data={"action": "stop"})
    assert (answer.status_code, answer.headers["location"]) == (303, path)
    assert [row[:2] for row in state(monitor)[2]] == [(ADDRESS, "failures")]
    assert "Unsubscribed" in monitor.client.get(path).text
    monitor.client.post(path, data={"action": "resume"})
    assert state(monitor)[2] == []


@pytest.mark.parametrize("as_multipart", [False, True])
def test_one_click_unsubscribes(monitor: Served, as_multipart: bool) -> None:
    """RFC 8058: by a program without cookies, in either encoding, again and again, without a redirect."""
    path = links(monitor)["unsubscribe"]
    sent: dict[str, Any] = {"data": ONE_CLICK}
    if as_multipart:
        sent = {"files": {"List-Unsubscribe": (None, "One-Click")}}
    for _ in range(2):
        answer = httpx.post(f"{monitor.url}{path}", **sent)
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    assert [row[:2] for row in state(monitor)[2]] == [(ADDRESS, "failures")]


def test_one_click_stops_the_mail(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        made = monitor.app.state.services.links
        path = made.unsubscribe("OPS@example.com", "failures").removeprefix(monitor.settings.url)
        assert monitor.client.post(path, data=ONE_CLICK).status_code == 200
        fail(monitor)
        (decision,) = monitor.client.get("/api/v1/incidents/1").json()["decisions"]
        assert (decision["outcome"], decision["notification_id"]) == ("suppressed", None)
        assert "unsubscribed" in decision["reason"]


def test_the_links_of_a_real_mail_work(settings: Settings, clock: FakeClock) -> None:
    with serving(settings, clock) as monitor:
        fail(monitor)
        mailbox = monitor.app.state.services.mailbox
        (letter,) = (mailbox.get(one.id) for one in mailbox.mails(10))
        text = letter.get_body(("plain",)).get_content()
        for purpose in ("silence", "acknowledge"):
            (url,) = re.findall(rf"\S+/links/{purpose}/\S+", text)
            assert monitor.client.get(url.removeprefix(monitor.settings.url)).status_code == 200
        assert letter["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
        (url,) = re.findall(r"<(http[^>]+)>", letter["List-Unsubscribe"])
        path = url.removeprefix(monitor.settings.url)
        assert monitor.client.post(path, data=ONE_CLICK).status_code == 200
        assert [row[:2] for row in state(monitor)[2]] == [("ops@example.com", "failures")]


@pytest.mark.parametrize("form", [{}, {"List-Unsubscribe": "maybe"}, {"action": "all"}])
def test_what_is_no_one_click_is_refused(monitor: Served, form: dict[str, str]) -> None:
    answer = monitor.client.post(links(monitor)["unsubscribe"], data=form)
    assert answer.status_code == 422
    assert "RFC 8058" in answer.text
    assert state(monitor)[2] == []


def test_foreign_pages_cause_nothing_but_a_one_click(monitor: Served) -> None:
    fail(monitor)
    paths = links(monitor)
    for headers in (EVIL, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        for purpose in ("silence", "acknowledge"):
            answer = monitor.client.post(paths[purpose], data={"until": "1h"}, headers=headers)
            assert answer.status_code == 403
        assert monitor.client.post(paths["unsubscribe"], data=ONE_CLICK, headers=headers).status_code == 200
    assert state(monitor)[0] == []
    assert state(monitor)[1][0].acked_by is None


def test_a_form_is_not_read_without_end(monitor: Served) -> None:
    path = links(monitor)["unsubscribe"]
    assert monitor.client.post(path, data={"List-Unsubscribe": "x" * 70_000}).status_code == 413


@pytest.mark.parametrize(
    ("address", "shown"),
    [("j@example.com", "j…@example.com"), ('"a@b"@example.com', '"…@example.com'), ("ünï@x.ch", "ü…@x.ch")],
)
def test_addresses_are_masked(address: str, shown: str) -> None:
    assert mask_address(address) == shown


def test_hostile_texts_stay_texts(monitor: Served) -> None:
    attack = "\"'><script>0wned()</script>{{ 7*191 }}\u202e"
    services = monitor.app.state.services
    path = services.links.silence("local", f"dag{attack}".replace("*", "")).removeprefix(monitor.settings.url)
    monitor.client.post(path, data={"until": "1h", "reason": attack, "name": attack[:90]})
    for address in (path, services.links.unsubscribe(f"{attack}@x.ch", attack)):
        page = monitor.client.get(address.removeprefix(monitor.settings.url)).text
        assert "0wned" in page
        assert "<script>0wned" not in page
        assert "1337" not in page
        assert "\u202e" not in page
