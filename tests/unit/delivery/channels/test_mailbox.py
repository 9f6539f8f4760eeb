"""The embedded mailbox: files that nobody else can read, half of none, and its SMTP door."""

import asyncio
import contextlib
import socket
import stat
import unicodedata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.message import EmailMessage
from pathlib import Path

import aiosmtplib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.delivery.channels.mailbox import Mailbox
from monitor.delivery.channels.mailbox_server import (
    MAX_LINES,
    MAX_MAIL,
    MAX_OPEN,
    MAX_RECIPIENTS,
    MailboxServer,
)
from monitor.errors import SettingsError
from tests import wait
from tests.unit.conftest import FakeClock
from tests.unit.mail_support import a_mail

TO = ("ops@example.com",)


@pytest.fixture
def mailbox(tmp_path: Path, clock: FakeClock) -> Mailbox:
    return Mailbox(tmp_path / "mailbox", clock)


def fill(mailbox: Mailbox, clock: FakeClock, number: int) -> list[str]:
    ids = []
    for count in range(number):
        clock.forward(1)
        ids.append(mailbox.file(a_mail(f"mail {count}").as_bytes(), TO))
    return ids


def test_a_mail_can_be_listed_and_read(mailbox: Mailbox) -> None:
    receipt = asyncio.run(mailbox.send(a_mail(), ("a@example.com", "b@example.com")))
    assert receipt.accepted == ("a@example.com", "b@example.com")
    [summary] = mailbox.mails(10)
    assert (summary.subject, summary.sender, summary.to) == (
        "✗ größe",
        "windsock@example.com",
        "ops@example.com",
    )
    assert summary.id in receipt.answer
    message = mailbox.get(summary.id)
    assert isinstance(message, EmailMessage)
    assert message.get_all("Delivered-To") == ["a@example.com", "b@example.com"]
    html = message.get_body(("html",))
    assert html is not None
    assert "größe" in html.get_content()


def test_files_are_for_their_owner_only_and_never_half_written(mailbox: Mailbox, tmp_path: Path) -> None:
    mail_id = mailbox.file(a_mail().as_bytes(), TO)
    folder = tmp_path / "mailbox"
    assert stat.S_IMODE((folder / "new" / f"{mail_id}.eml").stat().st_mode) == 0o600
    assert {stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / "new", folder / "tmp")} == {0o700}
    assert list((folder / "tmp").iterdir()) == []
    (folder / "tmp" / "00000000000000000001-0123456789ab.eml").write_bytes(b"Subject: half")
    assert [summary.id for summary in mailbox.mails(10)] == [mail_id]


def test_pages_go_back_from_the_newest(mailbox: Mailbox, clock: FakeClock) -> None:
    ids = fill(mailbox, clock, 5)
    first = [summary.id for summary in mailbox.mails(2)]
    second = [summary.id for summary in mailbox.mails(10, before=first[-1])]
    assert first + second == ids[::-1]


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, clock: FakeClock) -> None:
    mailbox = Mailbox(tmp_path, clock, max_mails=3)
    ids = fill(mailbox, clock, 5)
    assert [summary.id for summary in mailbox.mails(10)] == ids[:1:-1]
    assert mailbox.get(ids[0]) is None


def test_the_oldest_go_when_they_take_too_much_room(tmp_path: Path, clock: FakeClock) -> None:
    mailbox = Mailbox(tmp_path, clock, kept_bytes=2_500)
    ids = []
    for size in (1_000, 1_000, 1_000, 5_000):
        ids.append(mailbox.file(b"x" * size, []))
        clock.forward(1)
    assert [summary.id for summary in mailbox.mails(10)] == ids[-1:]  # the newest, whatever its size
    ids.append(mailbox.file(b"x", []))
    assert [summary.id for summary in mailbox.mails(10)] == ids[-1:]


@pytest.mark.parametrize(
    "name",
    ["", "../secret", "..%2fsecret", "/etc/passwd", "a" * 5000, "\0", "00000000000000000001-x/../../y"],
)
def test_no_id_leaves_the_folder(mailbox: Mailbox, tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.eml").write_text("Subject: secret")
    mailbox.file(a_mail().as_bytes(), TO)
    assert mailbox.get(name) is None


def test_an_empty_mailbox_has_no_mails(mailbox: Mailbox) -> None:
    assert mailbox.mails(10) == []
    assert mailbox.get("00000000000000000001-0123456789ab") is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    name=st.sampled_from([b"Subject", b"From", b"To", b"Date"]),
    value=st.binary(max_size=80) | st.text(max_size=80).map(str.encode),
)
def test_whatever_a_mail_holds_it_can_be_listed(
    mailbox: Mailbox, clock: FakeClock, name: bytes, value: bytes
) -> None:
    clock.forward(1)
    mail_id = mailbox.file(name + b": " + value + b"\r\n\r\nbody", TO)
    [summary] = mailbox.mails(1)
    assert summary.id == mail_id
    for text in (summary.subject, summary.sender, summary.to):
        assert not any(unicodedata.category(sign) == "Cc" for sign in text)
        text.encode()


@asynccontextmanager
async def opened(mailbox: Mailbox, max_mail: int = 10_000) -> AsyncIterator[MailboxServer]:
    door = MailboxServer(mailbox, 0, max_mail)
    running = asyncio.create_task(door.run())
    await asyncio.wait_for(door.listening.wait(), 5)
    try:
        yield door
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def client(door: MailboxServer) -> aiosmtplib.SMTP:
    return aiosmtplib.SMTP(hostname="127.0.0.1", port=door.port, start_tls=False, timeout=5)


def test_the_door_files_what_it_gets(mailbox: Mailbox) -> None:
    async def story() -> None:
        async with opened(mailbox) as door, client(door) as smtp:
            await smtp.send_message(
                a_mail("report"), sender="lab@example.com", recipients=["a@x.de", "b@x.de"]
            )

    asyncio.run(story())
    [summary] = mailbox.mails(10)
    message = mailbox.get(summary.id)
    assert message is not None
    assert summary.subject == "report"
    assert message["Return-Path"] == "<lab@example.com>"
    assert message.get_all("Delivered-To") == ["a@x.de", "b@x.de"]


def test_the_door_refuses_what_is_too_big_and_too_many(mailbox: Mailbox) -> None:
    async def story() -> None:
        async with opened(mailbox, max_mail=3_000) as door, client(door) as smtp:
            mail = b"Subject: big\r\n\r\n" + b"line\r\n" * 1_000
            await smtp.mail("a@x.de")
            await smtp.rcpt("b@x.de")
            with pytest.raises(aiosmtplib.SMTPDataError) as refused:
                await smtp.data(mail)
            assert refused.value.code == 552
            await smtp.mail("a@x.de")
            for count in range(MAX_RECIPIENTS):
                await smtp.rcpt(f"b{count}@x.de")
            with pytest.raises(aiosmtplib.SMTPRecipientRefused) as too_many:
                await smtp.rcpt("one-more@x.de")
            assert too_many.value.code == 452

    asyncio.run(story())
    assert mailbox.mails(10) == []


def test_the_door_turns_a_mail_of_too_many_lines_away(mailbox: Mailbox) -> None:
    async def story() -> None:
        async with opened(mailbox, max_mail=MAX_MAIL) as door, client(door) as smtp:
            await smtp.mail("a@x.de")
            await smtp.rcpt("b@x.de")
            with pytest.raises((aiosmtplib.SMTPServerDisconnected, ConnectionError)):
                await smtp.data(b"\r\n" * (MAX_LINES + 1))

    asyncio.run(story())
    assert mailbox.mails(10) == []


def test_others_have_their_turn_while_the_door_takes_many_lines(mailbox: Mailbox) -> None:
    async def story() -> float:
        async with opened(mailbox, max_mail=MAX_MAIL) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            writer.write(b"EHLO x\r\nMAIL FROM:<a@x.de>\r\nRCPT TO:<b@x.de>\r\nDATA\r\n")
            while not (await reader.readline()).startswith(b"354"):
                pass
            writer.write(b"\r\n" * 100_000 + b".\r\n")
            share = await wait.longest_turn(reader.readline())
            writer.close()
        return share

    assert asyncio.run(story()) < 0.2


def test_the_door_holds_a_bounded_number_of_connections(mailbox: Mailbox) -> None:
    async def story() -> None:
        async with opened(mailbox) as door:
            streams = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(MAX_OPEN)]
            for reader, _ in streams:
                assert (await reader.readline()).startswith(b"220")
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
            for _, stream in [*streams, (reader, writer)]:
                stream.close()

    asyncio.run(story())


def test_the_door_closes_with_clients_inside(mailbox: Mailbox) -> None:
    async def story() -> int:
        async with opened(mailbox) as door:
            reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
            assert (await reader.readline()).startswith(b"220")
            port = door.port
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        return port

    port = asyncio.run(story())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)


def test_a_port_that_is_taken_is_told_by_its_setting(mailbox: Mailbox) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        door = MailboxServer(mailbox, taken.getsockname()[1])
        with pytest.raises(SettingsError, match="WINDSOCK_MAILBOX_SMTP_PORT"):
            asyncio.run(door.run())
