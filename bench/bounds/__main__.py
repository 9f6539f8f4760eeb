"""What each bound costs: `python -m bench.bounds [--only head,batch]`.

A real monitor is sent what each bound allows, and well beyond it, by requests and by those that it asks. For
each: what was answered, the memory that the monitor took more, and the longest `GET /livez` meanwhile beside
the longest of an idle monitor in the same moments. It fails if that is more than MORE beyond the idle one's.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator

from bench.bounds import batches, people, replies, requests
from bench.bounds.peers import MIB
from bench.bounds.probe import Watched
from bench.bounds.stage import Stage, staged
from bench.bounds.trial import Trial

MORE = 0.25  # seconds that a monitor under strain may take longer to say that it is alive
TRIES = 3  # of which the machine may disturb two


def main() -> int:
    only = _options().only
    failed = 0
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # the monitors are ended too
    with staged() as stage:
        print(
            f"{'surface':24} {'sent':38} {'/livez':>7} {'idle':>6} {'more':>6} {'memory':>9}   answered",
            flush=True,
        )
        for trial in _trials():
            if only and not any(trial.surface.startswith(name) for name in only):
                continue
            answered, seen, tries = _measured(trial, stage)
            failed += seen.more > MORE
            times = f"{1e3 * seen.longest:7.0f} {1e3 * seen.idle:6.0f} {1e3 * seen.more:6.0f}"
            again = f" ({tries} tries)" if tries > 1 else ""
            sent = f"{trial.surface:24} {trial.sends:38}"
            print(f"{sent} {times} {seen.grown / MIB:5.0f} MiB   {answered}{again}", flush=True)
    print(f"milliseconds; {failed} beyond {MORE * 1e3:.0f} ms; {time.monotonic() - began:.0f} s in all")
    return 1 if failed else 0


def _trials() -> Iterator[Trial]:
    for module in (requests, batches, people, replies):
        yield from module.trials()
    yield from people.last_trials()


def _measured(trial: Trial, stage: Stage) -> tuple[str, Watched, int]:
    """The try that held up the monitor least, and how many there were; the machine has other work."""
    tried: list[tuple[str, Watched]] = []
    for _ in range(TRIES):
        with trial.strained(stage).probe.watching() as seen:
            try:
                answered = trial.act(stage)
            except Exception as error:  # noqa: BLE001 (the other trials go on, and this one shows what became of it)
                answered = f"{type(error).__name__}: {str(error)[:80]}"
        tried.append((answered, seen))
        if seen.more <= MORE:
            break
    return *min(tried, key=lambda result: result[1].more), len(tried)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.bounds", description=__doc__)
    parser.add_argument("--only", type=lambda text: text.split(","), help="surfaces that begin so")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
