"""Addresses, senders with a name, and what a host calls itself."""

from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.utils import getaddresses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.delivery.messages.mime import FoldedHeader
from monitor.errors import SettingsError
from monitor.mail_addresses import SenderAddress, ascii_address, greeting, is_address, is_greeting
from monitor.settings_loading import load_settings


def read(sender: SenderAddress) -> list[tuple[str, str]]:
    """The mailboxes that a reader finds in From, as the header is sent."""
    message = EmailMessage()
    message["From"] = FoldedHeader("From", sender.header())
    raw = message.as_bytes(policy=policy.SMTP)
    assert raw.isascii()
    assert max(map(len, raw.splitlines())) <= 998
    header = message_from_bytes(raw, policy=policy.compat32)["From"]
    # Not by header.addresses: Python 3.11 keeps the spaces between two encoded words of a name.
    found = getaddresses(["".join(header.splitlines())])
    return [(str(make_header(decode_header(name))), address) for name, address in found]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("w@example.com", "Windsock"),
        ("<w@example.com>", "Windsock"),
        ("Ops <w@example.com>", "Ops"),
        ("A. Bot <w@example.com>", "A. Bot"),
        ('"Data, Platform" <w@example.com>', "Data, Platform"),
        ('"Ops: Airflow" <w@example.com>', "Ops: Airflow"),
        ('"Windsock (prod)" <w@example.com>', "Windsock (prod)"),
        ('"ops@team" <w@example.com>', "ops@team"),
        ('"the \\"real\\" one" <w@example.com>', 'the "real" one'),
        ("Wächter <w@example.com>", "Wächter"),
        ('"Wächter, Daten" <w@example.com>', "Wächter, Daten"),
        ("=?utf-8?q?W=C3=A4chter?= <w@example.com>", "Wächter"),
        (f'"Data, {"platform " * 20}team" <w@example.com>', f"Data, {'platform ' * 20}team"),
        (f'"{"Größe, " * 20}x" <w@example.com>', f"{'Größe, ' * 20}x"),
    ],
)
def test_a_sender_is_read_as_it_was_meant(text: str, name: str) -> None:
    assert read(SenderAddress.parse(text)) == [(name, "w@example.com")]


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=("C", "Z"), include_characters=" "), min_size=1, max_size=80))
def test_any_name_comes_through(name: str) -> None:
    name = " ".join(name.split())
    if name:
        assert read(SenderAddress(name, "w@example.com")) == [(name, "w@example.com")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Windsock",
        "Data, Platform <w@example.com>",
        "Ops: Airflow <w@example.com>",
        "ops@team <w@example.com>",
        "Windsock (prod) <w@example.com>",
        "'w@example.com'",
        '"w@example.com"',
        "a@example.com, b@example.com",
        "Ops <w@example.com",
        "Ops <w@example..com>",
        "Ops <w@[127.0.0.1]>",
        "Ops\r\nBcc: x <w@example.com>",
        "Ops\x1b[31m <w@example.com>",
        *("<", '"', "@", "(", "x" * 2_000 + " <w@example.com>"),
    ],
)
def test_what_is_not_one_sender_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(SettingsError, match=r"(?s)WINDSOCK_MAIL_FROM: .*write it like .*\(got "):
        load_settings(env_file=None, auth="none", mail_from=text)


def test_a_senders_domain_is_written_in_ascii() -> None:
    sender = SenderAddress.parse("Wächter <w@exämple.com>")
    assert sender.header() == "=?utf-8?q?W=C3=A4chter?= <w@xn--exmple-cua.com>"
    assert (sender.envelope, sender.domain) == ("w@xn--exmple-cua.com", "xn--exmple-cua.com")
    assert ascii_address("größe@exämple.com") == "größe@exämple.com"  # SMTPUTF8 carries it as it is
    assert not is_address("ops@" + "ä" * 80 + ".com")  # too long for a label of the DNS


@pytest.mark.parametrize(
    "text",
    [
        "'ops@example.com'",
        '"a@example.com"',
        '["a@example.com"]',
        "mailto:a@example.com",
        "<ops@example.com>",
        "Ops<ops@example.com>",
        "a@example..com",
    ],
)
def test_who_is_mailed_is_checked_as_in_a_rules_file(text: str) -> None:
    with pytest.raises(SettingsError, match=r"NOTIFICATION_EMAIL_TO: .*is not a mail address; write it like"):
        load_settings(env_file=None, auth="none", notification_email_to=text)


def test_who_is_mailed_may_be_separated_as_airflow_does() -> None:
    loaded = load_settings(
        env_file=None, auth="none", notification_email_to="a@x.org; b@x.org,c@x.org d@x.org"
    )
    assert loaded.notification_email_to == ("a@x.org", "b@x.org", "c@x.org", "d@x.org")


def test_a_login_that_is_no_address_is_no_sender() -> None:
    loaded = load_settings(env_file=None, auth="none", smtp_username="'x@y'", smtp_password="secret")
    assert loaded.sender == "windsock@localhost"


@pytest.mark.parametrize(
    "text", ["windsock", "monitor-1", "w.example.com", "[192.0.2.1]", "[IPv6:2001:db8::1]"]
)
def test_a_greeting(text: str) -> None:
    assert is_greeting(text)
    assert load_settings(env_file=None, auth="none", smtp_helo=text).smtp_helo == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "windsock_monitor_1",
        "-a.org",
        "a..org",
        "a b",
        "größe.org",
        "192.0.2.1]",
        "[::1]",
        "[x]",
        "a\r\nRSET",
        "x" * 64,
    ],
)
def test_what_is_no_greeting_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="WINDSOCK_SMTP_HELO"):
        load_settings(env_file=None, auth="none", smtp_helo=text)


@pytest.mark.parametrize(
    ("host", "own", "said"),
    [
        ("monitor.example.com", "192.0.2.1", "monitor.example.com"),
        ("windsock_monitor_1", "192.0.2.1", "[192.0.2.1]"),
        ("monitor-1", "192.0.2.1", "[192.0.2.1]"),
        ("localhost.localdomain", "192.0.2.1", "[192.0.2.1]"),
        ("", "2001:db8::1", "[IPv6:2001:db8::1]"),
        ("x_y.example.com", "fe80::1%eth0", "[IPv6:fe80::1]"),
    ],
)
def test_a_host_greets_by_its_full_name_or_by_its_address(host: str, own: str, said: str) -> None:
    assert greeting(host, own) == said
    assert is_greeting(said)
