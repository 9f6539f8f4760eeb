"""When there is no release, in a real repository."""

import subprocess
from pathlib import Path

import pytest

from scripts.release.refusals import refusals

GOOD = "# Changelog\n\n## Unreleased\n\n## 1.2.0 - 2026-11-25\n\n### Added\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository that may be released."""
    for package in ("monitor", "plugins/airflow_windsock", "client/windsock_client"):
        (tmp_path / package).mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text('"""It."""\n\n__version__ = "1.2.0"\n')
    (tmp_path / "CHANGELOG.md").write_text(GOOD)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(tree: Path, *words: str) -> None:
    who = ["-c", "user.name=Wind Sock", "-c", "user.email=windsock@example.com"]
    subprocess.run(["git", *who, *words], cwd=tree, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message=It.")


def test_a_clean_tree_whose_version_is_told_may_be_released(tree: Path) -> None:
    assert refusals(tree) == []
    git(tree, "tag", "v1.2.0")
    assert refusals(tree) == []


def test_a_changelog_without_the_version(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(GOOD.replace("## 1.2.0", "## 1.1.0"))
    commit(tree)
    (why,) = refusals(tree)
    assert "no heading '## 1.2.0 - YYYY-MM-DD'" in why


def test_a_changelog_without_the_date(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text(GOOD.replace(" - 2026-11-25", ""))
    commit(tree)
    (why,) = refusals(tree)
    assert "no date" in why


def test_a_tree_that_is_not_the_commit(tree: Path) -> None:
    (tree / "monitor" / "new.py").write_text("")
    (why,) = refusals(tree)
    assert why == "1 files are not as committed, such as 'monitor/new.py': commit or remove them"


@pytest.mark.parametrize(
    ("package", "versions"),
    [
        ("plugins/airflow_windsock", "the monitor is 1.2.0, the plugin 1.1.0 and the client 1.2.0"),
        ("client/windsock_client", "the monitor is 1.2.0, the plugin 1.2.0 and the client 1.1.0"),
    ],
)
def test_two_versions(tree: Path, package: str, versions: str) -> None:
    (tree / package / "__init__.py").write_text('__version__ = "1.1.0"\n')
    commit(tree)
    (why,) = refusals(tree)
    assert why == f"{versions}: give all the same __version__"


def test_a_version_that_is_another_commit(tree: Path) -> None:
    git(tree, "tag", "v1.2.0")
    (tree / "more").write_text("")
    commit(tree)
    (why,) = refusals(tree)
    assert why.startswith("v1.2.0 is another commit")
