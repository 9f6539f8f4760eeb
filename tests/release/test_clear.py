"""What make clears is this project's own: no link leads it to another's."""

import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
MAKE_SECONDS = 60


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Another project's environments."""
    environment = tmp_path / "foreign" / "env" / "dev"
    environment.mkdir(parents=True)
    (environment / "precious").touch()
    return tmp_path / "foreign"


def make(home: Path, goal: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"WINDSOCK_HOME={home}", goal],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=MAKE_SECONDS,
    )


def clear(home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [REPOSITORY / "requirements" / "clear", home, folder]
    return subprocess.run(command, capture_output=True, text=True, timeout=MAKE_SECONDS)


@pytest.mark.parametrize("linked", ["", "env"], ids=["the home", "its environments"])
def test_an_environment_is_not_made_behind_a_link(tmp_path: Path, foreign: Path, linked: str) -> None:
    home = tmp_path / ".windsock"
    link = home / linked
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(foreign / linked)

    done = make(home, f"{home}/env/dev/.made")

    assert done.returncode != 0
    assert f"{link} is a link to {foreign / linked}" in done.stderr
    assert "Remove the link" in done.stderr
    assert [path.name for path in (foreign / "env").iterdir()] == ["dev"]
    assert (foreign / "env" / "dev" / "precious").exists()


def test_an_environment_that_is_a_link_is_made_in_its_place(tmp_path: Path, foreign: Path) -> None:
    environment = tmp_path / "home" / "env" / "dev"
    environment.parent.mkdir(parents=True)
    environment.symlink_to(foreign / "env" / "dev")

    assert clear(tmp_path / "home", environment).returncode == 0

    assert not environment.is_symlink()
    assert (foreign / "env" / "dev" / "precious").exists()


def test_make_clean_removes_the_link_alone(tmp_path: Path, foreign: Path) -> None:
    home = tmp_path / ".windsock"
    home.symlink_to(foreign)

    assert make(home, "clean").returncode == 0

    assert not home.is_symlink()
    assert (foreign / "env" / "dev" / "precious").exists()


def test_links_within_are_removed_and_not_followed(tmp_path: Path, foreign: Path) -> None:
    home = tmp_path / ".windsock"
    (home / "env").mkdir(parents=True)
    (home / "env" / "dev").symlink_to(foreign / "env" / "dev")

    assert make(home, "clean").returncode == 0

    assert not home.exists()
    assert (foreign / "env" / "dev" / "precious").exists()


def test_what_is_not_below_the_home_is_refused(tmp_path: Path, foreign: Path) -> None:
    (tmp_path / "home").mkdir()

    done = clear(tmp_path / "home", foreign)

    assert "is not below" in done.stderr
    assert (foreign / "env" / "dev" / "precious").exists()
