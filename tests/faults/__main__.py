"""`python -m tests.faults --kills 200 --seed N`: the long run. Exits 1 where anything is lost or doubled."""

import argparse
import logging
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.faults.experiment import experiment

KILLS = 200


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    options.add_argument("--kills", type=int, default=KILLS, help="processes to kill (default: %(default)s)")
    options.add_argument("--seed", type=int, help="of all faults; any other is chosen and printed")
    options.add_argument("--postgresql", action="store_true", help="for the monitor too, instead of SQLite")
    options.add_argument("--keep", action="store_true", help="keep logs and databases of a run without fault")
    given = options.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("tests.faults").setLevel(logging.INFO)
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's, of the connections cut here
    folder = Path(tempfile.mkdtemp(prefix="windsock-faults-"))
    print(f"seed {seed}; logs in {folder}", flush=True)  # noqa: T201
    verdict = experiment(folder, seed, given.kills, given.postgresql)
    print(verdict)  # noqa: T201
    if verdict.wrong or given.keep:
        print(f"kept: {folder}")  # noqa: T201
    else:
        shutil.rmtree(folder)
    return 1 if verdict.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
