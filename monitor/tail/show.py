"""What `windsock tail` writes: events to one side, and to the other what becomes of the connection."""

import json
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NoReturn

import httpx
from rich.console import Console

from monitor.bounded_http import BoundedClient
from monitor.plain_text import line
from monitor.tail.follow import CONNECT_SECONDS, Params, bearer, places, why
from monitor.tail.line import Days, render
from monitor.tail.messages import RESET, Message, TailRefused


class OutputGone(Exception):
    """Whoever read the output has closed it, as `head` does: an end like any other."""


class Output(Console):
    """A terminal or a pipe."""

    def on_broken_pipe(self) -> NoReturn:
        raise OutputGone


@dataclass(frozen=True)
class Wanted:
    """What is to be shown, and until when."""

    url: str
    token: str | None = field(default=None, repr=False)
    filters: Params = field(default_factory=dict)
    since: str | None = None
    """RFC 3339."""
    after: str = ""
    limit: int | None = None
    """Events, after which it ends."""
    follow: bool = True
    """False: end with the last event that the log has when it begins."""
    as_json: bool = False

    @property
    def params(self) -> Params:
        return {**self.filters, **({"since": self.since} if self.since else {})}


async def show(wanted: Wanted, out: Console, err: Console) -> None:
    """Print the feed until it ends or is cancelled. Raises TailRefused, OutputGone."""
    async with BoundedClient(base_url=wanted.url) as client:
        last = None if wanted.follow else await _last(client, wanted)
        if last == 0:
            return
        printed, printer = 0, _Printer(wanted.as_json, out)
        telling = _Telling(wanted.url, err)
        async with aclosing(places(client, wanted.params, wanted.token, wanted.after, telling)) as found:
            async for cursor, message in found:
                if message is not None:
                    printer.print(message)
                    printed += message.type != RESET
                if printed == wanted.limit or (last is not None and _seq(cursor) >= last):
                    return


async def _last(client: httpx.AsyncClient, wanted: Wanted) -> int:
    """The place in the log of the newest event that matches; 0 where none does."""
    try:
        answer = await client.get(
            "/api/v1/events",
            params={**wanted.filters, "limit": 1},
            headers=bearer(wanted.token),
            timeout=CONNECT_SECONDS,
        )
    except httpx.HTTPError as error:
        raise _unreachable(wanted.url, str(error) or type(error).__name__) from None
    if answer.status_code != 200:
        raise TailRefused(why(answer, answer.content))
    try:
        return max((int(row["seq"]) for row in answer.json()["events"]), default=0)
    except (ValueError, KeyError, TypeError):
        raise TailRefused(
            f"{answer.url} answers with what is no page of events: is it the monitor's?"
        ) from None


def _seq(cursor: str) -> int:
    return int(cursor.rpartition("-")[2] or 0)


class _Printer:
    """A line for people, or a JSON object as the feed's NDJSON has it, an event."""

    def __init__(self, as_json: bool, out: Console) -> None:
        self._as_json = as_json
        self._out = out
        self._days = Days(datetime.now().astimezone().date())

    def print(self, message: Message) -> None:
        """Raises OutputGone."""
        if self._as_json:
            self._write(as_json(message))
            return
        if day := self._days.above(message):
            self._out.print(day)
        self._out.print(render(message), soft_wrap=True)

    def _write(self, line: str) -> None:
        try:
            self._out.file.write(f"{line}\n")
            self._out.file.flush()
        except BrokenPipeError:
            raise OutputGone from None


def as_json(message: Message) -> str:
    """ASCII: nothing in it can command a terminal."""
    told: dict[str, Any] = {"reason": message.data["reason"]} if message.type == RESET else message.data
    return json.dumps({"id": message.id, "reset" if message.type == RESET else "event": told})


class _Telling:
    """Says once that the connection is lost, and once that it is back. Nobody there at all is an error."""

    def __init__(self, url: str, err: Console) -> None:
        self._url = url
        self._err = err
        self._begun = False
        self._lost = False

    def lost(self, reason: str) -> None:
        if not self._begun:
            raise _unreachable(self._url, reason)
        if not self._lost:
            self._lost = True
            self._say(f"connection lost ({reason}); trying again …")

    def heard(self) -> None:
        if self._lost:
            self._say("back; going on from where it was cut off")
        self._begun, self._lost = True, False

    def _say(self, text: str) -> None:
        self._err.print(f"windsock: {line(text)}", style="dim", markup=False, highlight=False, soft_wrap=True)


def _unreachable(url: str, reason: str) -> TailRefused:
    return TailRefused(f"no feed from {url}: {reason}. Is the monitor running, and --url its address?")
