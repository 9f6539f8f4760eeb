"""Mails as servers get them: what the email package would have written, byte by byte."""

from email.message import EmailMessage

import pytest
from aiosmtplib.email import flatten_message
from aiosmtplib.protocol import normalize_message_line_endings

from monitor.delivery.channels.smtp_connection import flat, fold_subject
from monitor.delivery.messages.renderer import Renderer
from monitor.notifications.outbox.records import TEMPLATES
from tests.unit.conftest import FakeClock


def a_mail(template: str, hostile: bool, clock: FakeClock) -> EmailMessage:
    written = Renderer("Windsöck <windsock@example.com>", "http://monitor", {}, clock)
    return fold_subject(written.preview(template, hostile).message)


def by_the_email_package(message: EmailMessage) -> bytes:
    return normalize_message_line_endings(flatten_message(message))


@pytest.mark.parametrize("template", TEMPLATES)
def test_it_is_what_the_email_package_writes(template: str, clock: FakeClock) -> None:
    message = a_mail(template, False, clock)
    assert flat(message) == by_the_email_package(message)


@pytest.mark.parametrize("template", TEMPLATES)
def test_what_had_to_be_encoded_is_left_to_it(template: str, clock: FakeClock) -> None:
    message = a_mail(template, True, clock)
    assert flat(message) in (None, by_the_email_package(message))


@pytest.mark.parametrize("text", ["one\r\ntwo\r\n", "a lone\rCR\n", ".\n..\n.a\n", "no end", "größe ✗\n", ""])
def test_line_ends_of_any_kind(text: str, clock: FakeClock) -> None:
    message = a_mail("run_failed", False, clock)
    [plain, _] = message.iter_parts()
    plain.set_payload(text.encode().decode("ascii", "surrogateescape"))
    assert flat(message) == by_the_email_package(message)


def test_a_mail_of_another_make_is_left_to_it() -> None:
    message = EmailMessage()
    message.set_content("only text")
    assert flat(message) is None
