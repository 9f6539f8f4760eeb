"""XOAUTH2 with a mail server that checks the exchange as Google documents it, and tokens from a file or a
server.
"""

import asyncio
import html
import json
import logging
import os
import re
import ssl
import threading
import warnings
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs, quote, quote_plus

import pytest
import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session
from pydantic import SecretStr

from monitor.app import build_channels
from monitor.clock import utc_now
from monitor.delivery.channels.base import CleanChannel, OutgoingMessage
from monitor.delivery.channels.errors import OverLimit, SendReceipt, Unavailable, clean_reply
from monitor.delivery.channels.oauth import Grant, TokenFile, TokenRefresher
from monitor.delivery.channels.smtp import SmtpMailer
from monitor.delivery.channels.smtp_connection import SmtpServer
from monitor.errors import SettingsError
from monitor.rules.targets import ChannelName
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from tests.unit.mail_support import SENDER, USER, a_mail, ca_file
from tests.wait import DEADLINE

GOOD = "ya29.good-token"
REFUSAL = {"status": "400", "schemes": "Bearer", "scope": "https://mail.google.com/"}


@pytest.fixture(scope="session")
def ca() -> trustme.CA:
    return trustme.CA()


class Google:
    """smtp.gmail.com, as far as its XOAUTH2 goes."""

    def __init__(self, ca: trustme.CA) -> None:
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert("localhost").configure_cert(self.context)
        self.good = GOOD
        self.port = 0
        self.said: list[str] = []
        self.after_challenge: list[Any] = []
        self.mails = 0

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Google"]:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._connection, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    def _connection(self) -> SMTP:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Requiring AUTH")
            return SMTP(
                self,
                hostname="localhost",
                auth_required=True,
                auth_require_tls=False,
                auth_exclude_mechanism=["LOGIN", "PLAIN"],
                loop=asyncio.get_running_loop(),
            )

    async def auth_XOAUTH2(self, server: SMTP, args: list[str]) -> AuthResult:  # noqa: N802
        told = b64decode(args[1]).decode()
        self.said.append(told)
        if told == f"user={USER}\1auth=Bearer {self.good}\1\1":
            return AuthResult(success=True)
        self.after_challenge.append(await server.challenge_auth(json.dumps(REFUSAL)))
        words = "535-5.7.8 Username and Password not accepted. For more information, go to\r\n"
        words += "535 5.7.8  https://support.google.com/mail/?p=BadCredentials x1 - gsmtp"
        return AuthResult(success=False, handled=False, message=words)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.mails += 1
        return "250 2.0.0 OK"


def mailer_for(google: Google, grant: Grant, folder: Path, ca: trustme.CA) -> SmtpMailer:
    at = {"host": "localhost", "port": google.port, "security": "tls", "sender": SENDER, "username": USER}
    return SmtpMailer(SmtpServer(**at, timeout=5, ca_file=ca_file(ca, folder), grant=grant))  # type: ignore[arg-type]


def test_a_token_from_a_file_that_is_read_at_each_login(ca: trustme.CA, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("ya29.expired\n")

    async def story() -> None:
        async with Google(ca).running() as google:
            mailer = mailer_for(google, Grant(file=file), tmp_path, ca)
            with pytest.raises(Unavailable) as raised:
                await mailer.open()
            assert "BadCredentials" in str(raised.value)
            assert "may have expired" in str(raised.value)
            assert "ya29" not in str(raised.value)
            assert google.after_challenge == [b""]
            file.write_text(GOOD)
            await mailer.open()
            await mailer.send(a_mail(), ("ops@example.com",))
            await mailer.close()
            assert google.mails == 1
            assert google.said[1] == f"user={USER}\1auth=Bearer {GOOD}\1\1"

    asyncio.run(story())


@pytest.mark.parametrize("content", [None, "", "  \n", "größe"])
def test_a_token_file_that_is_none_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    with pytest.raises(Unavailable, match="WINDSOCK_SMTP_OAUTH2_TOKEN_FILE"):
        asyncio.run(TokenFile(file).token())


@dataclass
class TokenServer:
    """Google's token endpoint: answers what a test says, and keeps what it is asked."""

    url: str
    answers: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    asked: list[dict[str, list[str]]] = field(default_factory=list)


@pytest.fixture
def token_server() -> Iterator[TokenServer]:
    here = TokenServer("")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            here.asked.append(parse_qs(body))
            status, answer = here.answers.pop(0)
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    here.url = f"http://127.0.0.1:{server.server_address[1]}/token"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield here
    server.shutdown()
    thread.join(DEADLINE)
    server.server_close()


def grant(url: str) -> Grant:
    return Grant(url=url, client_id="id", client_secret="geheim1", refresh_token="geheim2")


def test_a_token_is_fetched_and_kept_while_it_holds(token_server: TokenServer) -> None:
    now = [0.0]
    tokens = TokenRefresher(grant(token_server.url), lambda: now[0])
    token_server.answers = [
        (200, {"access_token": "one", "expires_in": 3599}),
        (200, {"access_token": "two"}),
        (200, {"access_token": "three"}),
    ]

    async def story() -> list[str]:
        found = [await tokens.token(), await tokens.token()]
        now[0] = 3598
        found.append(await tokens.token())
        tokens.invalidate()  # the mail server does not take it: revoked, or of another scope
        return [*found, await tokens.token()]

    assert asyncio.run(story()) == ["one", "one", "two", "three"]
    assert token_server.asked[0] == {
        "grant_type": ["refresh_token"],
        "client_id": ["id"],
        "client_secret": ["geheim1"],
        "refresh_token": ["geheim2"],
    }


def test_a_refused_refresh_is_temporary_and_says_why_but_no_secret(
    token_server: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    token_server.answers = [
        (400, {"error": "invalid_grant", "error_description": "Token has been expired or revoked."})
    ]
    tokens = TokenRefresher(grant(token_server.url))
    with pytest.raises(Unavailable, match=r"invalid_grant: Token has been expired or revoked\."):
        asyncio.run(tokens.token())
    for secret in ("geheim1", "geheim2"):
        assert secret not in caplog.text
        assert secret not in repr(grant(token_server.url))


@pytest.mark.parametrize(
    "url",
    [
        "http://tokens.example.com/",
        "http://127.0.0.1.example.com/",
        "http://tokens.example.com//127.0.0.1",
        "http://tokens.example.com/?at=//127.0.0.1",
        "http://127.0.0.1@tokens.example.com/",
        "ftp://127.0.0.1/",
        "https://",
    ],
)
def test_secrets_do_not_go_out_in_the_open(url: str) -> None:
    with pytest.raises(SettingsError, match="https"):
        TokenRefresher(grant(url))


@pytest.mark.parametrize(
    "url",
    ["https://tokens.example.com/", "HTTPS://tokens.example.com/", "http://[::1]:1/", "http://localhost/"],
)
def test_a_token_url_is_https_or_this_machines(url: str) -> None:
    TokenRefresher(grant(url))


def test_the_way_to_log_in_is_read_from_the_settings(tmp_path: Path) -> None:
    at: dict[str, Any] = {
        "env_file": None,
        "home": tmp_path,
        "auth": "none",
        "smtp_host": "localhost",
        "smtp_username": USER,
    }
    assert Grant.from_settings(load_settings(**at, smtp_password=SecretStr("x"))) is None
    assert Grant.from_settings(load_settings(**at, smtp_oauth2_token_file=tmp_path / "t")) == Grant(
        file=tmp_path / "t"
    )
    fetched = load_settings(
        **at,
        smtp_oauth2_refresh_token=SecretStr("geheim2"),
        smtp_oauth2_client_id="id",
        smtp_oauth2_client_secret=SecretStr("geheim1"),
    )
    assert Grant.from_settings(fetched) == grant("https://oauth2.googleapis.com/token")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"smtp_username": USER}, "set both"),
        ({"smtp_password": SecretStr("x")}, "set both"),
        ({"smtp_username": USER, "smtp_oauth2_refresh_token": SecretStr("x")}, "smtp_oauth2_client_id"),
        (
            {"smtp_username": USER, "smtp_password": SecretStr("x"), "smtp_oauth2_token_file": os.devnull},
            "set one of them",
        ),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(env_file=None, home=tmp_path, auth="none", smtp_host="localhost", **changes)


def quoted(secret: str) -> list[str]:
    """A secret as programs write it when they repeat what they were sent."""
    return [
        secret,
        quote(secret, safe=""),
        re.sub("%..", lambda sign: sign[0].lower(), quote_plus(secret)),
        json.dumps(secret)[1:-1].replace("/", "\\/"),
        html.escape(secret),
        *(b64encode(f"{before}{secret}:x".encode()).decode() for before in ("", "i", "id")),
    ]


@pytest.mark.parametrize("form", range(8))
def test_an_endpoint_that_repeats_the_form_is_not_passed_on(token_server: TokenServer, form: int) -> None:
    secret, token = "ge/heim+1?\"'&<größe>", "1//0g-re fresh=="
    said = f"bad form: {quoted(secret)[form]}&refresh_token={quoted(token)[form]}"
    token_server.answers = [(400, {"error": "\x1b[2Jx\n", "error_description": f"\ud800{said}"})]
    tokens = TokenRefresher(
        Grant(url=token_server.url, client_id="id", client_secret=secret, refresh_token=token)
    )
    with pytest.raises(Unavailable) as raised:
        asyncio.run(tokens.token())
    text = str(raised.value)
    assert "[…]" in text
    assert text.isprintable()
    for hidden in (secret, token):
        for part in quoted(hidden)[form], quoted(hidden)[form][4:-6]:
            assert part not in text


def test_the_beginning_of_a_secret_at_the_end_of_a_reply_is_removed() -> None:
    assert clean_reply("you said refresh-tok", ["refresh-token-1"]) == "you said […]"
    assert clean_reply("x" * 9_990 + " refresh-token-1", ["refresh-token-1"]) == "x" * 500


def test_no_channel_passes_on_a_secret_of_another() -> None:
    class Repeating:
        at_once, is_one_server = 1, False

        async def open(self) -> None:
            raise Unavailable("no: hunter2hunter2")

        async def send(self, message: OutgoingMessage) -> SendReceipt:
            return SendReceipt("250 hunter2hunter2", ("a",), {"b": OverLimit("hunter2hunter2 b")})

        async def close(self) -> None: ...

    channel = CleanChannel(Repeating(), ["hunter2hunter2"])
    with pytest.raises(Unavailable, match=r"^no: \[…\]$"):
        asyncio.run(channel.open())
    receipt = asyncio.run(channel.send(cast("OutgoingMessage", None)))
    assert receipt.answer == "250 […]"
    assert isinstance(receipt.refused["b"], OverLimit)
    assert str(receipt.refused["b"]) == "[…] b"


def test_every_channel_of_the_monitor_is_a_clean_one(settings: Settings) -> None:
    given = settings.model_copy(update={"smtp_host": "localhost"})
    channels = build_channels(given, None, utc_now)
    assert channels.keys() == set(ChannelName)
    assert all(isinstance(channel, CleanChannel) for channel in channels.values())
