"""Readers of the feed: programs and libraries that people use, as they are used, and what each was told.

Where a reader resumes by itself it is left alone; curl and httpx-sse are asked again from the last cursor
that they gave, as docs/feed.md says.
"""

import json
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from httpx_sse import SSEError, connect_sse
from playwright.sync_api import Page

from tests.feed.log import TYPES
from windsock_client import Feed, FeedRefused, Reset

AGAIN_SECONDS = 0.3  # between two connections of curl and httpx-sse
JOIN_SECONDS = 10.0
NODE_PROGRAM = Path(__file__).with_name("eventsource_reader.mjs")


def seq_of(cursor: str) -> int:
    return int(cursor.rpartition("-")[2])


class Reader(ABC):
    """Reads from the moment it is made until close()."""

    def __init__(self) -> None:
        self._seqs: list[int] = []
        self.resets: list[str] = []
        self.stopped: str | None = None
        """Why it has given up for ever, as it says itself."""

    @property
    def count(self) -> int:
        return len(self._seqs)

    @property
    def seqs(self) -> list[int]:
        """The place of each event that it was told, in the order in which it was told."""
        return self._seqs

    def look(self) -> None:  # noqa: B027 (most have nothing to do here)
        """Bring `resets` and `stopped` up to date, where that does not happen by itself."""

    @abstractmethod
    def close(self) -> None: ...


class _Threaded(Reader):
    """Reads in a thread of the tests' own."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.last = ""
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self.closing.is_set() and self.stopped is None:
            self.read()
            self.closing.wait(AGAIN_SECONDS)

    @abstractmethod
    def read(self) -> None:
        """One connection, from its beginning to its end."""

    def take(self, cursor: str, kind: str, data: str) -> None:
        """One message, of whatever kind."""
        self.last = cursor or self.last
        if kind == "reset":
            self.resets.append(json.loads(data)["reason"])
        elif data:
            self._seqs.append(seq_of(cursor))

    def close(self) -> None:
        self.closing.set()
        self._thread.join(JOIN_SECONDS)


class HttpxSse(_Threaded):
    _socket: socket.socket | None = None

    def read(self) -> None:
        headers = {"Last-Event-ID": self.last} if self.last else {}
        try:
            with (
                httpx.Client(timeout=30, trust_env=False) as client,
                connect_sse(client, "GET", self.url, headers=headers) as source,
            ):
                self._socket = source.response.extensions["network_stream"].get_extra_info("socket")
                for message in source.iter_sse():
                    if self.closing.is_set():
                        return
                    self.take(message.id, message.event, message.data)
        except SSEError as error:
            self.stopped = str(error)
        except httpx.TransportError:
            pass

    def close(self) -> None:
        self.closing.set()
        if self._socket:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads
        super().close()


class Curl(_Threaded):
    def __init__(self, url: str) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(url)

    def read(self) -> None:
        resuming = ["-H", f"Last-Event-ID: {self.last}"] if self.last else []
        command = ["curl", "--no-buffer", "--silent", "--show-error", "--fail", "--noproxy", "*", *resuming]
        with subprocess.Popen(
            [*command, self.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as self._process:
            self._messages(self._process)
            _, said = self._process.communicate()
        if self._process.returncode == 22:  # curl's own: the server answered 400 or above
            self.stopped = said.decode().strip()

    def _messages(self, process: "subprocess.Popen[bytes]") -> None:
        """What curl writes, up to the last message that is whole."""
        assert process.stdout
        fields: dict[bytes, bytes] = {}
        for line in process.stdout:  # binary, so lines end at LF alone
            if line == b"\n":
                self.take(*(fields.get(name, b"").decode() for name in (b"id", b"event", b"data")))
                fields = {}
            elif line.endswith(b"\n"):
                name, _, value = line[:-1].partition(b": ")
                fields[name] = value

    def close(self) -> None:
        self.closing.set()
        if self._process:
            self._process.terminate()
        super().close()


class WindsockClient(_Threaded):
    form: Any = "sse"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        after = parts.query.removeprefix("after=") or None
        self._feed = Feed(f"{parts.scheme}://{parts.netloc}", after=after, form=self.form)
        super().__init__(url)

    def read(self) -> None:
        try:
            for item in self._feed:
                if isinstance(item, Reset):
                    self.resets.append(item.reason)
                else:
                    self._seqs.append(seq_of(item.cursor))
        except FeedRefused as refused:
            self.stopped = str(refused)

    def close(self) -> None:
        self._feed.close()
        super().close()


class WindsockClientNdjson(WindsockClient):
    form = "ndjson"


class NpmEventSource(_Threaded):
    def __init__(self, url: str) -> None:
        self._process = subprocess.Popen(
            ["node", NODE_PROGRAM, url, *TYPES], stdout=subprocess.PIPE, text=True
        )
        super().__init__(url)

    def read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            what, _, value = line.rstrip("\n").partition(" ")
            if what == "event":
                self._seqs.append(seq_of(value))
            elif what == "reset":
                self.resets.append(value)
            else:
                self.stopped = value

    def close(self) -> None:
        self.closing.set()
        self._process.terminate()
        self._process.wait(JOIN_SECONDS)
        super().close()
        assert self._process.stdout
        self._process.stdout.close()


class ChromiumEventSource(Reader):
    """In a page of the monitor's own origin. All of it from the thread that the page belongs to."""

    SCRIPT = """([url, types]) => {
        const told = window.told = { seqs: [], resets: [], stopped: null };
        const source = new EventSource(url);
        for (const type of types)
            source.addEventListener(type, e => told.seqs.push(+e.lastEventId.split("-")[1]));
        source.addEventListener("reset", e => told.resets.push(JSON.parse(e.data).reason));
        source.addEventListener("error", () => {
            if (source.readyState === EventSource.CLOSED) told.stopped = "closed";
        });
    }"""

    def __init__(self, page: Page, url: str) -> None:
        super().__init__()
        self._page = page
        parts = urlsplit(url)
        page.goto(f"{parts.scheme}://{parts.netloc}/livez")
        page.evaluate(self.SCRIPT, [url, TYPES])

    @property
    def count(self) -> int:
        return int(self._page.evaluate("told.seqs.length"))

    @property
    def seqs(self) -> list[int]:
        found: list[int] = self._page.evaluate("told.seqs")
        return found

    def look(self) -> None:
        self.resets = self._page.evaluate("told.resets")
        self.stopped = self._page.evaluate("told.stopped")

    def close(self) -> None:
        self._page.close()


NDJSON = "windsock_client, NDJSON"
Make = Callable[[str], Reader]


def makers(new_page: Callable[[], Page]) -> dict[str, Make]:
    """How each reader is begun, by the name that people know it by."""
    return {
        "Chromium": lambda url: ChromiumEventSource(new_page(), url),
        "npm eventsource": NpmEventSource,
        "httpx-sse": HttpxSse,
        "curl": Curl,
        "windsock_client": WindsockClient,
        NDJSON: WindsockClientNdjson,
    }


NAMES = tuple(makers(lambda: None))  # type: ignore[arg-type,return-value]
