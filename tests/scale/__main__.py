"""`make test-scale ARGS="--events 100000"`: the long proofs. Exits 1 where anything is lost, doubled or
stepped over.
"""

import argparse
import logging
import secrets
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.scale.replicas import replicas
from tests.scale.verdict import Outcome
from tests.scale.writers import writers

EVENTS = 100_000
FAILURES = 1_000


def main() -> int:
    options = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    options.add_argument("--events", type=int, default=EVENTS, help="to send (default: %(default)s)")
    options.add_argument("--seed", type=int, help="of all chance; any other is chosen and printed")
    options.add_argument(
        "--unserialised", action="store_true", help="without the log's lock: see that the proof can fail"
    )
    options.add_argument(
        "--failures", type=int, default=FAILURES, help="runs to mail of (default: %(default)s)"
    )
    options.add_argument("--only", choices=("writers", "replicas"), help="one of the two proofs")
    given = options.parse_args()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stdout)
    logging.getLogger("windsock_client").setLevel(logging.ERROR)  # it warns of each connection that is cut
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # aiosmtpd's, of the connections cut here
    print(f"seed {seed}", flush=True)  # noqa: T201
    proofs: dict[str, Callable[[Path], Outcome]] = {
        "writers": lambda folder: writers(folder, given.events, seed, serialised=not given.unserialised),
        "replicas": lambda folder: replicas(folder, given.failures, seed),
    }
    outcomes = [_proved(proof) for name, proof in proofs.items() if given.only in (None, name)]
    return 1 if any(outcome.wrong for outcome in outcomes) else 0


def _proved(proof: Callable[[Path], Outcome]) -> Outcome:
    with tempfile.TemporaryDirectory(prefix="windsock-scale-") as folder:
        outcome = proof(Path(folder))
    print("\n".join([outcome.summary, *outcome.wrong]), flush=True)  # noqa: T201
    return outcome


if __name__ == "__main__":
    sys.exit(main())
