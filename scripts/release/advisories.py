"""A folder of advisories in the OSV format, for an audit without access to an advisory service.

Both public collections have this format. PyPA's advisory-database has it as YAML
(`vulns/PACKAGE/PYSEC-….yaml`), and OSV's export for PyPI as JSON (the unpacked `all.zip`). The OSV schema
defines which versions an advisory affects.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version


def _load_yaml(text: str) -> Any:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there
    return yaml.load(text, loader)  # noqa: S506 (both are safe)


ECOSYSTEM = "PyPI"
READERS: dict[str, Callable[[str], Any]] = {".json": json.loads, ".yaml": _load_yaml, ".yml": _load_yaml}
PREFERRED = ("PYSEC-", "GHSA-", "CVE-")
"""Which name of a hole is shown: what pip-audit shows too, if there is one."""
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


class UnusableAdvisoriesError(Exception):
    """The folder, or a file in it, cannot be audited with; the message says why."""


@dataclass(frozen=True)
class Hole:
    """An advisory that affects a version, with the versions that mend it."""

    id: str
    names: frozenset[str]
    """The id and its aliases: the two collections name one hole differently."""
    fixed_in: tuple[str, ...]


@dataclass
class Advisories:
    """The advisories of a folder, by package."""

    count: int = 0
    newest: date = date.min
    """The day of the latest change. Later holes are unknown to this copy."""
    _by_package: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def affecting(self, package: str, version: str) -> list[Hole]:
        """Return the holes of this version, each once. Raises UnusableAdvisoriesError."""
        found = [
            hole
            for advisory in self._by_package.get(canonicalize_name(package), ())
            if (hole := _evaluate(advisory, canonicalize_name(package), version)) is not None
        ]
        return list(_merge(found))

    def add(self, advisory: Mapping[str, Any]) -> None:
        """Take one in, if it is of this ecosystem and still holds. Raises KeyError and others."""
        self.newest = max(self.newest, date.fromisoformat(str(advisory["modified"])[:10]))
        packages = {
            canonicalize_name(affected["package"]["name"])
            for affected in advisory.get("affected", ())
            if affected.get("package", {}).get("ecosystem") == ECOSYSTEM
        }
        self.count += bool(packages)
        if advisory.get("withdrawn") is None:
            for package in packages:
                self._by_package.setdefault(package, []).append(dict(advisory))


def read(folder: Path) -> Advisories:
    """Every advisory below this folder. Raises UnusableAdvisoriesError."""
    advisories = Advisories()
    for file in sorted(folder.rglob("*")) if folder.is_dir() else ():
        if file.suffix in READERS and not _is_hidden(file.relative_to(folder)):
            try:
                document = READERS[file.suffix](file.read_text(encoding="utf-8"))
                if "affected" in document:  # a collection has other files too, such as its schema
                    advisories.add(document)
            except (OSError, ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError) as error:
                reason = str(error).strip().partition("\n")[0]
                raise UnusableAdvisoriesError(
                    f"{file} is no OSV advisory ({type(error).__name__}: {reason}): get a whole copy"
                ) from None
    if not advisories.count:
        raise UnusableAdvisoriesError(f"{folder} has no advisory of {ECOSYSTEM} in the OSV format")
    return advisories


def pinned(lock: str) -> list[tuple[str, str]]:
    """Name and version of everything that a lock pins, for whichever Python."""
    return _PINNED.findall(lock)


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)  # .git, .github


def _evaluate(advisory: Mapping[str, Any], package: str, version: str) -> Hole | None:
    """The hole, if this version is affected."""
    fixed: list[str] = []
    is_affected = False
    try:
        for affected in advisory["affected"]:
            if canonicalize_name(affected.get("package", {}).get("name", "")) != package:
                continue
            is_affected |= version in affected.get("versions", ())
            for events in (
                version_range["events"]
                for version_range in affected.get("ranges", ())
                if version_range["type"] == "ECOSYSTEM"
            ):
                is_affected |= _is_within(events, Version(version))
                fixed += [event["fixed"] for event in events if "fixed" in event]
        later = {text for text in fixed if Version(text) > Version(version)}
    except (InvalidVersion, KeyError, TypeError) as error:
        raise UnusableAdvisoriesError(
            f"{advisory.get('id')} cannot be held against {package} {version}: {error!r}"
        ) from None
    names = frozenset({advisory["id"], *advisory.get("aliases", ())})
    return Hole(advisory["id"], names, tuple(sorted(later, key=Version))) if is_affected else None


def _is_within(events: Iterable[Mapping[str, str]], version: Version) -> bool:
    """True if the version lies in this range, by the OSV schema's evaluation."""
    inside = False
    for kind, at in sorted(
        ((kind, at) for event in events for kind, at in event.items()), key=lambda event: _moment(event[1])
    ):
        if kind == "introduced" and _moment(at) <= version:
            inside = True
        elif (kind in ("fixed", "limit") and _moment(at) <= version) or (
            kind == "last_affected" and _moment(at) < version
        ):
            inside = False
    return inside


def _moment(at: str) -> Version:
    return Version("0.dev0" if at == "0" else at)  # "0": before every version


def _merge(holes: Iterable[Hole]) -> Iterator[Hole]:
    """One for each hole that several advisories are about."""
    groups: list[Hole] = []
    for hole in holes:
        same = [group for group in groups if group.names & hole.names]
        groups = [group for group in groups if group not in same]
        names = hole.names.union(*(group.names for group in same))
        fixed = {*hole.fixed_in, *(text for group in same for text in group.fixed_in)}
        groups.append(Hole(min(names, key=_preference), names, tuple(sorted(fixed, key=Version))))
    yield from groups


def _preference(name: str) -> tuple[int, str]:
    ranks = [rank for rank, prefix in enumerate(PREFERRED) if name.startswith(prefix)]
    return (ranks[0] if ranks else len(PREFERRED), name)
