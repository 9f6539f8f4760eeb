"""No image is named without an exact version or a digest: what a tag means must not change under a user.

Exact is every number that upstream gives: `python:3.11-slim` is another Python next month.
"""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from scripts.release import digests
from scripts.release.project import ROOT

OURS = frozenset({"windsock-monitor", "windsock-airflow", "airflow-windsock"})
"""What users build of this repository, whatever registry they push it to."""
BUILT_HERE = frozenset({"windsock-monitor:local", "windsock-airflow:local"})
TWO_NUMBERS = frozenset({"postgres"})  # its whole version is major.minor
NAMES = (
    "postgres|redis|nginx|python|airflow|mailpit|prometheus|grafana|alpine|debian|ubuntu|busybox|node|httpd"
)
IN_YAML = re.compile(
    r"""^[\s-]*(?:(?:image|container): +|uses: +docker://)["']?([^\s"'#{}$]+)""", re.MULTILINE
)
IN_BUILD = re.compile(r"^\s*(?:FROM|ARG [A-Z]+_IMAGE=|COPY --from=)\s*([^\s$]+)(?!\S)", re.MULTILINE)
IN_COMMAND = re.compile(r"\bdocker (?:pull|run)\b(?: -\S+)* ([a-z][\w./:@-]*)")
IN_TEXT = re.compile(rf"(?<![\w./@=-])((?:[a-z0-9.-]+/)*(?:{NAMES}):[A-Za-z0-9][\w.-]*)(?![\w./@-])")
STAGE = re.compile(r"\bAS (\S+)\s*$", re.MULTILINE)
PORT = re.compile(r":\d{4,5}$")


def files() -> Iterator[Path]:
    """What users and CI read; tests make up images of their own."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    for name in listed:
        of_text = name.endswith((".yaml", ".yml", ".md", ".sh", ".tpl", "Dockerfile", ".txt"))
        scripts = name.startswith((".ci/", "compose/", "charts/")) and "." not in Path(name).name
        if (of_text or scripts) and not name.startswith(("tests/", "requirements/")):
            yield ROOT / name


def images(text: str) -> set[str]:
    """Every image that this text names."""
    stages = set(STAGE.findall(text))
    found = {name for pattern in (IN_YAML, IN_BUILD, IN_COMMAND, IN_TEXT) for name in pattern.findall(text)}
    return {name.rstrip(".,;)`") for name in found if name not in stages and not PORT.search(name)}


def is_exact(image: str) -> bool:
    if re.search(r"@sha256:[0-9a-f]{64}$", image):
        return True
    name, _, tag = image.rpartition("/")[2].partition(":")
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", tag)
    wanted = 2 if name in TWO_NUMBERS else 3
    return numbers is not None and len(numbers[1].split(".")) >= wanted


@pytest.mark.parametrize(
    "line",
    [
        "    image: postgres:16",
        "    image: 'redis:7.4'",
        "FROM python:3.11-slim AS build",
        "ARG PYTHON_IMAGE=python:3.11-slim",
        "COPY --from=nginx:latest /a /b",
        "image: registry.example.com/team/thing",
        "    container: node:22",
        "      - uses: docker://alpine:3",
        "docker run --rm nginx:1.28 nginx -t",
        "docker pull example/thing:latest",
        "It is built on `python:3.11-slim`.",
        "with axllent/mailpit:v1.29 beside it",
    ],
)
def test_a_tag_that_moves_is_seen(line: str) -> None:
    (name,) = images(line)
    assert not is_exact(name)


@pytest.mark.parametrize(
    "line",
    [
        "    image: postgres:16.15-bookworm",
        f"    image: redis:7@sha256:{'a' * 64}",
        "FROM apache/airflow:3.3.2-python3.11 AS airflow",
        "    image: prom/prometheus:v3.5.5 # why",
    ],
)
def test_an_exact_one_is_exact(line: str) -> None:
    (name,) = images(line)
    assert is_exact(name)


@pytest.mark.parametrize(
    "line", ["redis://:x@redis:6379/0", "http://prometheus:9090", "image:", "FROM $BASE"]
)
def test_what_is_no_image_is_none(line: str) -> None:
    assert images(line) == set()


def test_no_image_is_named_without_an_exact_version() -> None:
    named = {file: images(file.read_text()) for file in files()}
    assert {ROOT / "Dockerfile", ROOT / digests.COMPOSE, ROOT / "docs" / "kubernetes.md"} <= named.keys()
    moving = [
        f"{file.relative_to(ROOT)}: {image}"
        for file, found in named.items()
        for image in sorted(found - BUILT_HERE)
        if not is_exact(image)
    ]
    assert moving == []


def test_every_image_of_the_stack_is_seen() -> None:
    """What the search above finds in these two files is all that compose and the builder would take."""
    project = digests.named()
    text = (ROOT / "Dockerfile").read_text() + (ROOT / digests.COMPOSE).read_text()
    assert images(text) - BUILT_HERE == set(project.images)
    assert set(project.built.values()) == {"monitor", "airflow"} <= set(project.arguments)


def test_ci_provides_every_image_of_the_stack() -> None:
    """`.ci/docker` builds or pulls what its function `images` lists."""
    script = (ROOT / ".ci" / "docker").read_text()
    function = re.search(r"^images\(\) \{.*?^\}", script, re.MULTILINE | re.DOTALL)
    assert function is not None
    done = subprocess.run(
        ["bash", "-c", f"{function[0]}\nimages"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == digests.named().images


def test_values_of_charts_name_exact_tags() -> None:
    """A chart's values have repository and tag apart."""
    for file in (ROOT / "charts").rglob("*.yaml"):
        if "templates" in file.parts:
            continue
        for each in _repositories(yaml.safe_load(file.read_text())):
            tag, digest = each.get("tag"), each.get("digest")
            own = each["repository"].rpartition("/")[2] in OURS
            assert digest or (own and not tag) or is_exact(f"{each['repository']}:{tag}"), f"{file}: {each}"
    chart = yaml.safe_load((ROOT / "charts" / "windsock" / "Chart.yaml").read_text())
    assert is_exact(f"windsock-monitor:{chart['appVersion']}")  # the tag where none is given


def test_workflows_run_on_a_machine_with_a_version() -> None:
    for file in (ROOT / ".github" / "workflows").glob("*.yml"):
        for machine in re.findall(r"runs-on: *(\S+)", file.read_text()):
            assert re.fullmatch(r"[a-z]+-\d+(\.\d+)*", machine), f"{file.name}: {machine}"


def _repositories(found: object) -> Iterator[dict[str, str]]:
    if isinstance(found, dict):
        if "repository" in found:
            yield found
        for each in found.values():
            yield from _repositories(each)
    elif isinstance(found, list):
        for each in found:
            yield from _repositories(each)
