"""What a release takes from the project itself."""

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from scripts.release.building import WHEELS
from scripts.release.images import TARGETS, labels
from scripts.release.project import ROOT, Failed, run, version


def test_the_plugins_wheel_has_the_projects_licence() -> None:
    assert (ROOT / "plugins" / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_the_program_that_builds_the_wheels_is_there() -> None:
    assert os.access(ROOT / WHEELS, os.X_OK)


def test_the_images_are_those_of_the_dockerfile() -> None:
    told = (ROOT / "Dockerfile").read_text()
    assert all(f" AS {target}\n" in told for target in TARGETS)


def test_labels_are_of_the_commit() -> None:
    committed = datetime(2026, 11, 25, 11, tzinfo=timezone(timedelta(hours=1)))
    told = labels("It", "1.2.0", "abc", committed)
    assert told["org.opencontainers.image.created"] == "2026-11-25T10:00:00+00:00"
    assert told["org.opencontainers.image.version"] == "1.2.0"


def test_both_packages_have_one_version() -> None:
    assert version() == version(ROOT / "plugins" / "airflow_windsock")


def test_a_program_that_fails_or_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="git no-such-word ended with 1"):
        run("git", "no-such-word")
    with pytest.raises(Failed, match="no-such-program is not installed"):
        run("no-such-program", cwd=tmp_path)
