"""The sender, which carries events from the spool to the monitor and settles each by the answer.

Accepted and duplicate events are removed. Rejected events are set aside with the reason. A request that the
monitor cannot read, or that is too large, is split until the cause stands alone. Any other answer keeps
every file, and the sender tries again later.

A proxy before the monitor, or a server in its place, decides nothing about an event. Only the monitor's own
refusal, recognized by its problem type (docs/api.md), sets an event aside.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from airflow_windsock import __version__
from airflow_windsock.one_line import one_line
from airflow_windsock.settings import Endpoint, Settings
from airflow_windsock.signing import signature_headers
from airflow_windsock.spool import Spool, SpooledEvent
from airflow_windsock.status_header import HEADER, StatusHeader
from airflow_windsock.transport import Answer, Unreachable, post

MAX_BATCH = 500  # events: the monitor takes no more
MAX_REQUEST = 3_500_000  # bytes, brackets and commas included: the monitor takes 4 MiB
PROBLEM = "application/problem+json"
REFUSALS = {400: "#problem-malformed", 413: "#problem-too-large"}
"""The monitor's own refusals of a request as a whole, each with the end of its type, which never changes."""
TOO_LARGE = 413  # a proxy's is split too: nginx takes 1 MiB by default, and what is smaller may go through
STATUSES = ("accepted", "duplicate", "rejected")
MAX_DETAIL = 300  # characters of an answer that a log line repeats
TRANSIENT = (408, 425, 429)  # and 5xx: the monitor means "later"
HEADERS = {
    "Content-Type": "application/cloudevents-batch+json",
    "User-Agent": f"airflow-windsock/{__version__}",
}
REMEDIES = {
    401: "the monitor does not accept the signature: mend ingest_secret, or the clock, on either side",
    403: "the monitor forbids it: mend ingest_secret on either side",
    404: "nothing takes events at that address: mend monitor_url",
    405: "nothing takes events at that address: mend monitor_url",
    413: "what stands before the monitor takes no event of this size: raise its limit of a request's body to "
    "4 MiB at least (nginx: client_max_body_size), or mend monitor_url",
    415: "what answers there is no Windsock monitor, or an old one: mend monitor_url",
}


class Later(Exception):
    """The error that ends sending for now. `misconfigured` means that a person must change something."""

    def __init__(self, reason: str, *, misconfigured: bool = False, wait: float = 0.0) -> None:
        super().__init__(one_line(reason))
        self.misconfigured = misconfigured
        self.wait = wait


class Sender:
    """The sender of requests to the monitor. Each process has one, without state of its own."""

    def __init__(self, settings: Settings, endpoint: Endpoint, spool: Spool) -> None:
        self._secrets = settings.secrets
        self._endpoint = endpoint
        self._spool = spool
        self._status_header = StatusHeader(spool)

    def send(self, events: Sequence[SpooledEvent], seconds_left: Callable[[], float]) -> None:
        """Send one request, and more only if the request must be split.
        `seconds_left` returns the seconds that the next request may take. Raises Later."""
        body = b"[" + b",".join(event.body for event in events) + b"]"
        headers = {
            **HEADERS,
            HEADER: self._status_header.format(events),
            **signature_headers(body, self._secrets),
        }
        try:
            answer = post(self._endpoint, body, headers, seconds_left())
        except Unreachable as error:
            raise Later(f"no answer: {error}") from error
        if answer.status == 202:
            self._settle(events, _results(answer, events))
        elif len(events) == 1 and _is_monitors_refusal(answer):
            self._spool.set_aside(events[0].name, f"the monitor answered {answer.status}: {_detail(answer)}")
        elif len(events) == 1 or not (_is_monitors_refusal(answer) or answer.status == TOO_LARGE):
            raise _later(answer)
        else:
            middle = len(events) // 2
            self.send(events[:middle], seconds_left)
            self.send(events[middle:], seconds_left)

    def _settle(self, events: Sequence[SpooledEvent], results: list[dict[str, Any]]) -> None:
        for event, result in zip(events, results, strict=True):
            if result["status"] == "rejected":
                self._spool.set_aside(event.name, f"rejected by the monitor: {result.get('reason')}")
            else:
                self._spool.remove(event.name)


def batches(events: Iterator[SpooledEvent], most: int = MAX_BATCH) -> Iterator[list[SpooledEvent]]:
    """Yield the events in groups that fit a request, in order."""
    batch: list[SpooledEvent] = []
    size = 2
    for event in events:
        if batch and (len(batch) == most or size + len(event.body) + 1 > MAX_REQUEST):
            yield batch
            batch, size = [], 2
        batch.append(event)
        size += len(event.body) + 1
    if batch:
        yield batch


def _results(answer: Answer, events: Sequence[SpooledEvent]) -> list[dict[str, Any]]:
    """Return the monitor's result for each event, in their order.
    Raises Later for an answer that cannot be read, because a server that merely answers 202 must not make an
    event disappear."""
    try:
        results = json.loads(answer.body)["results"]
        answered = [
            (event.event_id if result["id"] is None else result["id"], result["status"])
            for result, event in zip(results, events, strict=True)
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _no_monitor(f"answered 202 with no result for each event ({type(error).__name__})") from error
    if [event_id for event_id, _ in answered] != [event.event_id for event in events]:
        raise _no_monitor("answered 202 about other events")
    if not all(status in STATUSES for _, status in answered):
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


def _is_monitors_refusal(answer: Answer) -> bool:
    """Return True if the answer is the monitor's own and says that this request will never be accepted."""
    ending = REFUSALS.get(answer.status)
    kind = _problem(answer).get("type")
    return ending is not None and isinstance(kind, str) and kind.endswith(ending)


def _detail(answer: Answer) -> str:
    """Return the problem's own text (RFC 9457), else the answer's beginning."""
    problem = _problem(answer)
    text = answer.body[:MAX_DETAIL].decode("utf-8", "replace")
    return str(problem.get("detail") or problem.get("title") or text)[:MAX_DETAIL]


def _problem(answer: Answer) -> dict[str, Any]:
    """Return the problem's members, or none if the answer is no problem."""
    if answer.content_type != PROBLEM:
        return {}
    try:
        problem = json.loads(answer.body)
    except (ValueError, RecursionError):
        return {}
    return problem if isinstance(problem, dict) else {}
