"""The run of `windsock up`, from its start to its end."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TypeVar

from monitor.airflow.client import COMPONENTS, AirflowApi, components
from monitor.airflow.paging import Row
from monitor.cli.up import report
from monitor.cli.up.home import ADMIN, Home, open_home, write_private
from monitor.cli.up.processes import (
    GRACE_SECONDS,
    SIGNALLED,
    CannotStart,
    Interrupted,
    NotAllHappened,
    Processes,
    guard,
    on_signals,
)
from monitor.cli.up.report import DemoProgress, Heard, Screen, poll_until
from monitor.cli.up.setup import Options, Setup, monitor_command, prepare
from monitor.clock import utc_now
from monitor.concurrency import first_of
from monitor.delivery.channels.mailbox import Mailbox
from monitor.errors import AirflowError, WindsockError
from windsock_client import Feed, FeedError

REQUEST_SECONDS = 20.0  # an api-server that starts while the machine is busy answers late, and it does answer
EXIT_FAILED = 1
COMMANDS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),  # would listen on all addresses. Logs are read from the disk
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
GRACE = {
    "api-server": 2.0,  # its server ends in 0.1 s. Then the process waits for a thread that never ends
    "triggerer": 1.0,  # waits 10 s for a child that waits for nothing
}
"""Seconds that a component gets to end, where Airflow 3.3.2 would take them all for nothing."""

T = TypeVar("T")


@dataclass(frozen=True)
class Stack:
    """The processes, the ways to talk to them, and the moment by which all must be through."""

    setup: Setup
    processes: Processes
    screen: Screen
    airflow: AirflowApi
    monitor: Feed
    deadline: float
    """On the monotonic clock."""

    async def wait_for(self, work: Awaitable[T]) -> T:
        """Do it before the deadline. Raises asyncio.TimeoutError."""
        return await asyncio.wait_for(work, max(0, self.deadline - monotonic()))

    @property
    def logs(self) -> str:
        """The sentence that names the logs."""
        return f"The logs are in {self.setup.home.logs} and {self.setup.home.airflow / 'logs'}"


async def start_all(stack: Stack) -> None:
    """Start everything, and wait until it is healthy. Raises PartDied or CannotStart."""
    setup, processes = stack.setup, stack.processes
    await processes.start("monitor", [monitor_command(), "serve"], setup.monitor_env)
    await asyncio.gather(_wait_until_ready(stack), _migrate(stack))
    with stack.screen.step(f"Airflow {setup.airflow_version} starts: {', '.join(COMMANDS)}"):
        for name, arguments in COMMANDS.items():
            command: list[str | Path] = [setup.airflow_command, name, *arguments]
            await processes.start(name, command, setup.airflow_env, GRACE.get(name, GRACE_SECONDS))

        async def is_healthy() -> bool:
            return not await _list_unhealthy(stack.airflow)

        await poll_until(is_healthy)


async def _wait_until_ready(stack: Stack) -> None:
    """Wait until the monitor listens. If it never does, it has died, which the supervisor notices."""
    anonymous = Feed(stack.setup.settings.url)

    async def is_ready() -> bool:
        await asyncio.to_thread(anonymous.get_json, "/livez")
        return True

    with stack.screen.step("the monitor starts"):
        await poll_until(is_ready)


async def _list_unhealthy(airflow: AirflowApi) -> list[str]:
    """Return the components that do not yet say that they are well."""
    try:
        health = await airflow.health()
    except AirflowError:
        return ["api-server"]
    well = {component.name for component in components(health) if component.is_healthy}
    return [name.replace("_", "-") for name in COMPONENTS if name not in well]


async def _migrate(stack: Stack) -> None:
    setup = stack.setup
    if not needs_migration(setup.home, setup.airflow_version):
        return
    with stack.screen.step("Airflow makes its database"):
        await stack.processes.run("migrate", [setup.airflow_command, "db", "migrate"], setup.airflow_env)
    write_private(setup.home.airflow_migrated, setup.airflow_version)


def needs_migration(home: Home, version: str) -> bool:
    """Return True if the database is not this Airflow's yet.
    Remove a database whose making was cut short.

    Raises CannotStart if a newer Airflow has migrated it, because Airflow cannot migrate back."""
    try:
        last = home.airflow_migrated.read_text().strip()
    except FileNotFoundError:
        last = ""
    if not last or not home.airflow_database.exists():
        for part in home.airflow.glob(home.airflow_database.name + "*"):
            part.unlink()
        return True
    if _numbers(last) > _numbers(version):
        raise CannotStart(
            f"the database in {home.airflow} was made by Airflow {last}, and this is {version}. Give it a "
            "home of its own (make run WINDSOCK_HOME=/some/other/folder), or begin anew: "
            f"rm -r {home.airflow}"
        )
    return last != version


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def up(options: Options, home: Path) -> int:
    """Run it all until a signal, or with `once` until everything is through. Return the exit status."""
    screen = Screen()

    def work(guarded_by: int) -> int:
        asyncio.run(_supervise(options, opened, Processes(opened.logs, held_open=[lock]), guarded_by, screen))
        return 0

    try:
        with open_home(home) as (opened, lock):
            return guard(work)
    except (WindsockError, FeedError) as error:
        screen.refuse(str(error))
        return EXIT_FAILED
    except Interrupted as interrupted:
        return SIGNALLED + interrupted.number


async def _supervise(
    options: Options, home: Home, processes: Processes, guarded_by: int, screen: Screen
) -> None:
    """Do the work until it ends, a component dies or a signal comes. Then end every process."""
    interrupted = on_signals(guarded_by)
    setup = prepare(options, home)
    for name, port in setup.ports.items():
        if port.instead_of:
            screen.say(f"port {port.instead_of} is taken: {name} gets {port.number}")
    try:
        await first_of(
            _perform(setup, options, processes, screen), processes.watch(), processes.measure(), interrupted
        )
    finally:
        with screen.step("everything ends"):
            await processes.stop()


async def _perform(setup: Setup, options: Options, processes: Processes, screen: Screen) -> None:
    deadline = monotonic() + options.timeout
    loop = asyncio.get_running_loop()
    password = setup.secrets.airflow_password
    airflow = AirflowApi(
        setup.settings.deployment, str(setup.settings.airflow_url), ADMIN, password, REQUEST_SECONDS, utc_now
    )
    feed = Feed(
        setup.settings.url,
        token=lambda: asyncio.run_coroutine_threadsafe(airflow.own_token(), loop).result(),
        since=utc_now(),
        on_interruption=lambda reason: screen.say(f"the feed was interrupted: {reason}"),
    )
    stack = Stack(setup, processes, screen, airflow, feed, deadline)
    try:
        await _start(stack)
        screen.show(report.addresses(setup))
        heard: Heard = set()
        await first_of(report.read_feed(feed, heard, screen), _play(stack, heard, options.once))
    finally:
        await airflow.close()


async def _start(stack: Stack) -> None:
    try:
        await stack.wait_for(start_all(stack))
    except asyncio.TimeoutError:
        unhealthy = ", ".join(await _list_unhealthy(stack.airflow)) or "the monitor"
        raise CannotStart(f"not healthy in time: {unhealthy}. {stack.logs}") from None
    for port in stack.setup.ports.values():
        port.release()


async def _play(stack: Stack, heard: Heard, once: bool) -> None:
    """Play the story and show its summary. Then, unless `once`, the feed goes on for ever."""
    try:
        await _play_story(stack, heard)
    except NotAllHappened as error:
        if once:
            raise
        stack.screen.refuse(str(error))
    if not once:
        stack.screen.say("Ctrl-C stops everything; until then, what happens:")
        await asyncio.Event().wait()


async def _play_story(stack: Stack, heard: Heard) -> None:
    """Play the story. Raises NotAllHappened, which says what is missing."""
    setup = stack.setup
    mailbox = None if setup.settings.smtp_host else Mailbox(setup.home.root / "mailbox", utc_now)
    progress = DemoProgress(await _trigger(stack), heard, mailbox)
    try:
        await stack.wait_for(report.play(progress, stack.airflow, stack.monitor))
    except (asyncio.TimeoutError, NotAllHappened, AirflowError, FeedError) as error:
        reasons = [str(error)] if str(error) else []
        reason = "; ".join([*reasons, *progress.missing()])
        raise NotAllHappened(f"not everything happened: {reason}. {stack.logs}") from None
    finally:
        stack.screen.show(report.summary(progress, stack.processes.peak))
        stack.screen.show(report.addresses(setup))


async def _trigger(stack: Stack) -> Row:
    """Start the training run once the DAGs are known."""
    try:
        run = await stack.wait_for(report.begin(stack.airflow))
    except asyncio.TimeoutError:
        raise NotAllHappened(await report.explain_absent(stack.airflow)) from None
    stack.screen.say(f"triggered {run['dag_id']}, run {run['dag_run_id']}")
    return run
