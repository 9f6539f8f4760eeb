"""The images of a release are named by digest, or it is said which have none and there is no release."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.release import digests
from scripts.release.__main__ import Refused, push, refuse, write_digests
from scripts.release.digests import Named, NoDigestError
from scripts.release.project import ROOT

HERE, THERE, OWN = (f"sha256:{sign * 64}" for sign in "abc")
PATH = os.environ["PATH"]  # before there is a program of our own on it
Docker = Callable[..., Path]
FAKE = """#!/usr/bin/env python3
import json, pathlib, sys
folder = pathlib.Path(__file__).parent
known = json.loads((folder / "known.json").read_text())
with (folder / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + chr(10))
image = sys.argv[-1]
if sys.argv[1:3] == ["image", "inspect"]:
    if image in known["here"]:
        print(json.dumps(known["here"][image]))
        sys.exit()
    sys.exit("Error: No such image: " + image)
if sys.argv[1:4] == ["buildx", "imagetools", "inspect"] and known["buildx"]:
    if known["registry"] is not None:
        print(known["registry"])
        sys.exit()
    sys.exit("ERROR: failed to do request: dial tcp: no such host")
if not known["buildx"]:
    sys.exit("unknown flag: --format")
"""


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    """A program `docker` that knows what it is told, and writes down what it is asked."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    (folder / "docker").write_text(FAKE)
    (folder / "docker").chmod(0o755)

    def knows(
        here: dict[str, list[str]] | None = None, registry: str | None = None, buildx: bool = True
    ) -> Path:
        known = {"here": here or {}, "registry": registry, "buildx": buildx}
        (folder / "known.json").write_text(json.dumps(known))
        return folder / "calls"

    return knows


def everything(project: Named) -> dict[str, list[str]]:
    """Every image of the project, as pulled from its registry."""
    return {image: [f"{image.rpartition(':')[0]}@{HERE}"] for image in project.images}


@pytest.mark.parametrize(
    ("image", "known"),
    [
        ("postgres:16.15", ["postgres@" + HERE]),
        ("postgres:16.15", ["docker.io/library/postgres@" + HERE]),
        ("prom/prometheus:v3.5.5", ["docker.io/prom/prometheus@" + HERE, "elsewhere:5000/prometheus@" + OWN]),
        ("registry.example.com:5000/a/b:1.2.0", ["registry.example.com:5000/a/b@" + HERE]),
    ],
)
def test_what_the_engine_has_pulled_is_its_digest(docker: Docker, image: str, known: list[str]) -> None:
    calls = docker({image: known}, registry=THERE)
    assert digests.digest(image) == HERE
    assert "imagetools" not in calls.read_text()


@pytest.mark.parametrize(
    "here",
    [
        {},
        {"postgres:16.15": []},  # built here
        {"postgres:16.15": ["mirror.example.com/postgres@" + HERE]},
        {"postgres:16.15": ["postgres@" + HERE, "postgres@" + OWN]},
    ],
)
def test_the_registry_is_asked_where_the_engine_does_not_know(
    docker: Docker, here: dict[str, list[str]]
) -> None:
    docker(here, registry=THERE)
    assert digests.digest("postgres:16.15") == THERE


def test_what_no_registry_tells_is_named_with_the_remedy(docker: Docker) -> None:
    docker({"postgres:16.15": []})
    with pytest.raises(NoDigestError) as told:
        digests.digest("postgres:16.15")
    assert "postgres:16.15 has no digest" in str(told.value)
    assert "no such host" in str(told.value)
    assert "Run `docker pull postgres:16.15`" in str(told.value)
    docker({}, buildx=False)
    with pytest.raises(NoDigestError, match="docker buildx is missing"):
        digests.digest("postgres:16.15")
    docker({}, registry="garbage")
    with pytest.raises(NoDigestError, match="says 'garbage'"):
        digests.digest("postgres:16.15")


def test_without_a_digest_there_is_no_release_and_a_dry_run_goes_on(
    docker: Docker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = digests.named()
    known = everything(project)
    lost = known.popitem()[0]
    docker(known)
    pins = digests.pin(project.images)
    with pytest.raises(Refused):
        refuse(pins.missing)
    refuse(pins.missing, dry_run=True)
    write_digests(tmp_path, project, pins, {})
    said = capsys.readouterr().out
    assert said.count(f"refused: {lost} has no digest") == 2
    assert f"{digests.OVERRIDE} is not written: 1 of its images have no digest" in said
    assert list(tmp_path.glob("*digests*")) == []


def test_an_image_that_no_registry_has_after_the_push_is_no_release(docker: Docker) -> None:
    docker({"r.example.com/o/windsock-monitor:1.2.0": []})
    with pytest.raises(Refused):
        push({"monitor": "windsock-monitor:1.2.0"}, "r.example.com/o")


def written(docker: Docker, folder: Path, prefix: str = "") -> dict[str, Any]:
    """The services of the override that a release would write."""
    project = digests.named()
    known = everything(project)
    names = {"monitor": "windsock-monitor:1.2.0", "airflow": "windsock-airflow:1.2.0"}
    known |= {f"{prefix}/{name}": [f"{prefix}/{name.partition(':')[0]}@{OWN}"] for name in names.values()}
    docker(known)
    write_digests(folder, project, digests.pin(project.images), push(names, prefix) if prefix else {})
    services: dict[str, Any] = yaml.safe_load((folder / digests.OVERRIDE).read_text())["services"]
    return services


def test_the_override_pins_every_image_and_every_base(docker: Docker, tmp_path: Path) -> None:
    services = written(docker, tmp_path)
    project = digests.named()
    assert {name: each["image"] for name, each in services.items() if "image" in each} == {
        name: f"{image}@{HERE}" for name, image in project.services.items()
    }
    builds = [each["build"]["args"] for each in services.values() if "build" in each]
    assert builds == [{name: f"{image}@{HERE}"} for name, image in sorted(project.bases.items())]
    assert not (tmp_path / digests.VALUES).exists()


def test_after_a_push_our_own_images_are_pinned_too(docker: Docker, tmp_path: Path) -> None:
    services = written(docker, tmp_path, "registry.example.com:5000/o")
    whole = yaml.safe_load((ROOT / digests.COMPOSE).read_text())["services"]
    assert services.keys() == whole.keys()
    assert [name for name, each in services.items() if "@sha256:" not in each["image"]] == []
    monitors = {
        each["image"] for name, each in services.items() if whole[name]["image"] == "windsock-monitor:local"
    }
    assert monitors == {f"registry.example.com:5000/o/windsock-monitor:1.2.0@{OWN}"}
    values = yaml.safe_load((tmp_path / digests.VALUES).read_text())
    assert values == {"image": {"repository": "registry.example.com:5000/o/windsock-monitor", "digest": OWN}}


def compose() -> list[str] | None:
    """The real one: its plugin for docker, or the older program."""
    real = shutil.which("docker", path=PATH)
    if real and subprocess.run([real, "compose", "version"], capture_output=True).returncode == 0:
        return [real, "compose"]
    older = shutil.which("docker-compose", path=PATH)
    return [older] if older else None


def test_compose_takes_the_override(docker: Docker, tmp_path: Path) -> None:
    """`compose config` merges the two files. It asks no engine."""
    program = compose()
    if program is None:
        pytest.skip("neither docker-compose nor docker's compose plugin is installed")
    wanted = written(docker, tmp_path)
    environment = os.environ | {
        "PATH": PATH,
        "SECRETS_DIR": str(tmp_path),
        "COMPOSE_PROFILES": "celery,scale,observability",
    }
    files = [f"--file={ROOT / digests.COMPOSE}", f"--file={tmp_path / digests.OVERRIDE}"]
    done = subprocess.run(
        [*program, f"--project-directory={ROOT}", *files, "config"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    merged = yaml.safe_load(done.stdout)["services"]
    for name, each in wanted.items():
        assert merged[name].get("image") == each.get("image", merged[name].get("image"))
        given = merged[name].get("build", {}).get("args", {})
        assert each.get("build", {}).get("args", {}).items() <= given.items()
        assert merged[name].get("mem_limit"), name  # the rest of the service is still there


def test_the_builds_start_from_the_pinned_bases() -> None:
    project = digests.named()
    pinned = {image: f"{image}@{HERE}" for image in project.images}
    image = project.bases["PYTHON_IMAGE"]
    assert digests.build_arguments(project, pinned, "monitor") == {"PYTHON_IMAGE": f"{image}@{HERE}"}
    assert digests.build_arguments(project, {}, "airflow") == {}
