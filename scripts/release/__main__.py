"""The command `python -m scripts.release audit|make`; `make help` describes both."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from pathlib import Path

from scripts.release import building, digests, holes, images, licences
from scripts.release.digests import Named, Pins
from scripts.release.project import ROOT, SUPPORTED, Failed, say, version
from scripts.release.refusals import refusals

ENVIRONMENTS = ROOT / ".windsock" / "env"
STATUSES = (
    "Exit status: 0 nothing is wrong (what could not be checked is said; with --strict, all was checked), "
    "1 something is wrong, or with --strict could not be checked, 2 a wrong option."
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="release", description=__doc__, epilog=STATUSES)
    commands = parser.add_subparsers(dest="command", required=True)
    audit = commands.add_parser("audit", help="known holes and licences")
    make = commands.add_parser("make", help="everything into one folder")
    for command in (audit, make):
        command.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where make made them")
        command.add_argument(
            "--advisories",
            metavar="FOLDER",
            type=Path,
            help="OSV or PyPA advisories (JSON, YAML) to audit with, instead of PyPI's service",
        )
    audit.add_argument("--strict", action="store_true", help="what could not be checked is a failure")
    make.add_argument("--out", type=Path, default=ROOT / "dist")
    make.add_argument("--dry-run", action="store_true", help="go on where it would be refused, push nothing")
    make.add_argument("--no-images", action="store_true", help="of a dry run: do without Docker")
    make.add_argument("--push", metavar="PREFIX", help="push the images there")
    options = parser.parse_args()
    try:
        if options.command == "audit":
            return 0 if audited(options, options.strict) else 1
        make_release(options)
    except Refused:
        return 1
    except Failed as error:
        say([f"failed: {error}"])
        return 1
    return 0


def audited(options: argparse.Namespace, strict: bool) -> bool:
    """Whether nothing is wrong; what could not be checked is wrong where it must be known."""
    looked = holes.look_at_all(date.today(), options.advisories)  # noqa: DTZ011 (a day is exact enough)
    say(dict.fromkeys(finding.describe() for finding in looked))
    environments = [options.environments / name for name in ("monitor", "dev", f"airflow-{SUPPORTED}")]
    packages = licences.listed(environments)
    wrong = licences.problems(packages)
    say(wrong or [f"licences: {len(packages)} packages, all allowed"])
    bad = any(finding.holes and finding.ships for finding in looked)
    unknown = any(finding.unchecked and finding.ships for finding in looked)
    return not (wrong or bad or (unknown and strict))


def make_release(options: argparse.Namespace) -> None:
    """Everything into one folder. Raises Refused."""
    refuse(refusals(), options.dry_run)
    if not audited(options, strict=not options.dry_run):
        refuse(["the audit above"])
    project, with_docker = digests.named(), not (options.dry_run and options.no_images)
    pins = digests.pin(project.images) if with_docker else Pins()
    refuse(pins.missing, options.dry_run)
    options.out.mkdir(parents=True, exist_ok=True)
    building.clear(options.out)
    try:
        building.wheels(options.out)
    except ValueError as error:
        refuse([str(error)], options.dry_run)
    built = images.build(partial(digests.build_arguments, project, pins.pinned)) if with_docker else {}
    pythons = {target: python for target, (_, python) in images.TARGETS.items()}
    building.write_bills(options.out, options.environments / "monitor", built, pythons)
    pushed = push(built, options.push) if options.push and not options.dry_run else {}
    if with_docker:
        write_digests(options.out, project, pins, pushed)
    else:
        say(["digests: not looked up (--no-images)"])
    building.write_sums(options.out)
    say([f"release {version()}{' (dry run)' if options.dry_run else ''}: {options.out}"])
    say([f"  {file.name}" for file in sorted(options.out.iterdir())])


class Refused(Exception):
    """There is no release; why was said."""


def refuse(reasons: Sequence[str], dry_run: bool = False) -> None:
    """Say each reason. Raises Refused if there is one, unless only a dry run is asked for."""
    say(f"refused: {reason}" for reason in reasons)
    if reasons and not dry_run:
        raise Refused


def push(built: Mapping[str, str], prefix: str) -> dict[str, str]:
    """Push our own images; each by digest, by its target. Raises Refused."""
    names = images.push(built, prefix)
    pins = digests.pin(names.values())
    refuse(pins.missing)
    return {target: pins.pinned[name] for target, name in names.items()}


def write_digests(folder: Path, project: Named, pins: Pins, pushed: Mapping[str, str]) -> None:
    """The override and the chart's values, as far as there are digests; say which is not written, and why."""
    about = f"The images of Windsock {version()} by digest, of {images.committed():%Y-%m-%d}."
    if set(project.images) <= pins.pinned.keys():
        override = digests.compose_override(project, pins.pinned, pushed, about)
        (folder / digests.OVERRIDE).write_text(override)
    else:
        lacking = len(set(project.images) - pins.pinned.keys())
        say([f"{digests.OVERRIDE} is not written: {lacking} of its images have no digest"])
    if pushed:
        (folder / digests.VALUES).write_text(digests.chart_values(pushed["monitor"], about))
    else:
        say([f"{digests.VALUES} is not written: our own images get a digest when they are pushed (--push)"])


if __name__ == "__main__":
    sys.exit(main())
