"""Whom a rule and a DAG name, and what the names stand for."""

from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.events.event import parse_event
from monitor.mail_addresses import is_address
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Config, Rule
from monitor.rules.ruleset import Rules
from monitor.rules.targets import ChannelName, Target
from tests.sample import run_event

SECRET = "whsec_" + b64encode(bytes(32)).decode()
RECEIVERS: dict[str, Any] = {
    "ml-team": {"email": ["ml@example.com", "lead@example.com"], "timezone": "Asia/Tokyo"},
    "pager": {"apprise": ["pagerduty://one", "slack://two"]},
    "tickets": {
        "email": "Tickets@example.com",
        "webhook": [{"url": "https://t.example.com/in", "secret": SECRET}],
        "timezone": "America/New_York",
    },
}
ML, LEAD = Target(ChannelName.EMAIL, "ml@example.com"), Target(ChannelName.EMAIL, "lead@example.com")
PAGER = [Target(ChannelName.APPRISE, "pager#1"), Target(ChannelName.APPRISE, "pager#2")]
TICKETS = [Target(ChannelName.EMAIL, "Tickets@example.com"), Target(ChannelName.WEBHOOK, "tickets#1")]


def mail(address: str) -> Target:
    return Target(ChannelName.EMAIL, address)


def facts(tags: tuple[str, ...] = (), owners: tuple[str, ...] = ()) -> MatchSubject:
    return MatchSubject(parse_event(run_event("failed")), tags, owners)


def rules(**config: Any) -> Rules:
    return Rules(Config.model_validate({"receivers": RECEIVERS, "timezone": "Europe/Zurich", **config}))


def targets(
    to: tuple[str, ...], tags: tuple[str, ...], owners: tuple[str, ...], **config: Any
) -> list[Target]:
    return rules(**config).targets(Rule(name="r", to=to), facts(tags, owners))


@pytest.mark.parametrize(
    ("to", "tags", "owners", "told"),
    [
        ((), (), (), []),
        (("a@x.org",), (), (), [mail("a@x.org")]),
        (("ml-team", "pager"), (), (), [ML, LEAD, *PAGER]),
        (("tickets",), (), (), TICKETS),
        ((), ("notify:ml-team",), (), [ML, LEAD]),
        ((), ("notify: ml-team ",), (), [ML, LEAD]),
        ((), ("notify:b@x.org", "etl"), (), [mail("b@x.org")]),
        ((), ("notify:success",), (), []),
        ((), ("ml-team", "Notify:ml-team"), (), []),
        ((), (), ("ml-team", "ann"), [ML, LEAD]),
        ((), (), ("ann@x.org", "airflow"), [mail("ann@x.org")]),
        # Each once, in the first spelling that the file has.
        (("ml-team", "ML@example.com"), ("notify:ml@EXAMPLE.com",), ("ml-team",), [ML, LEAD]),
        ((), ("notify:ML@example.com",), (), [ML]),
        ((), ("notify:a@x.org", "notify:A@X.org"), (), [mail("a@x.org")]),
        (("pager",), ("notify:pager",), (), PAGER),
    ],
)
def test_who_is_told(
    to: tuple[str, ...], tags: tuple[str, ...], owners: tuple[str, ...], told: list[Target]
) -> None:
    assert targets(to, tags, owners) == told


def test_a_rule_that_does_not_route_tells_only_whom_it_names() -> None:
    rule = Rule(name="r", to=("a@x.org",), route=False)
    dag = facts(("notify:ml-team",), ("b@x.org",))
    assert rules().targets(rule, dag) == [mail("a@x.org")]
    assert rules().resolve_route(rule, dag).refused == ()


@pytest.mark.parametrize(
    ("routing", "tag", "told", "reason"),
    [
        ({}, "notify:a@anywhere.org", [mail("a@anywhere.org")], None),
        ({"domains": "example.com"}, "notify:a@Example.COM", [mail("a@Example.COM")], None),
        ({"domains": ["*.example.com"]}, "notify:a@b.example.com", [mail("a@b.example.com")], None),
        ({"domains": "example.com"}, "notify:a@evil.org", [], "routing.domains does not allow"),
        ({"domains": "example.com"}, "notify:a@example.com.evil.org", [], "routing.domains"),
        ({"domains": "example.com"}, "notify:a@evilexample.com", [], "routing.domains"),
        ({"domains": []}, "notify:a@example.com", [], "routing.domains"),
        ({"domains": []}, "notify:ml-team", [ML, LEAD], None),
        ({"receivers": "*-team"}, "notify:ml-team", [ML, LEAD], None),
        ({"receivers": "*-team"}, "notify:pager", [], "routing.receivers does not allow"),
        ({}, "notify:nobody", [], "there is no such receiver, and it is no mail address"),
        ({}, "notify:", [], "there is no such receiver"),
        ({}, "notify:a@x.org\r\nBcc: b@x.org", [], "no mail address"),
        ({}, "notify:a@x.org,b@x.org", [], "no mail address"),
    ],
)
def test_whom_a_dag_may_name(
    routing: dict[str, Any], tag: str, told: list[Target], reason: str | None
) -> None:
    rule, dag = Rule(name="r"), facts((tag,))
    assert rules(routing=routing).targets(rule, dag) == told
    refused = rules(routing=routing).resolve_route(rule, dag).refused
    assert len(refused) == (reason is not None)
    assert all(reason and reason in one and repr(tag) in one for one in refused)


def test_a_file_may_tell_whom_a_dag_may_not() -> None:
    closed = {"domains": ["example.com"], "receivers": []}
    assert targets(("a@x.org", "pager"), (), (), routing=closed) == [mail("a@x.org"), *PAGER]


def test_a_dag_names_a_few_people_only() -> None:
    many = tuple(f"notify:a{number}@x.org" for number in range(1000))
    routed = rules().resolve_route(Rule(name="r"), facts(many))
    assert len(routed.targets) == 20
    assert "20 at the most" in routed.refused[0]


def test_what_a_name_stands_for() -> None:
    known = rules()
    first, second = (known.resolve(target) for target in PAGER)
    assert first
    assert first.url.get_secret_value() == "pagerduty://one"
    assert second
    assert second.url.get_secret_value() == "slack://two"
    hook = known.resolve(TICKETS[1])
    assert hook
    assert hook.secret
    assert hook.url.get_secret_value() == "https://t.example.com/in"
    assert hook.secret.get_secret_value() == SECRET
    address = known.resolve(mail("a@x.org"))
    assert address
    assert address.url.get_secret_value() == "a@x.org"


@pytest.mark.parametrize(
    "target",
    [
        Target(ChannelName.APPRISE, "pager#0"),
        Target(ChannelName.APPRISE, "pager#3"),
        Target(ChannelName.APPRISE, "gone#1"),
        Target(ChannelName.APPRISE, "pager"),
        Target(ChannelName.APPRISE, "pager#-1"),
        Target(ChannelName.APPRISE, "tickets#1"),
        Target(ChannelName.WEBHOOK, "pager#1"),
        Target(ChannelName.WEBHOOK, "tickets#²"),
    ],
)
def test_a_name_that_stands_for_nothing_any_more(target: Target) -> None:
    assert rules().resolve(target) is None
    assert rules().timezone_of(target) == "Europe/Zurich"


@pytest.mark.parametrize(
    ("target", "zone"),
    [
        (ML, "Asia/Tokyo"),
        (mail("ML@example.com"), "Asia/Tokyo"),
        (mail("a@x.org"), "Europe/Zurich"),
        (PAGER[0], "Europe/Zurich"),
        (TICKETS[1], "America/New_York"),
    ],
)
def test_whose_clock_it_is(target: Target, zone: str) -> None:
    assert rules().timezone_of(target) == zone


def test_of_two_receivers_with_an_address_the_first_ones_clock_holds() -> None:
    twice = {
        "a": {"email": "x@y.org"},
        "b": {"email": "x@y.org", "timezone": "Asia/Tokyo"},
        "c": {"email": "X@y.org", "timezone": "UTC"},
    }
    assert rules(receivers=twice).timezone_of(mail("x@y.org")) == "Asia/Tokyo"


def test_secrets_are_in_no_word_about_the_rules() -> None:
    known = rules()
    told = f"{known.config!r} {known.config} {known.resolve(PAGER[0])} {known.resolve(TICKETS[1])}"
    assert SECRET not in told
    assert "pagerduty://one" not in told


@pytest.mark.parametrize(
    "text",
    [
        "a@b",
        "a.b+c@example.com",
        "o'neil@example.co.uk",
        "jürgen@exämple.ch",
        "用户@例子.公司",
        "a_b@x-y.org",
    ],
)
def test_addresses(text: str) -> None:
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a@b@c",
            "a b@c.org",
            "a@b c",
            "a@b..c",
            "a@.b",
            "a@b.",
            "a@-b.org",
            ".a@b",
        ),
        *("a.@b", "a..b@c", "Ann <a@b.org>", "<a@b.org>", '"a b"@c.org', "a@[127.0.0.1]", "a@b.org,c@d.org"),
        *(
            "a@b.org;c@d.org",
            "a@b.org\n",
            "a\r\n@b.org",
            "a@b.org\0",
            "a(b)@c.org",
            "a\u200b@b.org",
            "a@b\u2028c",
        ),
        *("mailto:a@b.org", "a@b.org?cc=x", "a" * 65 + "@b.org", "a@" + "b" * 300, "ü" * 33 + "@b.org"),
    ],
)
def test_what_is_no_address(text: str) -> None:
    assert not is_address(text)


@given(st.text(max_size=40))
def test_an_address_holds_nothing_that_a_header_would_read(text: str) -> None:
    if is_address(text):
        assert text.isprintable()
        assert not set(text) & set(' ,;:<>()[]"\\')
