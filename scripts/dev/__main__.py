"""The command `make dev`: the monitor, started anew at each change of its code, with sample events.

The monitor is the real `windsock serve`, with a home of its own (`.windsock/dev`), without sign-in, on the
loopback address. Every mail goes to the embedded mailbox. No setting from the environment or from `.env`
counts except WINDSOCK_PORT and WINDSOCK_LOG_LEVEL, because the sample events must notify nobody.

Pages' templates (`templates/web/*.html`) are read anew at each request, so their change starts nothing.
"""

import asyncio
import base64
import contextlib
import os
import secrets
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
from rich.markup import escape

from monitor.cli.up.airflow import REPOSITORY, clean_base
from monitor.cli.up.home import Home, open_home
from monitor.cli.up.processes import (
    LOOPBACK,
    Interrupted,
    PartDied,
    Port,
    Processes,
    guard,
    hold,
    on_signals,
)
from monitor.cli.up.report import Screen
from monitor.cli.up.setup import NOBODY, monitor_command
from monitor.cli.up.stack import EXIT_FAILED
from monitor.concurrency import first_of
from monitor.errors import WindsockError
from monitor.settings_loading import load_settings
from scripts.dev.sample import SampleEvents

POLL_SECONDS = 0.2  # a look at 350 files takes some 3 ms, and a change is noticed before the editor is left
READY_POLL_SECONDS = 0.05  # the monitor needs about a second, and somebody waits for it
WATCHED = {"monitor": "*.py", "templates/email": "*", "templates/web/static": "*"}
"""Folders of the repository, and the files in them that the monitor reads once."""

RULES = Path(__file__).with_name("windsock.yaml")

Times = dict[Path, int]


def file_times(repository: Path = REPOSITORY) -> Times:
    """When each watched file was last written."""
    return dict(_times(repository))


def _times(repository: Path) -> Iterator[tuple[Path, int]]:
    for folder, pattern in WATCHED.items():
        for path in (repository / folder).rglob(pattern):
            with contextlib.suppress(FileNotFoundError):  # editors replace files
                yield path.relative_to(repository), path.stat().st_mtime_ns


async def wait_for_change(before: Times, repository: Path = REPOSITORY) -> list[Path]:
    """Wait until a watched file is written, added or removed; return those that were."""
    while True:
        now = file_times(repository)
        if now != before:
            return sorted(path for path in before.keys() | now.keys() if before.get(path) != now.get(path))
        await asyncio.sleep(POLL_SECONDS)


@dataclass
class DevStack:
    """The monitor with what feeds it, and where its output goes."""

    home: Home
    lock: int
    monitor: Port
    mailbox: Port
    screen: Screen
    secret: str

    def __post_init__(self) -> None:
        self.url = f"http://{LOOPBACK}:{self.monitor.number}"
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Start the monitor, and start it anew at each change; never ends."""
        while True:
            before = file_times()
            processes = Processes(self.home.logs, held_open=[self.lock])
            try:
                await processes.start("monitor", [monitor_command(), "serve"], self._environment())
                await first_of(processes.watch(), self._show(), wait_for_change(before))
            except PartDied as died:
                self.screen.refuse(f"{died}\nThe monitor starts again at the next change.")
                await wait_for_change(before)
            finally:
                self.ready.clear()
                await processes.stop()
            changed = ", ".join(map(str, await wait_for_change(before)))
            self.screen.say(f"{changed} changed")

    def _environment(self) -> dict[str, str]:
        return clean_base(os.environ) | {
            "WINDSOCK_HOME": str(self.home.root),
            "WINDSOCK_CONFIG": str(RULES),
            "WINDSOCK_PORT": str(self.monitor.number),
            "WINDSOCK_LOG_LEVEL": os.environ.get("WINDSOCK_LOG_LEVEL", "warning"),
            "WINDSOCK_AUTH": "none",
            "WINDSOCK_INGEST_SECRET": self.secret,
            "WINDSOCK_MAILBOX_SMTP_PORT": str(self.mailbox.number),
            "NOTIFICATION_EMAIL_TO": NOBODY,
        }

    async def _show(self) -> None:
        """Wait until the monitor is ready, say so, and print its log from then on; never ends."""
        with self.screen.step("the monitor starts"):
            await self._wait_until_ready()
        self.ready.set()
        self.screen.show(self._addresses())
        with (self.home.logs / "monitor.log").open(errors="replace") as log:
            while True:
                if text := log.read():
                    self.screen.show(escape(text.rstrip()))
                await asyncio.sleep(POLL_SECONDS)

    async def _wait_until_ready(self) -> None:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):  # the monitor does not listen yet
                    if (await client.get("/readyz")).is_success:
                        return
                await asyncio.sleep(READY_POLL_SECONDS)

    def _addresses(self) -> str:
        return (
            f"[bold]monitor[/bold]   {self.url}  (no sign-in: whoever is on this machine sees everything)\n"
            f"[bold]mailbox[/bold]   {self.url}/mail  (takes mail at {LOOPBACK}:{self.mailbox.number} too)\n"
            f"[bold]rules[/bold]     {RULES.relative_to(REPOSITORY)}  (read anew when it changes)\n"
            "A changed page template shows at the next request; changed code and mail templates start\n"
            "the monitor anew. Ctrl-C ends everything."
        )


async def develop(home: Home, lock: int, guarded_by: int, screen: Screen) -> None:
    """Run the monitor and the sample events until a signal comes. Raises Interrupted."""
    os.chdir(home.root)  # an .env of the checkout may name a mail server, and the monitor would read it
    settings = load_settings(env_file=None, home=home.root, auth="none", host=LOOPBACK)
    monitor, mailbox = hold(settings.port), hold(0)
    if monitor.instead_of:
        screen.say(f"port {monitor.instead_of} is taken: the monitor gets {monitor.number}")
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    stack = DevStack(home, lock, monitor, mailbox, screen, secret)
    events = SampleEvents(stack.url, secret, home.spool)
    await first_of(stack.run(), events.run(stack.ready), on_signals(guarded_by))


def main() -> int:
    """The exit status: 0 once Ctrl-C has ended it, 1 if it could not start."""
    screen = Screen()
    root = Path(os.environ.get("WINDSOCK_HOME", REPOSITORY / ".windsock")) / "dev"

    def work(guarded_by: int) -> int:
        asyncio.run(develop(home, lock, guarded_by, screen))
        return 0

    try:
        with open_home(root) as (home, lock):
            return guard(work)
    except WindsockError as error:
        screen.refuse(str(error))
        return EXIT_FAILED
    except Interrupted:
        return 0


if __name__ == "__main__":
    sys.exit(main())
