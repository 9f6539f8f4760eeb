"""One POST, one deadline: whatever the other side does, `post` comes back."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_windsock.settings import Endpoint
from airflow_windsock.signing import signature_headers
from airflow_windsock.transport import MAX_ANSWER, Unreachable, post
from tests.plugin.conftest import WAIT
from tests.plugin.receiver import Answer, Receiver, document, drip, hang, status, take_and_reset

BODY = b'[{"id": "event:1"}]'
SHORT = 0.2  # seconds: a budget that a hanging monitor uses up


def send(receiver: Receiver, seconds: float = WAIT, host: str = "127.0.0.1") -> int:
    endpoint = Endpoint(False, host, receiver.port, "/api/v1/events")
    headers = {
        "Content-Type": "application/cloudevents-batch+json",
        **signature_headers(BODY, [receiver.secret]),
    }
    return post(endpoint, BODY, {**headers, "Host": f"127.0.0.1:{receiver.port}"}, seconds).status


def comes_back(receiver: Receiver) -> Unreachable:
    """The error of a POST that must end while the receiver still holds it."""
    raised: list[Unreachable] = []

    def attempt() -> None:
        try:
            send(receiver, SHORT)
        except Unreachable as error:
            raised.append(error)

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(WAIT)
    assert not thread.is_alive(), "the deadline was not kept"
    assert not receiver.released.is_set()
    return raised[0]


def test_an_answer_is_given_back(receiver: Receiver) -> None:
    assert send(receiver) == 202
    assert receiver.ids == ["event:1"]


def test_a_name_is_looked_up(receiver: Receiver) -> None:
    assert send(receiver, host="localhost") == 202


@pytest.mark.parametrize("answer", [hang, drip])
def test_a_monitor_that_never_answers_costs_no_more_than_the_budget(
    receiver: Receiver, answer: Answer
) -> None:
    receiver.script.append(answer)
    assert "TimeoutError" in str(comes_back(receiver))


def test_a_backlog_that_nobody_accepts(receiver: Receiver) -> None:
    """The kernel accepts the connection, the process behind it does not."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        endpoint = Endpoint(False, "127.0.0.1", listening.getsockname()[1], "/")
        with pytest.raises(Unreachable):
            post(endpoint, BODY, {}, SHORT)


def test_a_tls_handshake_that_never_ends(receiver: Receiver) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1)
        endpoint = Endpoint(True, "127.0.0.1", listening.getsockname()[1], "/")
        with pytest.raises(Unreachable):
            post(endpoint, BODY, {}, SHORT)


def test_no_time_at_all(receiver: Receiver) -> None:
    with pytest.raises(Unreachable, match="no time is left"):
        send(receiver, 0.0)
    assert receiver.seen == 0


def test_reset_after_processing(receiver: Receiver) -> None:
    receiver.script.append(take_and_reset)
    with pytest.raises(Unreachable):
        send(receiver)
    assert receiver.ids == ["event:1"]
    assert send(receiver) == 202


def test_a_closed_port() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        endpoint = Endpoint(False, "127.0.0.1", unused.getsockname()[1], "/")
        with pytest.raises(Unreachable, match="refused"):
            post(endpoint, BODY, {}, WAIT)


def test_an_unknown_host() -> None:
    with pytest.raises(Unreachable):
        post(Endpoint(False, "windsock.invalid", 80, "/"), BODY, {}, WAIT)


def test_a_huge_answer_is_not_read(receiver: Receiver) -> None:
    receiver.script.append(document(202, b"x" * (MAX_ANSWER + 1)))
    with pytest.raises(Unreachable, match="no Windsock monitor"):
        send(receiver)


def test_proxy_variables_do_not_hijack_it(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert send(receiver) == 202


def test_redirects_are_not_followed(receiver: Receiver) -> None:
    receiver.script.append(status(302, Location="http://127.0.0.1:9/"))
    assert send(receiver) == 302


@pytest.fixture
def talking_nonsense() -> Iterator[int]:
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"220 mail.example ESMTP\r\n")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield listening.getsockname()[1]
    thread.join(WAIT)
    listening.close()


def test_something_that_is_not_http(talking_nonsense: int) -> None:
    with pytest.raises(Unreachable):
        post(Endpoint(False, "127.0.0.1", talking_nonsense, "/"), BODY, {}, WAIT)


def test_importing_the_plugin_imports_no_http() -> None:
    """A task's process pays for it only where it sends."""
    code = (
        "import sys, airflow_windsock.task_sender, airflow_windsock.drainer; print({'http.client', 'ssl'} & "
        "{*sys.modules})"
    )
    plugins = Path(__file__).parents[2] / "plugins"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=plugins)
    assert done.stdout == "set()\n", done.stderr


def test_a_retry_is_signed_anew() -> None:
    first, second = (signature_headers(BODY, [b"k" * 32, b"n" * 32]) for _ in range(2))
    assert first["webhook-id"] != second["webhook-id"]
    assert len(first["webhook-signature"].split()) == 2
    assert abs(int(first["webhook-timestamp"]) - time.time()) < WAIT
