"""Mail through a real SMTP server: what each of its answers means, and that no secret gets out."""

import asyncio
import logging
import socket
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

from monitor.delivery.channels.errors import (
    OverLimit,
    SendError,
    SendRefused,
    TryLater,
    Unavailable,
    Uncertain,
)
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.errors import SettingsError
from monitor.settings import Settings
from tests.unit.gmail_words import (
    BAD_CREDENTIALS,
    DAILY_LIMIT,
    DAILY_USER_LIMIT,
    EXCHANGE_LIMIT,
    NEEDS_APP_PASSWORD,
    TOO_LARGE,
    TOO_LARGE_AT_ONCE,
    TOO_MANY_LOGINS,
    TOO_MANY_RECIPIENTS,
    TRY_LATER,
)
from tests.unit.mail_support import DROP, HANG, PASSWORD, TIMEOUT, MailServer, a_mail, ca_file, mailer_for

TO = ("ops@example.com",)
THREE = ("a@example.com", "b@example.com", "c@example.com")


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


def sent(
    ca: trustme.CA, folder: Path, server: MailServer, *, to: tuple[str, ...] = TO, mails: int = 1
) -> Any:
    """Send over one mailer; answer the last receipt, or raise what came instead."""

    async def story() -> Any:
        async with server.running():
            mailer = mailer_for(server, ca_file(ca, folder))
            try:
                for _ in range(mails):
                    await mailer.open()
                    receipt = await mailer.send(a_mail(), to)
                return receipt
            finally:
                await mailer.close()

    return asyncio.run(story())


@pytest.mark.parametrize("implicit_tls", [False, True], ids=["starttls", "tls"])
def test_a_mail_arrives_whole_over_tls_and_a_login(
    ca: trustme.CA, tmp_path: Path, implicit_tls: bool
) -> None:
    server = MailServer(ca, implicit_tls)
    receipt = sent(ca, tmp_path, server)
    assert receipt.accepted == TO
    assert receipt.refused == {}
    assert receipt.answer.startswith("250")
    [message] = server.taken
    assert message["Subject"] == "✗ größe"
    for kind in ("plain", "html"):
        part = message.get_body((kind,))
        assert part is not None
        assert part.get_content_charset() == "utf-8"
        assert "größe" in part.get_content()


def test_one_connection_serves_many_mails(ca: trustme.CA, tmp_path: Path) -> None:
    server = MailServer(ca)
    sent(ca, tmp_path, server, mails=5)
    assert len(server.taken) == 5
    assert server.connections == 1


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("MAIL", "421 4.7.0 Try again later, closing connection", Unavailable),
        ("MAIL", "451 4.3.0 Temporary", TryLater),
        ("MAIL", "530 5.7.0 Authentication Required", Unavailable),
        ("MAIL", "550 5.4.5 Daily user sending limit exceeded", OverLimit),
        ("MAIL", "553 5.1.8 Sender refused", Unavailable),
        ("RCPT", "450 4.2.1 Greylisted", TryLater),
        ("RCPT", "550 5.1.1 No such user", SendRefused),
        ("RCPT", "550 5.4.5 Daily user sending limit exceeded", OverLimit),
        ("DATA", "421 4.3.2 Shutting down", Unavailable),
        ("DATA", "451 4.3.0 Temporary", TryLater),
        ("DATA", "550 5.7.1 Looks like spam", SendRefused),
        ("DATA", "550 5.4.5 Daily user sending limit exceeded", OverLimit),
        ("DATA", "552 5.3.4 Too big", SendRefused),
        ("DATA", DROP, Uncertain),
        ("DATA", HANG, Uncertain),
        ("MAIL", DROP, TryLater),
        ("RCPT", DROP, TryLater),
        ("RCPT", HANG, TryLater),
    ],
)
def test_what_each_answer_means(
    ca: trustme.CA, tmp_path: Path, verb: str, reply: str, error: type[SendError]
) -> None:
    server = MailServer(ca)
    server.say(verb, reply)
    with pytest.raises(SendError) as raised:
        sent(ca, tmp_path, server)
    assert type(raised.value) is error
    assert server.taken == []
    if reply not in (DROP, HANG):
        assert reply in str(raised.value)


@pytest.mark.parametrize("reply", ["454 4.7.0 Temporary authentication failure", "535 5.7.8 Not accepted"])
def test_a_refused_login_is_temporary_and_names_its_settings(
    ca: trustme.CA, tmp_path: Path, reply: str
) -> None:
    server = MailServer(ca)
    server.say("AUTH", *[reply] * 5)
    with pytest.raises(Unavailable, match=reply.replace(".", r"\.")) as raised:
        sent(ca, tmp_path, server)
    assert "WINDSOCK_SMTP_PASSWORD" in str(raised.value)


@pytest.mark.parametrize(
    ("verb", "reply", "error"),
    [
        ("AUTH", BAD_CREDENTIALS, Unavailable),
        ("AUTH", NEEDS_APP_PASSWORD, Unavailable),
        ("AUTH", TOO_MANY_LOGINS, Unavailable),
        ("MAIL", TRY_LATER, Unavailable),
        ("RCPT", TOO_MANY_RECIPIENTS, TryLater),
        ("DATA", DAILY_LIMIT, OverLimit),
        ("DATA", DAILY_USER_LIMIT, OverLimit),
        ("RCPT", DAILY_USER_LIMIT, OverLimit),
        ("DATA", TOO_LARGE, SendRefused),
        ("MAIL", TOO_LARGE_AT_ONCE, SendRefused),
        ("RCPT", EXCHANGE_LIMIT, OverLimit),
    ],
)
def test_gmails_own_words(
    ca: trustme.CA, tmp_path: Path, verb: str, reply: str, error: type[SendError]
) -> None:
    server = MailServer(ca)
    server.say(verb, reply)
    with pytest.raises(SendError) as raised:
        sent(ca, tmp_path, server)
    assert type(raised.value) is error
    words = [line[4:].split(" ", 1)[1].strip() for line in reply.split("\r\n")]
    assert all(part in str(raised.value) for part in words)
    if verb == "AUTH":
        assert len(server.logins) == 1  # each attempt counts against the account


def test_an_answer_for_some_recipients_is_an_answer_for_each(ca: trustme.CA, tmp_path: Path) -> None:
    server = MailServer(ca)
    server.say("RCPT", "550 5.1.1 No such user", "250 OK", "451 4.7.1 Greylisted")
    receipt = sent(ca, tmp_path, server, to=THREE)
    assert receipt.accepted == ("b@example.com",)
    assert {who: type(error) for who, error in receipt.refused.items()} == {
        "a@example.com": SendRefused,
        "c@example.com": TryLater,
    }
    assert server.envelopes == [("b@example.com",)]


@pytest.mark.parametrize(
    ("replies", "error"),
    [
        (["550 5.1.1 No", "451 4.7.1 Later", "550 5.1.1 No"], TryLater),
        (["550 5.1.1 No", "550 5.4.5 Limit", "451 4.7.1 Later"], OverLimit),
        (["550 5.1.1 No", "550 5.1.1 No", "550 5.1.1 No"], SendRefused),
    ],
)
def test_where_all_are_refused_what_may_still_pass_decides(
    ca: trustme.CA, tmp_path: Path, replies: list[str], error: type[SendError]
) -> None:
    server = MailServer(ca)
    server.say("RCPT", *replies)
    with pytest.raises(SendError) as raised:
        sent(ca, tmp_path, server, to=THREE)
    assert type(raised.value) is error
    assert all(reply in str(raised.value) for reply in replies)


def test_a_connection_that_the_server_dropped_is_made_anew(ca: trustme.CA, tmp_path: Path) -> None:
    server = MailServer(ca)

    async def story() -> None:
        async with server.running():
            mailer = mailer_for(server, ca_file(ca, tmp_path))
            await mailer.send(a_mail(), TO)
            server.cut()
            await mailer.open()
            await mailer.send(a_mail(), TO)
            await mailer.close()

    asyncio.run(story())
    assert len(server.taken) == 2
    assert server.connections == 2


def test_after_a_refusal_the_next_mail_passes(ca: trustme.CA, tmp_path: Path) -> None:
    server = MailServer(ca)
    server.say("DATA", "550 5.7.1 No")

    async def story() -> None:
        async with server.running():
            mailer = mailer_for(server, ca_file(ca, tmp_path))
            with pytest.raises(SendRefused):
                await mailer.send(a_mail("poison"), TO)
            await mailer.send(a_mail("bread"), TO)
            await mailer.close()

    asyncio.run(story())
    assert [message["Subject"] for message in server.taken] == ["bread"]


def test_a_certificate_of_an_unknown_ca_is_refused_before_the_password_is_said(ca: trustme.CA) -> None:
    server = MailServer(ca)

    async def story() -> None:
        async with server.running():
            mailer = mailer_for(server, None)
            with pytest.raises(Unavailable, match="WINDSOCK_SMTP_CA_FILE"):
                await mailer.open()
            await mailer.close()

    asyncio.run(story())
    assert server.logins == []


@pytest.mark.parametrize("listens", [False, True], ids=["nobody", "silence"])
def test_a_server_that_is_not_there_is_temporary(ca: trustme.CA, tmp_path: Path, listens: bool) -> None:
    silent = socket.create_server(("127.0.0.1", 0))
    server = MailServer(ca)
    server.port = silent.getsockname()[1]
    if not listens:
        silent.close()

    async def story() -> None:
        with pytest.raises(Unavailable, match=f"localhost:{server.port}"):
            await mailer_for(server, None).open()

    asyncio.run(asyncio.wait_for(story(), 20 * TIMEOUT))
    silent.close()


def test_the_password_is_in_no_error_and_no_log(
    ca: trustme.CA, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = MailServer(ca)
    encoded = b64encode(f"\0windsock@example.com\0{PASSWORD}".encode()).decode()
    server.say("DATA", f"550 5.7.1 You said {PASSWORD} and {encoded}")
    caplog.set_level(logging.DEBUG)
    with pytest.raises(SendRefused) as raised:
        sent(ca, tmp_path, server)
    mine = [record for record in caplog.records if not record.name.startswith("mail.")]  # the test's server
    for text in (str(raised.value), *(record.getMessage() for record in mine)):
        assert PASSWORD not in text
        assert encoded not in text
    assert "[…]" in str(raised.value)
    assert PASSWORD not in repr(SmtpServer("h", 1, "tls", "s@h", "u", PASSWORD))


def test_an_address_that_is_none_is_refused_and_not_said_to_the_server(
    ca: trustme.CA, tmp_path: Path
) -> None:
    server = MailServer(ca)
    with pytest.raises(SendRefused):
        sent(ca, tmp_path, server, to=("a@example.com b@example.com",))
    assert server.envelopes == []


def test_no_recipient_can_say_more_to_the_server_than_an_address(ca: trustme.CA, tmp_path: Path) -> None:
    server = MailServer(ca)
    with suppress(SendRefused):  # Python 3.13 finds no address in it at all
        sent(ca, tmp_path, server, to=("a@example.com> SIZE=1\r\nRCPT TO:<b@example.com",))
    assert server.envelopes in ([], [("a@example.com",)])


def test_the_server_is_read_from_the_settings(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="WINDSOCK_SMTP_HOST"):
        SmtpServer.from_settings(settings)
    given = settings.model_copy(update={"smtp_host": "smtp.gmail.com"})
    assert (SmtpServer.from_settings(given).port, SmtpServer.from_settings(given).security) == (
        587,
        "starttls",
    )
    with pytest.raises(SettingsError, match="WINDSOCK_SMTP_CA_FILE"):
        SmtpMailer(SmtpServer("h", 1, "tls", "s@h", ca_file=tmp_path / "none.pem"))
