"""`python -m release audit|make`: see `make help`."""

import argparse
import sys
from datetime import date
from pathlib import Path

from release import building, holes, images, licences
from release.project import ROOT, SUPPORTED, Failed, say, version
from release.refusals import refusals

ENVIRONMENTS = ROOT / ".windsock" / "env"
STATUSES = (
    "Exit status: 0 nothing is wrong (what could not be checked is said; with --strict, all was checked), "
    "1 something is wrong, or with --strict could not be checked, 2 a wrong option."
)


def main() -> int:
    asked = argparse.ArgumentParser(prog="release", description=__doc__, epilog=STATUSES)
    commands = asked.add_subparsers(dest="command", required=True)
    audit = commands.add_parser("audit", help="known holes and licences")
    make = commands.add_parser("make", help="everything into one folder")
    for each in (audit, make):
        each.add_argument("--environments", type=Path, default=ENVIRONMENTS, help="where make made them")
        each.add_argument(
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
    given = asked.parse_args()
    try:
        if given.command == "audit":
            return 0 if audited(given, given.strict) else 1
        return released(given)
    except Failed as error:
        say([f"failed: {error}"])
        return 1


def audited(given: argparse.Namespace, strict: bool) -> bool:
    """Whether nothing is wrong; what could not be checked is wrong where it must be known."""
    looked = holes.look_at_all(date.today(), given.advisories)  # noqa: DTZ011 (a day is exact enough)
    say(dict.fromkeys(each.told() for each in looked))
    environments = [given.environments / name for name in ("monitor", "dev", f"airflow-{SUPPORTED}")]
    packages = licences.listed(environments)
    wrong = licences.problems(packages)
    say(wrong or [f"licences: {len(packages)} packages, all allowed"])
    bad = any(each.holes and each.ships for each in looked)
    unknown = any(each.unchecked and each.ships for each in looked)
    return not (wrong or bad or (unknown and strict))


def released(given: argparse.Namespace) -> int:
    refused = refusals()
    say([f"refused: {reason}" for reason in refused])
    if refused and not given.dry_run:
        return 1
    if not audited(given, strict=not given.dry_run):
        say(["refused: the audit above"])
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    building.clear(given.out)
    try:
        building.wheels(given.out)
    except ValueError as error:
        say([f"refused: {error}"])
        if not given.dry_run:
            return 1
    built = {} if given.dry_run and given.no_images else images.build()
    pythons = {target: python for target, (_, python) in images.TARGETS.items()}
    building.write_bills(given.out, given.environments / "monitor", built, pythons)
    building.write_sums(given.out)
    if given.push and not given.dry_run:
        images.push(built, given.push)
    say([f"release {version()}{' (dry run)' if given.dry_run else ''}: {given.out}"])
    say([f"  {file.name}" for file in sorted(given.out.iterdir())])
    return 0


sys.exit(main())
