"""The known holes in each lock, found by pip-audit or in a folder of advisories.

pip-audit asks PyPI's advisory service. If pip-audit cannot ask that service, it says that it skipped each
package, and ends well. A mirror of PyPI may answer without advisories, and then pip-audit finds nothing.
Both would be checks that check nothing.
"""

import json
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from scripts.release import advisories
from scripts.release.advisories import Advisories, UnusableAdvisoriesError
from scripts.release.project import REQUIREMENTS, SUPPORTED, tool

CANARY = "jinja2==2.4.1"
"""A version whose holes have been known for years. Who knows of none has no advisories to give."""
SECONDS = 900  # a lock of Airflow is 180 questions
MAX_AGE_DAYS = 30  # a copy of the advisories that is older misses too much to be called a check
ACCEPTED: dict[str, str] = {}
"""Advisories (id or alias) that do not reach us, each with the reason. Looked at again at each release."""


@dataclass(frozen=True)
class Looked:
    """What became of one lock. `unchecked`: why nothing can be said of it, or of some of it."""

    lock: str
    packages: int
    holes: tuple[str, ...] = ()
    unchecked: str = ""
    ships: bool = True
    """Whether users get what it names; the other locks are what tests run against."""

    def describe(self) -> str:
        """What is known and what is not: a package that could not be checked hides no hole of another."""
        lines = [f"{self.lock}: NOT CHECKED: {self.unchecked}"] if self.unchecked else []
        if self.holes:
            what = "known holes" if self.ships else "known holes (for tests only, not shipped)"
            lines.append("\n  ".join((f"{self.lock}: {len(self.holes)} {what}", *self.holes)))
        return "\n".join(lines) or f"{self.lock}: {self.packages} packages, no known hole"


def locks() -> list[Path]:
    return sorted(REQUIREMENTS.glob("*.txt"))


def ships(lock: Path) -> bool:
    """Not the locks of older Airflows, and what benchmarks compare with."""
    return lock.stem == f"airflow-{SUPPORTED}" or not lock.stem.startswith(("airflow-", "bench-"))


def look_at_all(today: date, folder: Path | None = None) -> list[Looked]:
    """Every lock, by the advisories in this folder, or by PyPI's service. Without any, one line says so."""
    try:
        look_at = look_at_service if folder is None else _folder_look(folder, today)
        if folder is None:
            require_advisories(*_ask_canary())
    except UnusableAdvisoriesError as error:
        return [Looked(f"{len(locks())} locks", 0, unchecked=str(error))]
    return [look_at(lock) for lock in locks()]


def require_advisories(output: str, errors: str) -> None:
    """Raise UnusableAdvisoriesError if pip-audit, by what it printed of the canary, got no advisories."""
    answer = judged("", output, errors)
    reason = answer.unchecked
    if not (reason or answer.holes):
        reason = f"the advisory service knows of no hole in {CANARY}, which has some"
    if reason:
        raise UnusableAdvisoriesError(f"{reason}. Give a copy of the advisories: --advisories FOLDER")


def require_fresh(found: Advisories, today: date) -> None:
    """Raise UnusableAdvisoriesError if this copy is too old to audit with."""
    days = (today - found.newest).days
    if days > MAX_AGE_DAYS:
        raise UnusableAdvisoriesError(
            f"the newest of {found.count} advisories is of {found.newest}, {days} days ago: get a newer copy"
        )


def look_at_service(lock: Path) -> Looked:
    ran = _audit("--requirement", str(lock), "--require-hashes", "--disable-pip")
    return judged(lock.name, *ran, ships(lock))


def look_at_folder(found: Advisories, lock: Path) -> Looked:
    packages = advisories.pinned(lock.read_text())
    findings, unchecked = [], ""
    for name, version in packages:
        try:
            holes = found.affecting(name, version)
        except UnusableAdvisoriesError as error:
            holes, unchecked = [], str(error)
        findings += [
            _hole({"name": name, "version": version}, {"id": hole.id, "fix_versions": hole.fixed_in})
            for hole in holes
            if not hole.names & ACCEPTED.keys()
        ]
    return Looked(lock.name, len(packages), tuple(findings), unchecked, ships(lock))


def _folder_look(folder: Path, today: date) -> Callable[[Path], Looked]:
    found = advisories.read(folder)
    require_fresh(found, today)
    return lambda lock: look_at_folder(found, lock)


def _ask_canary() -> tuple[str, str]:
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
        file.write(CANARY)
        file.flush()
        return _audit("--requirement", file.name, "--no-deps", "--disable-pip")


def _audit(*options: str) -> tuple[str, str]:
    """What pip-audit prints, and its errors."""
    ignored = [f"--ignore-vuln={advisory}" for advisory in ACCEPTED]
    command: list[str | Path] = [
        tool("pip-audit"),
        *options,
        *ignored,
        "--format=json",
        "--progress-spinner=off",
    ]
    try:
        ran = subprocess.run(command, check=False, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return "", f"it has not ended after {SECONDS} s"
    return ran.stdout, ran.stderr


def judged(lock: str, output: str, errors: str, shipped: bool = True) -> Looked:
    """From what pip-audit printed."""
    try:
        found: list[dict[str, Any]] = json.loads(output)["dependencies"]
    except (ValueError, KeyError):
        last = errors.strip().splitlines()[-1:] or ["it said nothing"]
        return Looked(lock, 0, unchecked=f"pip-audit failed: {last[0][:200]}", ships=shipped)
    skipped = [package["name"] for package in found if "skip_reason" in package]
    holes = tuple(_hole(package, hole) for package in found for hole in package.get("vulns", ()))
    why = f"the advisory service knows nothing of {_few(skipped)}" if skipped else ""
    return Looked(lock, len(found), holes, why, shipped)


def _hole(package: dict[str, Any], hole: dict[str, Any]) -> str:
    mended = ", ".join(hole.get("fix_versions") or ["no release yet"])
    return f"{package['name']} {package['version']}: {hole['id']}, mended in {mended}"


def _few(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
