"""The scripts' own manners: the .env they write, and what they say where they cannot go on."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.compose.engine import docker
from tests.compose.stack import read_env

ROOT = Path(__file__).parents[2]
SECRETS = {
    "AIRFLOW_PASSWORD",
    "AIRFLOW_VIEWER_PASSWORD",
    "POSTGRES_PASSWORD",
    "AIRFLOW_FERNET_KEY",
    "AIRFLOW_JWT_SECRET",
    "AIRFLOW_API_SECRET",
    "WINDSOCK_INGEST_SECRET",
    "WINDSOCK_SESSION_SECRET",
    "MONITOR_POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "GRAFANA_PASSWORD",
    "MAILPIT_PASSWORD",
}
WRITTEN = {"SECRETS_DIR", "SECRETS_VERSION", "AIRFLOW_EXECUTOR", "MONITOR_REPLICAS", "MONITOR_HOST"}
MISTAKE, NO_DOCKER = 2, 3
PROJECT = "windsock-test-scripts"  # in which nothing runs


def script(name: str, env_file: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run one as a user would, with a project of its own that has nothing running."""
    own = {"ENV_FILE": str(env_file), "COMPOSE_PROJECT_NAME": PROJECT, "COMPOSE_PROFILES": ""}
    return subprocess.run(
        [ROOT / "compose" / name], env=os.environ | own | env, capture_output=True, text=True, timeout=60
    )


def test_env_is_written_with_fresh_secrets_for_this_user_only(tmp_path: Path) -> None:
    first, second = (tmp_path / name for name in ("first", "second"))
    for path in (first, second):
        assert script("env", path).returncode == 0
        assert path.stat().st_mode & 0o777 == 0o600
    made = [read_env(path)[name] for path in (first, second) for name in sorted(SECRETS)]
    assert len(set(made)) == 2 * len(SECRETS)
    assert min(map(len, made)) >= 20


def test_env_that_is_there_keeps_its_values_and_gets_what_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("AIRFLOW_PASSWORD=mine\nPOSTGRES_PASSWORD=\nAIRFLOW_PORT=9999")
    told = script("env", path).stdout
    settings = read_env(path)
    assert settings["AIRFLOW_PASSWORD"] == "mine"
    assert settings["AIRFLOW_PORT"] == "9999"
    assert set(settings) == SECRETS | WRITTEN | {"AIRFLOW_PORT"}
    assert all(settings.values())
    assert not any(settings[name] in told for name in SECRETS)
    before = path.read_bytes()
    assert script("env", path).stdout == ""
    assert path.read_bytes() == before


def test_port_that_is_taken_is_named_with_its_variable(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = script("up", tmp_path / ".env", MONITOR_PORT=port, AIRFLOW_PORT="1", MAILPIT_PORT="2")
    assert done.returncode == MISTAKE
    assert f"port {port} is taken" in done.stderr
    assert "MONITOR_PORT" in done.stderr


def test_lost_env_is_not_replaced_while_its_database_is_there(tmp_path: Path) -> None:
    volume = docker("volume", "create", f"{PROJECT}_postgres").strip()
    try:
        done = script("up", tmp_path / ".env")
    finally:
        docker("volume", "rm", volume)
    assert done.returncode == MISTAKE
    assert volume in done.stderr
    assert not (tmp_path / ".env").exists()


def test_daemon_that_does_not_answer_is_told(tmp_path: Path) -> None:
    done = script("up", tmp_path / ".env", DOCKER_HOST=f"unix://{tmp_path}/none.sock")
    assert done.returncode == NO_DOCKER
    assert "daemon does not answer" in done.stderr
    assert not (tmp_path / ".env").exists()


def test_machine_without_docker_is_told(tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        where = shutil.which(tool)
        assert where is not None
        (tmp_path / tool).symlink_to(where)
    done = script("up", tmp_path / ".env", PATH=str(tmp_path))
    assert done.returncode == NO_DOCKER
    assert "Docker is not installed" in done.stderr


def test_compose_itself_refuses_to_start_before_the_secrets_are_written(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    script("env", path)
    kept = [line for line in path.read_text().splitlines() if not line.startswith("SECRETS_DIR=")]
    path.write_text("\n".join(kept))
    done = merged(path)
    assert done.returncode != 0
    assert "make compose" in done.stderr


def test_images_are_by_digest_where_a_releases_file_is_beside(tmp_path: Path) -> None:
    path, file = tmp_path / ".env", tmp_path / "docker-compose.digests.yaml"
    script("env", path)
    pinned = f"postgres:16.15-bookworm@sha256:{'a' * 64}"
    assert pinned not in merged(path, DIGESTS_FILE=str(file)).stdout
    file.write_text(f"services: {{postgres: {{image: '{pinned}'}}}}")
    assert f"image: {pinned}\n" in merged(path, DIGESTS_FILE=str(file)).stdout


def merged(env_file: Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """What the scripts give compose, as compose reads it."""
    probe = f'source "{ROOT}/compose/engine.sh"; need_docker; compose config'
    own = {"ENV_FILE": str(env_file)}
    return subprocess.run(
        ["bash", "-c", probe], env=os.environ | own | env, capture_output=True, text=True, timeout=60
    )


def test_secrets_are_files_that_no_other_user_reaches(tmp_path: Path) -> None:
    script("env", tmp_path / ".env")
    folder = tmp_path / ".secrets"
    settings = read_env(tmp_path / ".env")
    assert settings["SECRETS_DIR"] == str(folder)
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in SECRETS:
        assert (folder / name).read_text() == settings[name]
        assert (folder / name).stat().st_mode & 0o777 == 0o444  # the containers' users read them
    assert (folder / "WINDSOCK_DATABASE_URL").read_text() == ""
    assert (folder / "MAILPIT_AUTH").read_text() == f"admin:{settings['MAILPIT_PASSWORD']}\n"


def test_another_secret_is_another_version_of_the_containers(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    script("env", path)
    before = read_env(path)
    path.write_text(path.read_text().replace(before["AIRFLOW_JWT_SECRET"], "x" * 64))
    script("env", path)
    assert read_env(path)["SECRETS_VERSION"] != before["SECRETS_VERSION"]
    assert (tmp_path / ".secrets" / "AIRFLOW_JWT_SECRET").read_text() == "x" * 64


def test_profiles_say_what_follows_from_them(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    script("env", path, COMPOSE_PROFILES="celery,scale")
    settings = read_env(path)
    assert [settings[name] for name in ("AIRFLOW_EXECUTOR", "MONITOR_REPLICAS", "MONITOR_HOST")] == [
        "CeleryExecutor",
        "0",
        "load-balancer",
    ]
    assert "@monitor-postgres/" in (tmp_path / ".secrets" / "WINDSOCK_DATABASE_URL").read_text()
    script("env", path)
    settings = read_env(path)
    assert [settings[name] for name in ("AIRFLOW_EXECUTOR", "MONITOR_REPLICAS", "MONITOR_HOST")] == [
        "LocalExecutor",
        "1",
        "monitor",
    ]


def test_profile_that_is_none_is_named(tmp_path: Path) -> None:
    done = script("env", tmp_path / ".env", COMPOSE_PROFILES="celery,scael")
    assert done.returncode == MISTAKE
    assert "'scael'" in done.stderr
