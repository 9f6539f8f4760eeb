"""Carries events from the spool to the monitor and settles each by the monitor's answer.

Accepted and duplicate: removed. Rejected: set aside with the reason. A request that cannot be read, or is
too large, is split until the culprit stands alone. Anything else keeps every file and means: later.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from windsock import __version__
from windsock.settings import Endpoint, Settings
from windsock.signing import signed_headers
from windsock.spool import Letter, Spool
from windsock.spool_word import HEADER, SpoolWord
from windsock.transport import Answer, Unreachable, post

MAX_BATCH = 500  # events; the monitor takes no more
MAX_REQUEST = 3_500_000  # bytes, brackets and commas included; the monitor takes 4 MiB
SPLIT = (400, 413)  # the request as a whole is refused
TRANSIENT = (408, 425, 429)  # and 5xx: the monitor means "later"
HEADERS = {
    "Content-Type": "application/cloudevents-batch+json",
    "User-Agent": f"windsock-airflow/{__version__}",
}
REMEDIES = {
    401: "the monitor does not accept the signature: mend ingest_secret, or the clock, on either side",
    403: "the monitor forbids it: mend ingest_secret on either side",
    404: "nothing takes events at that address: mend monitor_url",
    405: "nothing takes events at that address: mend monitor_url",
    415: "what answers there is no Windsock monitor, or an old one: mend monitor_url",
}


class Later(Exception):
    """Nothing more is to be sent for now. `misconfigured`: somebody must mend something."""

    def __init__(self, reason: str, *, misconfigured: bool = False, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.misconfigured = misconfigured
        self.wait = wait


class Courier:
    """One for a process; has no state but what it was made with."""

    def __init__(self, settings: Settings, endpoint: Endpoint, spool: Spool) -> None:
        self._secrets = settings.secrets
        self._endpoint = endpoint
        self._spool = spool
        self._word = SpoolWord(spool)

    def carry(self, letters: Sequence[Letter], allowance: Callable[[], float]) -> None:
        """Sends one request, more only where it must be split; `allowance` says how many seconds the next one
        may take. Raises Later."""
        body = b"[" + b",".join(letter.body for letter in letters) + b"]"
        headers = {**HEADERS, HEADER: self._word.of(letters), **signed_headers(body, self._secrets)}
        try:
            answer = post(self._endpoint, body, headers, allowance())
        except Unreachable as error:
            raise Later(f"no answer: {error}") from error
        if answer.status == 202:
            self._settle(letters, _results(answer, letters))
        elif answer.status not in SPLIT:
            raise _later(answer)
        elif len(letters) == 1:
            self._spool.set_aside(letters[0].name, f"the monitor answered {answer.status}: {_detail(answer)}")
        else:
            middle = len(letters) // 2
            self.carry(letters[:middle], allowance)
            self.carry(letters[middle:], allowance)

    def _settle(self, letters: Sequence[Letter], results: list[dict[str, Any]]) -> None:
        for letter, result in zip(letters, results, strict=True):
            if result["status"] == "rejected":
                self._spool.set_aside(letter.name, f"rejected by the monitor: {result.get('reason')}")
            else:
                self._spool.remove(letter.name)


def batches(letters: Iterator[Letter], most: int = MAX_BATCH) -> Iterator[list[Letter]]:
    """Requests' worth of letters, in order."""
    batch: list[Letter] = []
    size = 2
    for letter in letters:
        if batch and (len(batch) == most or size + len(letter.body) + 1 > MAX_REQUEST):
            yield batch
            batch, size = [], 2
        batch.append(letter)
        size += len(letter.body) + 1
    if batch:
        yield batch


def _results(answer: Answer, letters: Sequence[Letter]) -> list[dict[str, Any]]:
    """The monitor's word on each letter, in their order. Nothing is removed on the word of something that
    merely answers 202: what cannot be read raises Later."""
    try:
        results = json.loads(answer.body)["results"]
        told = [
            (result["id"] or letter.event_id, result["status"])
            for result, letter in zip(results, letters, strict=True)
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_monitor(f"answered 202 with no result for each event ({type(error).__name__})") from error
    if [event_id for event_id, _ in told] != [letter.event_id for letter in letters]:
        raise _no_monitor("answered 202 about other events")
    if not {status for _, status in told} <= {"accepted", "duplicate", "rejected"}:
        raise _no_monitor("answered 202 with an unknown status")
    return list(results)


def _no_monitor(what: str) -> Later:
    return Later(f"what listens there {what}: mend monitor_url", misconfigured=True)


def _later(answer: Answer) -> Later:
    remedy = REMEDIES.get(answer.status)
    if remedy is None and answer.status < 500 and answer.status not in TRANSIENT:
        remedy = f"an answer that no Windsock monitor gives ({_detail(answer)}): mend monitor_url"
    wait = float(answer.retry_after) if answer.retry_after.isdecimal() else 0.0
    return Later(f"{answer.status}: {remedy or _detail(answer)}", misconfigured=remedy is not None, wait=wait)


def _detail(answer: Answer) -> str:
    """The problem's own words (RFC 9457), else the answer's beginning."""
    text = answer.body[:300].decode("utf-8", "replace")
    try:
        problem = json.loads(answer.body)
        return str(problem.get("detail") or problem.get("title") or text)[:300]
    except (ValueError, AttributeError, RecursionError):
        return text
