"""Starting the components: the monitor first, so that nothing waits in the spool, then Airflow's four."""

import asyncio
from pathlib import Path

import httpx

from monitor.up.errors import CannotStart
from monitor.up.home import Home, write_private
from monitor.up.processes import GRACE_SECONDS
from monitor.up.setup import monitor_command
from monitor.up.stage import Stage, until

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


async def start_all(stage: Stage) -> None:
    """Until everything is healthy. Raises PartDied or CannotStart."""
    setup, processes = stage.setup, stage.processes
    await processes.start("monitor", [monitor_command(), "serve"], setup.monitor_env)
    await asyncio.gather(_wait_until_ready(stage), _migrate(stage))
    with stage.screen.step(f"Airflow {setup.airflow_version} starts: {', '.join(COMPONENTS)}"):
        for name, arguments in COMPONENTS.items():
            command: list[str | Path] = [setup.airflow_command, name, *arguments]
            await processes.start(name, command, setup.airflow_env, GRACE.get(name, GRACE_SECONDS))
        await until(stage.airflow.healthy)


async def _wait_until_ready(stage: Stage) -> None:
    with stage.screen.step("the monitor starts"):
        await until(lambda: _is_ready(stage.monitor))


async def _is_ready(monitor: httpx.AsyncClient) -> bool:
    try:
        return (await monitor.get("/livez", auth=None)).is_success
    except httpx.TransportError:
        return False  # not yet listening; if it never does it has died, which the supervisor notices


async def _migrate(stage: Stage) -> None:
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
