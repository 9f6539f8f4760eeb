"""Mail servers that are deadlocked, slow, or lie: each mail ends within its time, and others go on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from monitor.mailer import Receipt, Refused, SendError, TryLater, Unavailable, Uncertain
from monitor.mailer.smtp import Server, SmtpMailer
from tests.monitor.hostile_smtp import DROP, ENDLESS, MUTE, SLOW, HostileServer, Script
from tests.monitor.mail_support import SENDER, a_mail

TO = ("ops@example.com",)
LONG = 20.0  # seconds: a bound that only a hang reaches
HELLO = "250-here\r\n" + "250-" + "x" * 60 + "\r\n250 8BITMIME"

T = TypeVar("T")


def told(story: Callable[[SmtpMailer, HostileServer], Awaitable[T]], *scripts: Script, **changes: Any) -> T:
    """What comes of a story with a mailer that has little patience."""

    async def whole() -> T:
        async with HostileServer(*scripts).running() as server:
            settings: dict[str, Any] = {"timeout": 0.4, "connections": 2, **changes}
            at = Server("127.0.0.1", server.port, "none", SENDER, **settings)
            mailer = SmtpMailer(at, data_seconds=0.6, mail_seconds=1.0)
            try:
                return await asyncio.wait_for(story(mailer, server), LONG)
            finally:
                await mailer.close()

    return asyncio.run(whole())


async def one_mail(mailer: SmtpMailer, _server: HostileServer) -> Receipt:
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
            # EHLO is asked for with the first mail where there is no login and no STARTTLS before it.
            await one_mail(mailer, server)
        is_so = type(raised.value) is error or ("EHLO" in script and isinstance(raised.value, TryLater))
        assert is_so, repr(raised.value)
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
            mailer = SmtpMailer(Server("127.0.0.1", server.port, "starttls", SENDER, timeout=0.4))
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
        with pytest.raises(Refused, match="SMTPUTF8"):
            await mailer.send(message, who)
        assert server.messages == []

    told(story, {"EHLO": "250-here\r\n250-8BITMIME\r\n250 SMTPUTF8"} if utf8 else {})
