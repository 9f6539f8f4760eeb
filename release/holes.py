"""Known holes in each lock, by pip-audit: it asks PyPI's service of advisories, a package at a time.

Where that service cannot be asked, pip-audit says that it skipped each package and ends well: taken as it is,
that would be a check which checks nothing.
"""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from release.project import REQUIREMENTS, SUPPORTED, tool

PROBE = REQUIREMENTS / "uv.txt"  # one package: whether the service answers at all
SECONDS = 900  # a lock of Airflow is 180 questions
ACCEPTED: dict[str, str] = {}
"""Advisories that do not reach us, each with the reason. Looked at again at each release."""


@dataclass(frozen=True)
class Looked:
    """What became of one lock. `unchecked`: why nothing can be said of it, or of some of it."""

    lock: str
    packages: int
    holes: tuple[str, ...] = ()
    unchecked: str = ""
    ships: bool = True
    """Whether users get what it names; the other locks are what tests run against."""

    def told(self) -> str:
        if self.unchecked:
            return f"{self.lock}: NOT CHECKED: {self.unchecked}"
        if not self.holes:
            return f"{self.lock}: {self.packages} packages, no known hole"
        what = "known holes" if self.ships else "known holes (for tests only, not shipped)"
        return "\n  ".join((f"{self.lock}: {len(self.holes)} {what}", *self.holes))


def locks() -> list[Path]:
    return sorted(REQUIREMENTS.glob("*.txt"))


def ships(lock: Path) -> bool:
    """Not the locks of older Airflows, and what benchmarks compare with."""
    return lock.stem == f"airflow-{SUPPORTED}" or not lock.stem.startswith(("airflow-", "bench-"))


def look_at_all() -> list[Looked]:
    """Every lock; where the service does not answer for the first, none is asked for in vain."""
    probe = look_at(PROBE)
    if probe.unchecked:
        return [Looked(f"{len(locks())} locks", 0, unchecked=probe.unchecked)]
    return [look_at(lock) for lock in locks()]


def look_at(lock: Path) -> Looked:
    options = ["--requirement", str(lock), "--require-hashes", "--disable-pip", "--format=json"]
    options += ["--progress-spinner=off", *(f"--ignore-vuln={known}" for known in ACCEPTED)]
    ran = subprocess.run(
        [tool("pip-audit"), *options], check=False, capture_output=True, text=True, timeout=SECONDS
    )
    return judged(lock.name, ran.stdout, ran.stderr, ships(lock))


def judged(lock: str, output: str, errors: str, shipped: bool = True) -> Looked:
    """From what pip-audit printed."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        return Looked(lock, 0, unchecked=f"pip-audit failed: {last[0][:200]}", ships=shipped)
    skipped = [each["name"] for each in found if "skip_reason" in each]
    holes = tuple(_hole(each, hole) for each in found for hole in each.get("vulns", ()))
    why = f"the service of advisories knows nothing of {_few(skipped)}" if skipped else ""
    return Looked(lock, len(found), holes, why, shipped)


def _hole(package: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole.get("fix_versions") or ["no release yet"])
    return f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
