"""`windsock up` from its first line to its last."""

import asyncio
import signal
from pathlib import Path
from time import monotonic

from monitor.ending import first_of
from monitor.errors import AirflowError, WindsockError
from monitor.up import report, story
from monitor.up.airflow_client import AirflowClient, Run, SignIn, open_client
from monitor.up.errors import CannotStart, NotAllHappened
from monitor.up.feed import Feed
from monitor.up.home import ADMIN, Home, open_home
from monitor.up.processes import Processes
from monitor.up.screen import Screen
from monitor.up.setup import Options, Setup, prepare
from monitor.up.stage import Stage
from monitor.up.start import start_all

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
        stage = Stage(setup, processes, screen, AirflowClient(http), monitor, deadline)
        await _start(stage)
        screen.show(report.addresses(setup))
        feed = Feed(monitor, screen)
        await first_of(feed.run(), _play(stage, feed, options.once))


async def _start(stage: Stage) -> None:
    try:
        await stage.in_time(start_all(stage))
    except asyncio.TimeoutError:
        unhealthy = ", ".join(await stage.airflow.unhealthy()) or "the monitor"
        raise CannotStart(f"not healthy in time: {unhealthy}. {report.where_to_look(stage.setup)}") from None
    for port in stage.setup.ports.values():
        port.release()


async def _play(stage: Stage, feed: Feed, once: bool) -> None:
    """The story and its summary; then, unless `once`, the feed goes on for ever."""
    try:
        await _tell(stage, feed)
    except NotAllHappened as error:
        if once:
            raise
        stage.screen.refuse(str(error))
    if not once:
        stage.screen.say("Ctrl-C stops everything; until then, what happens:")
        await asyncio.Event().wait()


async def _tell(stage: Stage, feed: Feed) -> None:
    """Raises NotAllHappened, which says what is missing."""
    run = await _trigger(stage)
    told = story.Story(run, feed.heard, story.mailbox_of(stage.setup))
    try:
        await stage.in_time(story.play(told, stage.airflow, stage.monitor))
    except (asyncio.TimeoutError, NotAllHappened, AirflowError) as error:
        reasons = [str(error)] if isinstance(error, WindsockError) else []
        raise NotAllHappened(
            f"not everything happened: {'; '.join([*reasons, *told.missing()])}. "
            f"{report.where_to_look(stage.setup)}"
        ) from None
    finally:
        stage.screen.show(report.summary(told, stage.processes.peak))
        stage.screen.show(report.addresses(stage.setup))


async def _trigger(stage: Stage) -> Run:
    """Start the training run once the DAGs are known."""
    try:
        run = await stage.in_time(story.begin(stage.airflow))
    except asyncio.TimeoutError:
        raise NotAllHappened(await story.unread(stage.airflow)) from None
    stage.screen.say(f"triggered {run.dag_id}, run {run.run_id}")
    return run
