"""A lock is held against a folder of advisories in the OSV format, as both public collections have it."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.release import advisories, holes
from scripts.release.advisories import UnusableAdvisoriesError
from scripts.release.project import REQUIREMENTS

TODAY = date(2026, 11, 30)


def advisory(name: str, package: str, **more: Any) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": "PyPI", "name": package},
        "ranges": [{"type": "ECOSYSTEM", "events": more.pop("events", [{"introduced": "0"}])}],
        "versions": more.pop("versions", []),
    }
    return {"id": name, "modified": "2026-11-20T08:00:00Z", "affected": [affected], **more}


def write(folder: Path, *documents: dict[str, Any]) -> Path:
    """As PyPA's collection (YAML, a folder a package) and OSV's export (JSON) have them, in turn."""
    for number, document in enumerate(documents):
        kind = "yaml" if number % 2 == 0 else "json"
        file = folder / document["affected"][0]["package"]["name"] / f"{document['id']}.{kind}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(yaml.safe_dump(document) if kind == "yaml" else json.dumps(document))
    return folder


VERSIONS = ["1.0", "2.0", "2.2", "3.1.5", "3.1.6rc1", "3.1.6", "10"]


@pytest.mark.parametrize(
    ("events", "affected"),
    [
        ([{"introduced": "0"}, {"fixed": "3.1.6"}], ["1.0", "2.0", "2.2", "3.1.5", "3.1.6rc1"]),
        ([{"introduced": "2.0"}, {"last_affected": "3.1.5"}], ["2.0", "2.2", "3.1.5"]),
        (
            [{"fixed": "2.2"}, {"introduced": "3.0"}, {"introduced": "0"}],
            ["1.0", "2.0", "3.1.5", "3.1.6rc1", "3.1.6", "10"],
        ),
    ],
)
def test_a_range_affects_the_versions_that_the_schema_says(
    tmp_path: Path, events: list[dict[str, str]], affected: list[str]
) -> None:
    found = advisories.read(write(tmp_path, advisory("PYSEC-2026-1", "Jinja2", events=events)))
    assert [version for version in VERSIONS if found.affecting("jinja2", version)] == affected


def test_one_hole_that_two_collections_name_is_told_once(tmp_path: Path) -> None:
    fixed = [{"introduced": "0"}, {"fixed": "3.1.6"}]
    folder = write(
        tmp_path,
        advisory("GHSA-aaaa-bbbb-cccc", "jinja2", events=fixed, aliases=["CVE-2026-5"]),
        advisory("PYSEC-2026-5", "jinja2", events=[*fixed[:1], {"fixed": "3.1.7"}], aliases=["CVE-2026-5"]),
        advisory("PYSEC-2026-6", "jinja2", events=fixed, withdrawn="2026-11-01T00:00:00Z"),
        advisory("PYSEC-2026-7", "jinja2-other"),
        advisory("PYSEC-2026-8", "jinja2", events=[{"introduced": "9"}], versions=["3.1.5"]),
    )
    lock = tmp_path / "some.txt"
    lock.write_text(
        "jinja2==3.1.5 ; python_full_version < '3.11' \\\n    --hash=sha256:ab\nmarkupsafe==3.0 \\\n"
    )
    looked = holes.look_at_folder(advisories.read(folder), lock)
    assert (looked.packages, looked.unchecked) == (2, "")
    assert looked.holes == (
        "jinja2 3.1.5: PYSEC-2026-5, mended in 3.1.6, 3.1.7",
        "jinja2 3.1.5: PYSEC-2026-8, mended in no release yet",
    )


def test_what_is_accepted_by_any_of_its_names_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = advisories.read(write(tmp_path, advisory("PYSEC-2026-5", "jinja2", aliases=["CVE-2026-5"])))
    lock = tmp_path / "some.txt"
    lock.write_text("jinja2==3.1.5 \\\n")
    assert holes.look_at_folder(found, lock).holes
    monkeypatch.setitem(holes.ACCEPTED, "CVE-2026-5", "does not reach us")
    assert holes.look_at_folder(found, lock).holes == ()


def test_every_lock_is_held_against_the_folder(tmp_path: Path) -> None:
    """The project's own locks, with an advisory against what one of them pins."""
    name, version = advisories.pinned((REQUIREMENTS / "uv.txt").read_text())[0]
    folder = write(tmp_path, advisory("PYSEC-2026-9", name, events=[{"introduced": version}]))
    looked = {each.lock: each for each in holes.look_at_all(TODAY, folder)}
    assert set(looked) == {lock.name for lock in holes.locks()}
    assert [each.unchecked for each in looked.values() if each.unchecked] == []
    assert looked["uv.txt"].holes == (f"{name} {version}: PYSEC-2026-9, mended in no release yet",)
    assert looked["monitor.txt"].packages > 30


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "has no advisory of PyPI"),
        ({"README.json": "{}"}, "has no advisory of PyPI"),
        ({"PYSEC-1.json": '{"affected": ['}, "PYSEC-1.json is no OSV advisory (JSONDecodeError"),
        ({"PYSEC-1.yaml": "affected: [\n"}, "PYSEC-1.yaml is no OSV advisory (ParserError"),
        ({"PYSEC-1.json": '{"affected": []}'}, "PYSEC-1.json is no OSV advisory (KeyError: 'modified')"),
        (
            {"old.json": json.dumps(advisory("PYSEC-1", "jinja2"))},
            "of 2026-11-20, 31 days ago: get a newer copy",
        ),
    ],
)
def test_a_folder_that_checks_nothing_is_said_to(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    (looked,) = holes.look_at_all(date(2026, 12, 21), tmp_path)
    assert looked.describe().startswith(f"{len(holes.locks())} locks: NOT CHECKED: ")
    assert reason in looked.unchecked
    (missing,) = holes.look_at_all(TODAY, tmp_path / "none")
    assert "none has no advisory of PyPI" in missing.unchecked


def test_an_advisory_that_cannot_be_judged_hides_no_other(tmp_path: Path) -> None:
    found = advisories.read(
        write(
            tmp_path,
            advisory("PYSEC-2026-1", "jinja2", events=[{"introduced": "nonsense"}]),
            advisory("PYSEC-2026-2", "markupsafe"),
        )
    )
    with pytest.raises(UnusableAdvisoriesError, match=r"PYSEC-2026-1 cannot be held against jinja2 3\.1\.5"):
        found.affecting("jinja2", "3.1.5")
    lock = tmp_path / "some.txt"
    lock.write_text("jinja2==3.1.5 \\\nmarkupsafe==3.0 \\\n")
    told = holes.look_at_folder(found, lock).describe()
    assert "NOT CHECKED: PYSEC-2026-1" in told
    assert "markupsafe 3.0: PYSEC-2026-2" in told
