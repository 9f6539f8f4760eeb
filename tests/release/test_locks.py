"""The locks: exact versions with hashes, no address, nothing that a requirement names left out."""

import re
from pathlib import Path

import pytest

REQUIREMENTS = Path(__file__).parents[2] / "requirements"
LOCKS = sorted(REQUIREMENTS.glob("*.txt"))
_PINNED = re.compile(r"([a-z0-9][a-z0-9._-]*)==[^ ;]+( ; .+)?")
_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_each_line_is_an_exact_version_with_hashes(lock: Path) -> None:
    requirements = lock.read_text().replace("\\\n", " ").splitlines()
    for line in requirements:
        named, *hashes = re.split(r"\s+(?=--hash=)", line.strip())
        assert _PINNED.fullmatch(named), line
        assert hashes, f"{named} has no hash"
        assert all(_HASH.fullmatch(told.strip()) for told in hashes), line


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_address_is_named(lock: Path) -> None:
    assert not re.search(r"://|--(extra-)?index-url|--find-links", lock.read_text())


@pytest.mark.parametrize("wanted", sorted(REQUIREMENTS.glob("*.in")), ids=lambda file: file.name)
def test_each_requirement_is_locked(wanted: Path) -> None:
    """Whether the versions are what it gives today: `make lock-check`, which asks the index."""
    lock = wanted.with_suffix(".txt").read_text()
    locked = {match[1] for match in _PINNED.finditer(lock)}
    for line in wanted.read_text().splitlines():
        if line and not line.startswith(("#", "-r")):
            name, _, version = line.lower().partition("==")
            assert name in locked, f"{wanted.name}: {name}; run `make lock`"
            assert f"{name}=={version}" in lock, f"{wanted.name}: {line}; run `make lock`"
