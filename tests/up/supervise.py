"""A small `windsock up`: the real supervision around actors instead of Airflow.

python supervise.py HOME GRACE BEHAVIOUR…
"""

import asyncio
import os
import sys
from pathlib import Path

from monitor.cli.up.home import open_home
from monitor.cli.up.processes import CannotStart, PartDied, Processes
from monitor.cli.up.stack import Interrupted, on_signals
from monitor.concurrency import first_of

ACTOR = Path(__file__).with_name("actor.py")


async def _supervise(logs: Path, lock: int, pids: Path, grace: float, behaviours: list[str]) -> None:
    processes = Processes(logs, held_open=[lock])
    interrupted = on_signals(processes)
    try:
        for behaviour in behaviours:
            folder = pids / behaviour
            folder.mkdir(parents=True)
            await processes.start(behaviour, [sys.executable, ACTOR, behaviour, folder], os.environ, grace)
        await first_of(processes.watch(), interrupted)
    finally:
        await processes.stop()


def main() -> int:
    home, grace, behaviours = Path(sys.argv[1]), float(sys.argv[2]), sys.argv[3:]
    try:
        with open_home(home) as (opened, lock):
            asyncio.run(_supervise(opened.logs, lock, home / "pids", grace, behaviours))
    except (PartDied, CannotStart) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
