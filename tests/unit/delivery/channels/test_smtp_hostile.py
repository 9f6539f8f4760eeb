"""Mail servers that are deadlocked, slow, or lie: each mail ends within its time, and others go on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from monitor.delivery.channels.errors import (
    Misconfigured,
    SendError,
    SendReceipt,
    SendRefused,
    TryLater,
    Unavailable,
    Uncertain,
)
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.mail_addresses import greeting
from tests.unit.hostile_smtp import DROP, ENDLESS, MUTE, SLOW, HostileServer, Script
from tests.unit.mail_support import SENDER, a_mail

TO = ("ops@example.com",)
LONG = 20.0  # seconds: a bound that only a hang reaches
UTF8 = {"EHLO": "250-here\r\n250-8BITMIME\r\n250 SMTPUTF8"}
HELLO = "250-here\r\n" + "250-" + "x" * 60 + "\r\n250 8BITMIME"

T = TypeVar("T")


def told(story: Callable[[SmtpMailer, HostileServer], Awaitable[T]], *scripts: Script, **changes: Any) -> T:
    """What comes of a story with a mailer that has little patience."""

    async def whole() -> T:
        async with HostileServer(*scripts).running() as server:
            settings: dict[str, Any] = {"timeout": 0.4, "connections": 2, **changes}
            at = SmtpServer("127.0.0.1", server.port, "none", SENDER, **settings)
            mailer = SmtpMailer(at, data_seconds=0.6, mail_seconds=1.0)
            try:
                return await asyncio.wait_for(story(mailer, server), LONG)
            finally:
                await mailer.close()

    return asyncio.run(whole())


async def one_mail(mailer: SmtpMailer, _server: HostileServer) -> SendReceipt:
    await mailer.open()
    return await mailer.send(a_mail(), TO)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        ({"CONNECT": MUTE}, Unavailable),
        ({"CONNECT": DROP}, Unavailable),
        ({"CONNECT": "hello, who is there?"}, Unavailable),
        ({"CONNECT": "554 no"}, Unavailable),
        ({"CONNECT": ENDLESS}, Unavailable),
        ({"EHLO": MUTE}, Unavailable),
        ({"EHLO": SLOW + HELLO}, Unavailable),
        ({"MAIL": MUTE}, TryLater),
        ({"MAIL": "nonsense"}, TryLater),
        ({"MAIL": ENDLESS}, TryLater),
        ({"RCPT": DROP}, TryLater),
        ({"RCPT": SLOW + "250 " + "z" * 60}, TryLater),
        ({"DATA": DROP}, TryLater),
        ({"DATA": MUTE}, TryLater),
        ({"DATA": "250 what a lie"}, TryLater),
        ({"MESSAGE": DROP}, Uncertain),
        ({"MESSAGE": MUTE}, Uncertain),
        ({"MESSAGE": ENDLESS}, Uncertain),
        ({"MESSAGE": "thanks, I think"}, Uncertain),
        ({"MESSAGE": "354 go on"}, Uncertain),
    ],
    ids=str,
)
def test_it_holds_a_mail_for_a_bounded_time(script: Script, error: type[SendError]) -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(SendError) as raised:
            await one_mail(mailer, server)
        assert type(raised.value) is error, repr(raised.value)
        # The next mail has a connection of its own, and passes.
        assert (await one_mail(mailer, server)).accepted == TO

    told(story, script)


def test_a_byte_at_a_time_within_every_timeout_has_an_end() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        await mailer.open()
        with pytest.raises(TryLater, match="not done within 1 s"):
            await mailer.send(a_mail(), TO)
        assert (await one_mail(mailer, server)).accepted == TO

    slow = dict.fromkeys(("MAIL", "RCPT", "EHLO"), f"{SLOW}250 OK")
    told(story, {**slow, "DATA": f"{SLOW}354 go on"}, timeout=0.9)


def test_a_deadline_after_the_message_leaves_it_uncertain() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(Uncertain):
            await one_mail(mailer, server)
        assert len(server.messages) == 1

    told(story, {"RCPT": f"{SLOW}250 OK, go", "MESSAGE": MUTE}, timeout=0.9)


def test_one_deadlocked_conversation_does_not_stop_the_others() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        stuck = asyncio.create_task(one_mail(mailer, server))
        await server.until("RCPT")
        for _ in range(5):
            assert (await one_mail(mailer, server)).accepted == TO
        assert not stuck.done()
        with pytest.raises(TryLater):
            await stuck
        assert server.connections == 2

    told(story, {"RCPT": MUTE}, timeout=0.9)


def test_what_is_claimed_and_not_so_is_done_without() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        for _ in range(2):
            assert (await one_mail(mailer, server)).accepted == TO
        for message in server.messages:
            assert message.isascii()
        assert ["BODY=" in line.upper() for line in server.heard["MAIL"]] == [True, False, False]
        assert server.connections == 1

    told(story, {"MAIL BODY": "555 5.5.4 Unsupported option: BODY=8BITMIME"})


def test_8bit_goes_out_as_it_is_where_the_server_takes_it() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        await one_mail(mailer, server)
        assert "größe".encode() in server.messages[0]
        assert server.heard["MAIL"] == [f"MAIL FROM:<{SENDER}> BODY=8BITMIME"]

    told(story)


def test_starttls_that_is_claimed_and_refused_is_said() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(Unavailable, match="454 TLS not available"):
            await mailer.open()

    async def whole() -> None:
        script = {"EHLO": "250-here\r\n250 STARTTLS", "STARTTLS": "454 TLS not available"}
        async with HostileServer(script).running() as server:
            mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "starttls", SENDER, timeout=0.4))
            await story(mailer, server)

    asyncio.run(whole())


def test_a_connection_that_the_server_ends_between_two_mails_costs_nothing() -> None:
    """Many servers end a connection after so many mails, with a 421 to the next."""

    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        await one_mail(mailer, server)
        server_says["MAIL"] = "421 4.7.0 Too many messages, closing"
        assert (await one_mail(mailer, server)).accepted == TO
        assert server.connections == 2
        assert len(server.messages) == 2

    server_says: dict[str, str] = {}
    told(story, server_says)


@pytest.mark.parametrize("utf8", [True, False])
def test_an_address_outside_ascii_needs_smtputf8(utf8: bool) -> None:
    who = ("größe@exämple.com",)

    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        message = a_mail()
        message.replace_header("To", who[0])
        if utf8:
            assert (await mailer.send(message, who)).accepted == who
            assert "SMTPUTF8" in server.heard["MAIL"][0]
            assert server.heard["RCPT"] == [f"RCPT TO:<{who[0]}>"]
            return
        with pytest.raises(SendRefused, match="SMTPUTF8"):
            await mailer.send(message, who)
        assert server.messages == []

    told(story, UTF8 if utf8 else {})


@pytest.mark.parametrize("utf8", [True, False])
def test_a_domain_outside_ascii_is_written_in_ascii(utf8: bool) -> None:
    who = ("ops@exämple.com",)

    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        await mailer.try_envelope(who[0])
        assert (await mailer.send(a_mail(), who)).accepted == who
        assert server.heard["RCPT"] == ["RCPT TO:<ops@xn--exmple-cua.com>"] * 2
        assert not any("SMTPUTF8" in line for line in server.heard["MAIL"])

    told(story, UTF8 if utf8 else {})


def test_who_of_several_was_refused_is_said_as_it_was_given() -> None:
    who = ("ops@exämple.com", "dev@example.com")

    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        receipt = await mailer.send(a_mail(), who)
        assert receipt.accepted == who[1:]
        assert list(receipt.refused) == [who[0]]

    async def whole() -> None:
        async with HostileServer(once={"RCPT": "550 5.1.1 unknown"}).running() as server:
            await story(SmtpMailer(SmtpServer("127.0.0.1", server.port, "none", SENDER)), server)

    asyncio.run(whole())


@pytest.mark.parametrize("utf8", [True, False])
def test_a_sender_outside_ascii_is_looked_at_before_any_mail(utf8: bool) -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        if utf8:
            await mailer.open()
            return
        with pytest.raises(Unavailable, match="WINDSOCK_MAIL_FROM"):
            await mailer.open()
        assert server.heard["MAIL"] == []

    async def whole() -> None:
        async with HostileServer(UTF8 if utf8 else {}).running() as server:
            mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "none", "wächter@example.com"))
            await story(mailer, server)
            await mailer.close()

    asyncio.run(whole())


EXIM = "501 Syntactically invalid {} argument(s)"
SESSION = [
    {verb: EXIM.format(verb) for verb in ("EHLO", "HELO")},
    dict.fromkeys(("EHLO", "HELO"), "550 5.7.1 client host blocked"),
    dict.fromkeys(("EHLO", "HELO"), "421 4.7.0 Try again later, closing connection. (EHLO)"),
    {"CONNECT": "554 5.7.1 Service unavailable; Client host [192.0.2.1] blocked using zen.example.org"},
    {"MAIL": "530 5.7.0 Must issue a STARTTLS command first"},
    {"MAIL": "530 5.7.57 Client not authenticated to send mail."},
    {"MAIL": "503 5.5.4 Error: send AUTH command first"},
    {"MAIL": "550 5.7.1 Relaying denied"},
    {"MAIL": "550 5.7.1 Invalid credentials for relay [192.0.2.1]"},
    {"MAIL": "553 5.1.8 <w@example.com>: Sender address rejected: Domain not found"},
    {"RCPT": "504 5.5.2 <monitor-1>: Helo command rejected: need fully-qualified hostname"},
    {"RCPT": "554 5.7.1 <unknown[192.0.2.1]>: Client host rejected: Access denied"},
    {"RCPT": "530 5.7.1 Authentication required"},
    {"RCPT": "550 Please turn on SMTP authentication in your mail client: authentication required"},
]
"""Refusals of the host, its name, its login or the sender, in the words of the usual servers."""
SETTINGS = [
    {"RCPT": "554 5.7.1 <ops@example.com>: Relay access denied"},
    {"RCPT": "550 relay not permitted"},
    {"RCPT": "550 5.7.54 SMTP; Unable to relay recipient in non-accepted domain"},
    {"RCPT": "553 5.7.1 <w@example.com>: Sender address rejected: not owned by user ops"},
    {"MESSAGE": "550 5.7.26 Your email has been blocked because the sender is unauthenticated."},
    {"MESSAGE": "550-5.7.25 [192.0.2.1] The IP address does not have a PTR record.\r\n550 5.7.25 See help"},
]
MAIL = [
    {"MAIL": "552 5.3.4 Message size exceeds fixed limit"},
    {"RCPT": "550 5.1.1 <ops@x.org>: Recipient address rejected: User unknown in relay recipient table"},
    {"RCPT": "550 5.7.1 <ops@example.com>: Recipient address rejected: Access denied"},
    {"RCPT": "550 5.2.1 The email account that you tried to reach is disabled"},
    {"MESSAGE": "550 5.7.1 Message content rejected"},
]
"""Refusals of one recipient or one mail."""


@pytest.mark.parametrize(
    ("script", "error"),
    [
        *((script, Unavailable) for script in SESSION),
        *((script, Misconfigured) for script in SETTINGS),
        *((script, SendRefused) for script in MAIL),
    ],
    ids=str,
)
def test_what_is_refused_decides_if_the_mail_waits(script: Script, error: type[SendError]) -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(SendError) as raised:
            await one_mail(mailer, server)
        assert type(raised.value) is error, repr(raised.value)
        assert server.messages == [] or "MESSAGE" in script

    told(story, script)


@pytest.mark.parametrize(
    ("script", "error"),
    [
        *((script, Unavailable) for script in SESSION),
        *((script, Misconfigured) for script in SETTINGS if "MESSAGE" not in script),
    ],
    ids=str,
)
def test_a_refusal_of_the_session_is_found_without_a_mail(script: Script, error: type[SendError]) -> None:
    """What `windsock check` does."""

    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(SendError) as raised:
            await mailer.try_envelope(TO[0])
        assert type(raised.value) is error, repr(raised.value)
        assert server.heard["DATA"] == []

    told(story, script)


def test_the_greeting_is_the_setting_or_this_end_of_the_connection() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        await mailer.open()

    def greeted(**changes: Any) -> str:
        async def whole() -> str:
            async with HostileServer().running() as server:
                mailer = SmtpMailer(SmtpServer("127.0.0.1", server.port, "none", SENDER, **changes))
                await story(mailer, server)
                await mailer.close()
                return server.heard["EHLO"][0].removeprefix("EHLO ")

        return asyncio.run(whole())

    assert greeted(helo="windsock.example.com") == "windsock.example.com"
    full = socket.getfqdn()
    assert greeted() == greeting(full, "127.0.0.1")


def test_a_refused_greeting_names_the_setting() -> None:
    async def story(mailer: SmtpMailer, server: HostileServer) -> None:
        with pytest.raises(Unavailable, match=r"501 .*greeted as .*WINDSOCK_SMTP_HELO"):
            await mailer.open()

    told(story, SESSION[0])
