"""Mail through Debian's Postfix: a server that nobody here wrote, with STARTTLS and a login."""

import asyncio
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from monitor.database.engine import Database
from monitor.database.migrate import migrate
from monitor.delivery.channels.errors import SendRefused, Unavailable
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.notifications.outbox.records import State
from tests.postfix_server import PASSWORD, USERNAME, PostfixServer, missing, postfix
from tests.sample import run_event
from tests.unit.conftest import FakeClock
from tests.unit.delivery_support import TO, Office, failed_run
from tests.unit.mail_support import SENDER, a_mail


@pytest.fixture(scope="module")
def server() -> Iterator[PostfixServer]:
    if why := missing():
        pytest.skip(why)
    with postfix() as running:
        yield running


def mailer_for(server: PostfixServer, **changes: Any) -> SmtpMailer:
    at: dict[str, Any] = {"username": USERNAME, "password": PASSWORD, "ca_file": server.ca_file}
    return SmtpMailer(SmtpServer("localhost", server.port, "starttls", SENDER, **{**at, **changes}))


def sent(server: PostfixServer, message: EmailMessage, to: str = TO, **changes: Any) -> str:
    async def story() -> str:
        mailer = mailer_for(server, **changes)
        try:
            await mailer.open()
            return (await mailer.send(message, (to,))).answer
        finally:
            await mailer.close()

    return asyncio.run(story())


def arrived(server: PostfixServer, message_id: str, number: int) -> EmailMessage:
    [found] = [mail for mail in server.mails(number) if mail["Message-ID"] == message_id]
    return found


def test_a_mail_is_taken_and_read_as_a_mail(server: PostfixServer) -> None:
    subject = "✗ größe " * 20
    message = a_mail(subject.strip())
    assert "queued as" in sent(server, message)
    mail = arrived(server, message["Message-ID"], 1)
    assert mail["Subject"] == subject.strip()
    assert "with ESMTPSA" in mail["Received"]  # S: TLS, A: a login (RFC 3848)
    assert mail["Return-Path"] == f"<{SENDER}>"
    for kind in ("plain", "html"):
        part = mail.get_body((kind,))
        assert part is not None
        assert "größe" in part.get_content()


def test_a_wrong_password_is_told_in_postfixs_words(server: PostfixServer) -> None:
    with pytest.raises(Unavailable, match=r"535 5\.7\.8 .*authentication fail.*WINDSOCK_SMTP_PASSWORD"):
        sent(server, a_mail(), password="wrong")


def test_a_mail_that_is_too_large_and_a_recipient_that_is_unknown_are_refused(server: PostfixServer) -> None:
    large = a_mail()
    large.add_attachment("x" * 2_000_000)
    with pytest.raises(SendRefused, match=r"552 5\.3\.4"):
        sent(server, large)
    with pytest.raises(SendRefused, match=r"550 5\.1\.1 .*User unknown"):
        sent(server, a_mail(), to="nobody@example.com")


def test_an_address_outside_ascii_arrives(server: PostfixServer) -> None:
    before = len(server.mails(0))
    message = a_mail()
    message.replace_header("Message-ID", "<utf8@example.com>")
    message.replace_header("To", "größe@example.com")
    sent(server, message, to="größe@example.com")
    assert arrived(server, "<utf8@example.com>", before + 1)["Delivered-To"] == "größe@example.com"


def test_an_incident_and_its_end_go_out_as_one_conversation(
    server: PostfixServer, clock: FakeClock, tmp_path: Path
) -> None:
    before = len(server.mails(0))
    database = Database(f"sqlite:///{tmp_path / 'windsock.db'}")
    migrate(database)

    async def story() -> Office:
        mailer = mailer_for(server)
        office = Office(database, clock, mailer)
        failed_run(office)
        await office.work()
        office.tell(run_event("success", run_id="2", start=30))
        await office.work()
        await mailer.close()
        return office

    office = asyncio.run(story())
    assert [delivery.state for delivery in office.deliveries()] == [State.SENT, State.SENT]
    assert all("queued as" in office.attempts(delivery)[0].answer for delivery in office.deliveries())
    database.close()
    opening, ending = (
        arrived(server, delivery.message_id, before + 2) for delivery in reversed(office.deliveries())
    )
    assert ending["References"] == opening["Message-ID"]
    assert ending["Subject"] == opening["Subject"]
    assert opening["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = opening.get_body(("html",))
    assert html is not None
    assert "no such table" in html.get_content()
