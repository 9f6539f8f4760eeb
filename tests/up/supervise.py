"""A small `windsock up`: the real supervision around actors instead of Airflow.

python supervise.py HOME GRACE BEHAVIOUR…
"""

import asyncio
import os
import sys
from pathlib import Path

from monitor.cli.up.home import open_home
from monitor.cli.up.processes import CannotStart, Interrupted, PartDied, Processes, guard, on_signals
from monitor.concurrency import first_of

ACTOR = Path(__file__).with_name("actor.py")


async def _supervise(
    logs: Path, lock: int, guarded_by: int, pids: Path, grace: float, behaviours: list[str]
) -> None:
    processes = Processes(logs, held_open=[lock])
    interrupted = on_signals(guarded_by)
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

    def work(guarded_by: int) -> int:
        asyncio.run(_supervise(opened.logs, lock, guarded_by, home / "pids", grace, behaviours))
        return 0

    try:
        with open_home(home) as (opened, lock):
            return guard(work)
    except (PartDied, CannotStart) as error:
        sys.stdout.write(f"{error}\n")
        return 1
    except Interrupted as interrupted:
        return 128 + interrupted.number


if __name__ == "__main__":
    sys.exit(main())
