"""A mail's bytes as a server gets them: headers that programs read, and texts that come back whole."""

from dataclasses import replace
from datetime import datetime, timezone
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest

from monitor.delivery.messages.mime import Envelope, FoldedHeader, MessageText, message_of
from monitor.mail_addresses import SenderAddress

SENDER = SenderAddress("Windsock", "windsock@example.com")
ENVELOPE = Envelope("<1.local@example.com>", "ops@example.com", "failures")
TEXT = MessageText("✗ etl failed", "It failed.\n", "<p>It failed.</p>\n")
NOW = datetime(2026, 12, 1, 12, tzinfo=timezone.utc)
LONG_ID = f"<windsock-{'a' * 80}@example.com>"


def build(text: MessageText = TEXT, envelope: Envelope = ENVELOPE) -> EmailMessage:
    return message_of(text, envelope, SENDER, "run:0123:failed", NOW)


def raw_header(message: EmailMessage, name: str) -> str:
    """The header as it is sent, unfolded as RFC 5322 says it, and nothing decoded."""
    raw = message.as_bytes(policy=policy.SMTP)
    return str(message_from_bytes(raw, policy=policy.compat32)[name]).replace("\r\n", "")


@pytest.mark.parametrize(
    "subject",
    ["✗ größe " * 60, "word " * 400, "x" * 3_000, "✗" * 900, "a" * 77 + " ü"],
    ids=["words", "ascii", "one word", "one word of signs", "at the edge"],
)
def test_a_long_subject_is_folded_and_read_back_whole(subject: str) -> None:
    """Python's own folding makes encoded words of 77 characters."""
    raw = build(replace(TEXT, subject=subject.strip())).as_bytes(policy=policy.SMTP)
    read = message_from_bytes(raw, policy=policy.default)
    assert "".join(str(read["Subject"]).split()) == "".join(subject.split())
    for line in raw.split(b"\r\n\r\n", 1)[0].split(b"\r\n"):
        assert line.isascii()
        assert len(line) <= 998  # RFC 5322 section 2.1.1
        for word in line.split():
            assert not word.startswith(b"=?") or len(word) <= 75  # RFC 2047 section 2


def test_a_folded_subject_gains_no_space() -> None:
    """Python's own folding puts a space before an encoded word that begins a line."""
    subject = (
        "✗ Airflow_Lab2 failed at load_data: DataError: /a/folder/of/mine/nowhere.csv: "
        "file is 'No such file or directory': put the…"
    )
    raw = build(replace(TEXT, subject=subject)).as_bytes(policy=policy.SMTP)
    assert message_from_bytes(raw, policy=policy.default)["Subject"] == subject


def test_identifiers_and_links_stay_as_they_are() -> None:
    """Python's own folding encodes long ones (=?utf-8?q?=3Cwindsock-…), so that no program knows them."""
    link = f"https://windsock.example.com/unsubscribe?token={'t' * 120}"
    references = tuple(LONG_ID.replace("<", f"<{number}") for number in range(20))
    message = build(
        envelope=replace(ENVELOPE, message_id=LONG_ID, references=references, unsubscribe_url=link)
    )
    assert raw_header(message, "Message-ID") == LONG_ID
    assert raw_header(message, "In-Reply-To") == references[-1]
    assert raw_header(message, "References").split() == list(references)
    assert raw_header(message, "List-Unsubscribe") == f"<{link}>"
    assert max(map(len, message.as_bytes(policy=policy.SMTP).split(b"\r\n"))) <= 998


@pytest.mark.parametrize("sign", ["\r\n", "\n", "\r", "\0"], ids=ascii)
def test_no_value_begins_another_header(sign: str) -> None:
    with pytest.raises(ValueError, match="Message-ID"):
        build(envelope=replace(ENVELOPE, message_id=f"<1@example.com>{sign}Bcc: eve@example.com"))
    with pytest.raises(ValueError, match="Subject"):
        FoldedHeader("Subject", f"a{sign}Bcc: eve@example.com")


def test_a_long_address_stays_one_address() -> None:
    address = f"{'a' * 64}@{'.'.join(['b' * 40] * 4)}.example.com"
    assert raw_header(build(envelope=replace(ENVELOPE, recipient=address)), "To") == address


def test_an_address_in_other_letters_goes_as_utf_8_to_a_server_that_takes_it() -> None:
    """FoldedHeader would encode it, and no server delivers to an encoded word."""
    sender = SenderAddress("Wächter", "wächter@example.com")
    message = message_of(TEXT, replace(ENVELOPE, recipient="größe@example.com"), sender, "id", NOW)
    raw = message.as_bytes(policy=policy.SMTPUTF8).decode()
    assert "<wächter@example.com>\r\n" in raw
    assert "To: größe@example.com\r\n" in raw


@pytest.mark.parametrize("cte_type", ["8bit", "7bit"])
@pytest.mark.parametrize(
    "text",
    [
        "größe ✗\n",
        "plain\n",
        "ü" * 2_000 + "\n",
        "x" * 5_000 + "\n",
        "no end",
        ".\n..\n.a\n",
        "--==boundary\n",
        "",
    ],
    ids=lambda text: ascii(text[:12]),
)
def test_a_text_comes_back_whole(text: str, cte_type: str) -> None:
    message = build(MessageText("subject", text, text))
    raw = message.as_bytes(policy=policy.SMTP.clone(cte_type=cte_type))
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert cte_type == "8bit" or raw.isascii()
    read = message_from_bytes(raw, policy=policy.default)
    assert isinstance(read, EmailMessage)
    for kind in ("plain", "html"):
        part = read.get_body((kind,))
        assert part is not None
        assert part.get_content().replace("\r\n", "\n").rstrip("\n") == text.rstrip("\n")


def test_a_short_text_is_not_encoded() -> None:
    """A mail of 40 kB stays readable in a server's queue, and is a third shorter than in base64."""
    for part in build(replace(TEXT, html=f"<p>{'größe ' * 100}</p>\n")).iter_parts():
        assert part["Content-Transfer-Encoding"] in ("7bit", "8bit")
