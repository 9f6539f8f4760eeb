"""`python -m bench.paired --other CHECKOUT --figure REGEX [--rounds 10] -- MODULE [ARGUMENT …]`: a bench
program in this checkout and in another one, in turn, and the ratio of each figure that it prints.

The regular expression has the groups `name` and `value`; each place where it is found is a figure. What a
change costs signed requests, beside a worktree of the commit before it that has an environment of its own:

    python -m bench.paired --other ../before --figure '^ +(?P<name>[a-z0-9% ]+) (?P<value>[0-9,]+)$' \\
      -- bench.ingest --events 4000 --rounds 1 --on sqlite
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
ROUND_SECONDS = 600


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.paired", description=__doc__)
    parser.add_argument("--other", type=Path, required=True, help="a checkout of another commit")
    parser.add_argument(
        "--figure",
        type=lambda text: re.compile(text, re.MULTILINE),
        required=True,
        help="finds `name` and `value` in what is printed",
    )
    parser.add_argument("--rounds", type=int, default=10, help="of both (%(default)s)")
    parser.add_argument("program", nargs="+", metavar="MODULE", help="and its arguments, after --")
    options = parser.parse_args()
    own_times: dict[str, list[float]] = {}
    there: dict[str, list[float]] = {}
    for number in range(options.rounds):
        sides = [(ROOT, own_times), (options.other.resolve(), there)]
        for checkout, figures in sides if number % 2 else reversed(sides):
            for name, value in run(checkout, options.program, options.figure).items():
                figures.setdefault(name, []).append(value)
    for name in own_times:
        ratios = [ours / peer for ours, peer in zip(own_times[name], there[name], strict=True)]
        low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
        print(
            f"{name:40} {median(own_times[name]):12,.3f} beside {median(there[name]):12,.3f}: median ratio "
            f"{median(ratios):.3f}, quartiles {low:.3f} to {high:.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
        )


def run(checkout: Path, program: list[str], figure: re.Pattern[str]) -> dict[str, float]:
    """The figures that the program prints in that checkout, run by its environment of the same name."""
    environment = Path(sys.prefix)
    python = checkout / environment.relative_to(ROOT) / "bin" / "python"
    path = os.pathsep.join((str(checkout), str(checkout / "plugins")))
    done = subprocess.run(
        [str(python), "-m", *program],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=ROUND_SECONDS,
    )
    found = {match["name"].strip(): match["value"] for match in figure.finditer(done.stdout)}
    if done.returncode or not found:
        raise SystemExit(
            f"{' '.join(program)} in {checkout} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return {name: float(value.replace(",", "")) for name, value in found.items()}


if __name__ == "__main__":
    main()
