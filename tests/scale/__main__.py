"""`make test-scale ARGS="--events 100000"`: the long proofs. Exits 1 where anything is lost, doubled or
stepped over.
"""

import argparse
import logging
import secrets
import sys
import tempfile
from pathlib import Path

from tests.scale.writers import writers

EVENTS = 100_000


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS, help="to send (default: %(default)s)")
    options.add_argument("--seed", type=int, help="of all chance; any other is chosen and printed")
    options.add_argument(
        "--unserialised", action="store_true", help="without the log's lock: see that the proof can fail"
    )
    given = options.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("windsock.client").setLevel(logging.ERROR)  # it warns of each connection that is cut
    with tempfile.TemporaryDirectory(prefix="windsock-scale-") as folder:
        print(f"seed {seed}", flush=True)  # noqa: T201
        outcome = writers(Path(folder), given.events, seed, serialised=not given.unserialised)
    print("\n".join([outcome.summary, *outcome.wrong]), flush=True)  # noqa: T201
    return 1 if outcome.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
