"""The run of `windsock up`, from its start to its end."""

import asyncio
import signal
from pathlib import Path
from time import monotonic

import httpx

from monitor.cli.up import report
from monitor.cli.up.airflow import AirflowClient, DagRun, SignIn, open_client
from monitor.cli.up.home import ADMIN, Home, open_home, write_private
from monitor.cli.up.processes import GRACE_SECONDS, CannotStart, NotAllHappened, Processes
from monitor.cli.up.report import DemoProgress, FeedRecorder, Screen, Stack, poll_until
from monitor.cli.up.setup import Options, Setup, monitor_command, prepare
from monitor.concurrency import first_of
from monitor.errors import AirflowError, WindsockError

COMPONENTS: dict[str, tuple[str, ...]] = {
    "api-server": (),
    "scheduler": ("--skip-serve-logs",),  # would listen on all addresses; logs are read from the disk
    "dag-processor": (),
    "triggerer": ("--skip-serve-logs",),
}
GRACE = {
    "api-server": 2.0,  # its server ends in 0.1 s; then the process waits for a thread that never ends
    "triggerer": 1.0,  # waits 10 s for a child that waits for nothing
}
"""Seconds that a component gets to end, where Airflow 3.3.2 would take them all for nothing."""


async def start_all(stage: Stack) -> None:
    """Until everything is healthy. Raises PartDied or CannotStart."""
    setup, processes = stage.setup, stage.processes
    await processes.start("monitor", [monitor_command(), "serve"], setup.monitor_env)
    await asyncio.gather(_wait_until_ready(stage), _migrate(stage))
    with stage.screen.step(f"Airflow {setup.airflow_version} starts: {', '.join(COMPONENTS)}"):
        for name, arguments in COMPONENTS.items():
            command: list[str | Path] = [setup.airflow_command, name, *arguments]
            await processes.start(name, command, setup.airflow_env, GRACE.get(name, GRACE_SECONDS))
        await poll_until(stage.airflow.healthy)


async def _wait_until_ready(stage: Stack) -> None:
    with stage.screen.step("the monitor starts"):
        await poll_until(lambda: _is_ready(stage.monitor))


async def _is_ready(monitor: httpx.AsyncClient) -> bool:
    try:
        return (await monitor.get("/livez", auth=None)).is_success
    except httpx.TransportError:
        return False  # not yet listening; if it never does it has died, which the supervisor notices


async def _migrate(stage: Stack) -> None:
    setup = stage.setup
    if not needs_migration(setup.home, setup.airflow_version):
        return
    with stage.screen.step("Airflow makes its database"):
        await stage.processes.run("migrate", [setup.airflow_command, "db", "migrate"], setup.airflow_env)
    write_private(setup.home.airflow_migrated, setup.airflow_version)


def needs_migration(home: Home, version: str) -> bool:
    """Whether the database is not this Airflow's yet. Removes one whose making was cut short.

    Raises CannotStart if a newer Airflow has migrated it: there is no way back.
    """
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


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_FAILED = 1
SIGNALLED = 128  # the signal's number is added, as shells do


class Interrupted(Exception):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def up(options: Options, home: Path) -> int:
    """Run it all until it is told to stop, or with `once` until everything is through. The exit status."""
    screen = Screen()
    try:
        with open_home(home) as (opened, lock):
            asyncio.run(_supervise(options, opened, lock, screen))
    except WindsockError as error:
        screen.refuse(str(error))
        return EXIT_FAILED
    except Interrupted as interrupted:
        return SIGNALLED + interrupted.number
    return 0


async def _supervise(options: Options, home: Home, lock: int, screen: Screen) -> None:
    """Do the work until it ends, a component dies or a signal comes; then end every process."""
    processes = Processes(home.logs, held_open=[lock])
    interrupted = on_signals(processes)
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


def on_signals(processes: Processes) -> "asyncio.Future[None]":
    """Raises Interrupted at the first signal; the second one waits for nobody."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def on_signal(number: int) -> None:
        if future.done():
            processes.kill()
        else:
            future.set_exception(Interrupted(number))

    for number in SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    return future


async def _perform(setup: Setup, options: Options, processes: Processes, screen: Screen) -> None:
    deadline = monotonic() + options.timeout
    airflow_url = str(setup.settings.airflow_url)
    sign_in = SignIn(airflow_url, ADMIN, setup.secrets.airflow_password)
    async with open_client(airflow_url, sign_in) as http, open_client(setup.settings.url, sign_in) as monitor:
        stage = Stack(setup, processes, screen, AirflowClient(http), monitor, deadline)
        await _start(stage)
        screen.show(report.addresses(setup))
        feed = FeedRecorder(monitor, screen)
        await first_of(feed.run(), _play(stage, feed, options.once))


async def _start(stage: Stack) -> None:
    try:
        await stage.wait_for(start_all(stage))
    except asyncio.TimeoutError:
        unhealthy = ", ".join(await stage.airflow.unhealthy()) or "the monitor"
        raise CannotStart(f"not healthy in time: {unhealthy}. {report.where_to_look(stage.setup)}") from None
    for port in stage.setup.ports.values():
        port.release()


async def _play(stage: Stack, feed: FeedRecorder, once: bool) -> None:
    """The story and its summary; then, unless `once`, the feed goes on for ever."""
    try:
        await _play_story(stage, feed)
    except NotAllHappened as error:
        if once:
            raise
        stage.screen.refuse(str(error))
    if not once:
        stage.screen.say("Ctrl-C stops everything; until then, what happens:")
        await asyncio.Event().wait()


async def _play_story(stage: Stack, feed: FeedRecorder) -> None:
    """Raises NotAllHappened, which says what is missing."""
    run = await _trigger(stage)
    progress = DemoProgress(run, feed.heard, report.mailbox_of(stage.setup))
    try:
        await stage.wait_for(report.play(progress, stage.airflow, stage.monitor))
    except (asyncio.TimeoutError, NotAllHappened, AirflowError) as error:
        reasons = [str(error)] if isinstance(error, WindsockError) else []
        raise NotAllHappened(
            f"not everything happened: {'; '.join([*reasons, *progress.missing()])}. "
            f"{report.where_to_look(stage.setup)}"
        ) from None
    finally:
        stage.screen.show(report.summary(progress, stage.processes.peak))
        stage.screen.show(report.addresses(stage.setup))


async def _trigger(stage: Stack) -> DagRun:
    """Start the training run once the DAGs are known."""
    try:
        run = await stage.wait_for(report.begin(stage.airflow))
    except asyncio.TimeoutError:
        raise NotAllHappened(await report.unread(stage.airflow)) from None
    stage.screen.say(f"triggered {run.dag_id}, run {run.run_id}")
    return run
