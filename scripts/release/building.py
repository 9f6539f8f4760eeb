"""A release's files in one folder: wheels, source archives, bills of materials, digests, checksums."""

import hashlib
import tempfile
from pathlib import Path

from scripts.release import bills
from scripts.release.digests import OVERRIDE, VALUES
from scripts.release.project import ROOT, run

SUMS = "SHA256SUMS"
WHEELS = Path("scripts/release/wheels")
"""The program that builds them, in the checkout."""


def clear(folder: Path) -> None:
    """Take away what an earlier release left there."""
    for pattern in ("*windsock*", "image-*.cdx.json", OVERRIDE, VALUES, SUMS):
        for file in folder.glob(pattern):
            file.unlink()


def wheels(folder: Path) -> list[Path]:
    """Built twice, from two copies of the commit's files. Raises ValueError where the two differ."""
    run(ROOT / WHEELS, folder)
    with tempfile.TemporaryDirectory(prefix="windsock-release-") as elsewhere:
        copy = Path(elsewhere) / "copy"
        run("git", "worktree", "add", "--detach", copy, "HEAD")
        try:
            run(copy / WHEELS, Path(elsewhere) / "dist")
        finally:
            run("git", "worktree", "remove", "--force", copy)
        first, second = (sums(path) for path in (folder, Path(elsewhere) / "dist"))
    differing = [name for name, digest in second.items() if first.get(name) != digest]
    if differing:
        raise ValueError(
            f"not reproducible: {', '.join(differing)} has other bytes when it is built from a fresh copy"
        )
    return [folder / name for name in second]


def write_bills(folder: Path, environment: Path, built: dict[str, str], pythons: dict[str, str]) -> None:
    """`environment` holds the monitor; `built` are images by their targets, `pythons` their interpreters."""
    bills.write(
        bills.of_environment(environment, ROOT / "pyproject.toml"), folder / "windsock_monitor.cdx.json"
    )
    bills.write(bills.of_plugin(), folder / "airflow_windsock.cdx.json")
    for target, image in built.items():
        bills.write(bills.of_image(image, pythons[target]), folder / f"image-{target}.cdx.json")


def write_sums(folder: Path) -> None:
    """As `sha256sum --check` reads it."""
    digests = {name: found for name, found in sums(folder).items() if name != SUMS}
    (folder / SUMS).write_text("".join(f"{found}  {name}\n" for name, found in sorted(digests.items())))


def sums(folder: Path) -> dict[str, str]:
    return {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.iterdir()
        if file.is_file()
    }
