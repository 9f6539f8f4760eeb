"""A home that others may write to is refused; what the settings name and others may change is told of."""

import os
import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest

from monitor.errors import SettingsError
from monitor.secret_files import doubts, make_home, require_own_home
from monitor.settings_loading import load_environment
from tests.monitor_process import PYTHONPATH, WINDSOCK

NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a folder to another user")


def test_a_home_is_made_for_its_user_alone(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    make_home(home)
    assert home.stat().st_mode & 0o7777 == 0o700
    make_home(home)


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o770, 0o2775, 0o1777])
def test_a_home_that_somebody_set_up_is_taken(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    (tmp_path / "windsock.yaml").touch()
    require_own_home(tmp_path)


@pytest.mark.parametrize("mode", [0o777, 0o2777, 0o702])
def test_a_home_that_anybody_may_write_to_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(SettingsError) as refused:
        require_own_home(tmp_path)
    told = str(refused.value)
    assert told.startswith(
        f"WINDSOCK_HOME: {tmp_path} (owner {os.geteuid()}, mode {mode:04o}) may be written"
    )
    assert f"chmod 700 {tmp_path}" in told


@as_root
def test_another_users_home_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, NOBODY, NOBODY)
    with pytest.raises(SettingsError, match=f"owner {NOBODY}, mode 0700.* belongs to another user"):
        require_own_home(tmp_path)


@as_root
@pytest.mark.parametrize("name", ["windsock.yaml", "windsock.db", "link.key"])
def test_where_anybody_makes_files_none_of_others_is_believed(tmp_path: Path, name: str) -> None:
    tmp_path.chmod(0o1777)
    require_own_home(tmp_path)
    (tmp_path / name).touch()
    os.chown(tmp_path / name, NOBODY, NOBODY)
    with pytest.raises(SettingsError, match=name):
        require_own_home(tmp_path)


def test_what_settings_name_is_told_of(tmp_path: Path) -> None:
    folder, rules = tmp_path / "etc", tmp_path / "etc" / "windsock.yaml"
    folder.mkdir()
    rules.touch()
    named = {"WINDSOCK_CONFIG": rules}
    assert list(doubts(named)) == []
    folder.chmod(0o777)
    (told,) = doubts(named)
    assert told.startswith(f"WINDSOCK_CONFIG: {folder} (owner")
    rules.chmod(0o666)
    (told,) = doubts(named)
    assert told.startswith(f"WINDSOCK_CONFIG: {rules} (owner")


@as_root
def test_the_command_believes_no_settings_of_another_users_home(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "up.env").write_text("WINDSOCK_AUTH=none\n")
    os.chown(home, NOBODY, NOBODY)
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "WINDSOCK_HOME": str(home)}
    done = subprocess.run([WINDSOCK, "check"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert f"WINDSOCK_HOME: {home} (owner {NOBODY}" in done.stderr
    assert [path.name for path in home.iterdir()] == ["up.env"]


def checked(folder: Path) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": PYTHONPATH, "WINDSOCK_HOME": str(folder / "home")}
    return subprocess.run([WINDSOCK, "check"], cwd=folder, env=env, capture_output=True, text=True)


@as_root
def test_the_command_reads_no_dotenv_of_another_user(tmp_path: Path) -> None:
    """It would send this user's tokens and Airflow's password where that file says."""
    tmp_path.chmod(0o1777)
    file = tmp_path / ".env"
    file.write_text("WINDSOCK_AIRFLOW_URL=http://127.0.0.1:1\n")
    os.chown(file, NOBODY, NOBODY)
    done = checked(tmp_path)
    assert done.returncode == 2
    assert f".env: .env belongs to another user ({NOBODY})" in done.stderr
    assert "chown" in done.stderr


@as_root
@pytest.mark.parametrize("folder_of", [0, NOBODY])
def test_dotenv_in_a_folder_that_another_user_has(tmp_path: Path, folder_of: int) -> None:
    file = tmp_path / ".env"
    file.write_text("A=b\n")
    os.chown(tmp_path, folder_of, folder_of)
    with pytest.raises(SettingsError, match="belongs to") if folder_of else nullcontext():
        assert load_environment({}, file) == {"A": "b"}


def test_dotenv_that_anybody_may_write_is_told_of(tmp_path: Path) -> None:
    """It is read: some file systems, such as WSL's of Windows disks, have no other mode."""
    file = tmp_path / ".env"
    file.write_text("WINDSOCK_AIRFLOW_URL=nonsense\n")
    file.chmod(0o666)
    (told,) = doubts({".env": file})
    assert "may be written by anybody" in told
    assert load_environment({}, file) == {"WINDSOCK_AIRFLOW_URL": "nonsense"}
