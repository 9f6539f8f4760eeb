"""The channel `apprise`: Slack, Teams, Discord, Telegram and a hundred more, by Apprise URLs.

Apprise blocks for as long as its plugins do. Each call therefore has a thread of its own, and the wait for
that thread is bounded. Apprise is imported at its first use, because the import takes a second and most
monitors have no such target.
"""

import asyncio
import logging
import threading
import warnings
from collections import Counter
from contextvars import ContextVar
from functools import cache, partial
from typing import Any

from monitor.delivery.channels.base import OutgoingMessage
from monitor.delivery.channels.errors import (
    SendReceipt,
    SendRefused,
    TryLater,
    Uncertain,
    clean_reply,
    keep_quiet,
)

SECONDS = 30.0  # Apprise's own limits are some seconds a request, and a long text is several requests
MAX_HANGING = 3  # threads of one target that are not waited for any more: beyond it none is begun for it
AT_ONCE = 4
logger = logging.getLogger(__name__)
GOOD = frozenset({"recovered", "success"})
_captured_warnings: ContextVar[list[str] | None] = ContextVar("what Apprise says", default=None)
BAD = frozenset({"opened", "failure", "follow_up", "reminder", "flapping"})


def check_apprise_url(url: str) -> str | None:
    """Return why an Apprise URL cannot be used, or None. The reason leaves out the URL: it is secret."""
    plugin, text = _call_and_capture(_plugin, url)
    if plugin is not None:
        return None
    schema, is_url, _ = url.partition("://")
    if not is_url:
        return "is not a URL such as slack://… (https://github.com/caronc/apprise lists them)"
    why = clean_reply(text, urls=(url,))
    return f"{schema}:// is not a URL that Apprise can use" + (f": {why}" if why else "")


class AppriseChannel:
    """The channel `apprise`: Slack, Teams, Discord, Telegram and others."""

    at_once = AT_ONCE
    is_one_server = False

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._hanging: Counter[str] = Counter()
        keep_quiet()

    async def open(self) -> None:
        """Do nothing: the channel reaches its receivers only when it sends."""

    async def send(self, message: OutgoingMessage) -> SendReceipt:
        """Send a message. Raise TryLater if Apprise refuses, because it does not say whether for good."""
        target = message.recipient
        if self._hanging[target] >= MAX_HANGING:
            raise TryLater(f"{MAX_HANGING} calls of Apprise for {target} have not come back")
        url = message.resolved.url.get_secret_value()
        call = _run_in_thread(_notify, url, message)
        try:
            why = await asyncio.wait_for(asyncio.shield(call), self._seconds)
        except (TimeoutError, asyncio.TimeoutError):
            self._hanging[target] += 1
            call.add_done_callback(partial(self._came_back, target))
            raise Uncertain(f"Apprise did not come back within {self._seconds:.0f} s") from None
        if why is None:
            return SendReceipt(f"handed to {url.partition('://')[0]}:// by Apprise", (message.recipient,))
        raise TryLater(why)

    async def close(self) -> None:
        """Do nothing: threads that hang do not outlive the process."""

    def _came_back(self, target: str, call: "asyncio.Future[str | None]") -> None:
        self._hanging -= Counter((target,))  # and no entry for what is none any more
        if not call.cancelled() and (error := call.exception()):
            logger.warning("a call of Apprise for %s ended late, with %s", target, type(error).__name__)


def _notify(url: str, message: OutgoingMessage) -> str | None:
    """Send, blocking. Return why the message was not taken, or None. Raise Refused for an invalid URL."""
    apprise = _library()
    plugin = _plugin(url)
    if plugin is None:
        raise SendRefused(f"{message.recipient}: {check_apprise_url(url)}")
    if "overflow=" not in url:
        plugin.overflow_mode = apprise.OverflowMode.TRUNCATE  # a text that is too long would be refused
    service = apprise.Apprise()
    service.add(plugin)
    taken, text = _call_and_capture(
        service.notify,
        title=message.rendered.title,
        body=message.rendered.text,
        notify_type=_type(message.kind),
        body_format=apprise.NotifyFormat.TEXT,
    )
    return None if taken else clean_reply(text, urls=(url,)) or "Apprise says no, without a reason"


def _type(kind: str) -> Any:
    apprise = _library()
    if kind in BAD:
        return apprise.NotifyType.FAILURE
    return apprise.NotifyType.SUCCESS if kind in GOOD else apprise.NotifyType.INFO


def _plugin(url: str) -> Any:
    apprise = _library()
    asset = apprise.AppriseAsset(app_id="Windsock", app_desc="Windsock: what happens in Apache Airflow")
    return apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)


@cache
def _library() -> Any:
    """Return Apprise with its plugins loaded. Their warnings are their authors' affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import apprise

        from monitor.delivery.channels.apprise_bounds import bound_requests

        bound_requests()
        logging.getLogger("apprise").addFilter(_CaptureFilter())
        apprise.Apprise.instantiate("json://localhost")
    return apprise


class _CaptureFilter(logging.Filter):
    """The filter that keeps Apprise's messages, which repeat URLs, out of every log.
    The messages are kept for `_call_and_capture`."""

    def filter(self, record: logging.LogRecord) -> bool:
        heard = _captured_warnings.get()
        if heard is not None and record.levelno >= logging.WARNING:
            heard.append(record.getMessage())
        return False


def _call_and_capture(function: Any, *args: Any, **options: Any) -> tuple[Any, str]:
    """Call the function and return its result with Apprise's messages.
    Apprise's own threads inherit the context, so their messages are included."""
    heard: list[str] = []
    before = _captured_warnings.set(heard)
    try:
        return function(*args, **options), "; ".join(dict.fromkeys(heard))
    finally:
        _captured_warnings.reset(before)


def _run_in_thread(function: Any, *args: Any) -> "asyncio.Future[str | None]":
    """Run the function in a daemon thread.
    At its end the interpreter would wait for an executor's threads."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[str | None] = loop.create_future()

    def end(result: str | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)

    def run() -> None:
        try:
            result, error = function(*args), None
        except Exception as raised:  # noqa: BLE001 (plugins are the work of many; the caller raises it)
            result, error = None, raised
        try:
            loop.call_soon_threadsafe(end, result, error)
        except RuntimeError:
            return  # the loop has ended meanwhile, and nothing waits for the answer

    threading.Thread(target=run, name="apprise", daemon=True).start()
    return future
