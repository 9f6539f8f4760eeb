"""The check of every package's license against a short list.

A license on the list lets a package be installed beside Windsock and passed on in an image.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.release.project import ROOT, run, tool

ALLOWED = frozenset(
    {
        "0bsd",
        "3-clause bsd license",
        "apache software license",
        "apache-2.0",
        "bsd license",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc0-1.0",
        "isc",
        "isc license (iscl)",
        "mit",
        "mit license",
        "mit-0",
        "mit-cmu",
        "psf-2.0",
        "python software foundation license",
        "the unlicense (unlicense)",
        "unlicense",
        "zlib",
        # Weak copyleft: changes to these very files are to be published. We change none, and install each as
        # it is, beside our own code and never in our wheels.
        "gnu library or lesser general public license (lgpl)",
        "lgpl-3.0-only",
        "mozilla public license 2.0 (mpl 2.0)",
        "mpl-2.0",
    }
)
EXCEPTIONS = {
    "kubernetes-validate": "says 'Apache'; its LICENSE is the Apache License 2.0. For tests",
    "text-unidecode": "to be had under the Artistic License or the GPL; we take the former. Through Airflow",
}
SAYS_NOTHING = frozenset({"dfsg approved"})  # a classifier that stands beside the licence
VENDORED = ROOT / "templates" / "web" / "static" / "vendor"
NPM = ROOT / "tests" / "npm" / "package-lock.json"
_OWN = frozenset({"windsock-monitor", "airflow-windsock", "windsock-client"})


def listed(environments: Sequence[Path]) -> dict[tuple[str, str], str]:
    """Each package's licence, by name and version, in all of these environments (folders)."""
    found: dict[tuple[str, str], str] = {}
    for environment in environments:
        python = environment / "bin" / "python"
        output = run(
            tool("pip-licenses"), f"--python={python}", "--from=mixed", "--format=json", "--with-system"
        )
        found |= {(package["Name"], package["Version"]): package["License"] for package in json.loads(output)}
    return found


def problems(packages: Mapping[tuple[str, str], str]) -> list[str]:
    """A sentence for each whose licence is not on the list; also of what is vendored and taken from npm."""
    wrong = [
        f"{name} {version}: {licence!r} is not an allowed licence"
        for (name, version), licence in packages.items()
        if name.lower() not in _OWN | EXCEPTIONS.keys() and not allowed(licence)
    ]
    return [*wrong, *_of_vendored(), *_of_npm()]


def _of_vendored() -> Iterator[str]:
    for folder in VENDORED.iterdir():
        first = (folder / "LICENSE").read_text().strip().splitlines()[0]
        if not allowed(re.sub(r"^The | \(.*\)$", "", first)):
            yield f"{folder.name}: its LICENSE begins with {first!r}"


def _of_npm() -> Iterator[str]:
    """What tests take from npm; nothing of it is passed on."""
    packages: dict[str, Any] = json.loads(NPM.read_text())["packages"]
    for name, package in packages.items():
        if name and not allowed(str(package.get("license"))):
            yield f"{name}: {package.get('license')!r} is not an allowed licence"


def allowed(licence: str) -> bool:
    """Of an SPDX expression: each side of AND, one side of OR. Of classifiers, behind `;`: each."""
    parts = [part.strip() for part in licence.split(";")]
    return all(_expression(part) for part in parts if part.lower() not in SAYS_NOTHING)


def _expression(text: str) -> bool:
    plain = text.lower()
    if plain in ALLOWED:  # names of licences have parentheses and an "or" in them
        return True
    inner = re.sub(r"[()]", " ", plain) if " and " not in plain or " or " not in plain else plain
    if " and " in inner:
        return all(_expression(part.strip(" ()")) for part in inner.split(" and "))
    if " or " in inner:
        return any(_expression(part.strip(" ()")) for part in inner.split(" or "))
    return inner.strip() in ALLOWED
