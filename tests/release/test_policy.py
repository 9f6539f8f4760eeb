"""SECURITY.md claims what the project's own files say."""

import re

import pytest

from scripts.release.project import ROOT

POLICY = (ROOT / "SECURITY.md").read_text()


def test_the_airflows_are_those_that_are_tested() -> None:
    listed = re.search(r"^AIRFLOW_VERSIONS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    tested = listed[1].split()
    assert f"from {tested[0]} on; tested with {', '.join(tested)} |" in POLICY
    minors = [version.rpartition(".")[0] for version in tested]
    assert f"| Airflow | {', '.join(minors)} " in POLICY


def test_the_pythons_are_those_that_can_install_it() -> None:
    for project in (ROOT, ROOT / "plugins"):
        oldest = re.search(
            r'^requires-python = ">=(.+)"$', (project / "pyproject.toml").read_text(), re.MULTILINE
        )
        assert oldest is not None
        assert f"| Python | {oldest[1]} and newer; " in POLICY
    image = re.search(r"^ARG PYTHON_IMAGE=python:(\d+\.\d+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert image is not None
    assert f"the images have {image[1]} |" in POLICY


@pytest.mark.parametrize(
    "file", ["docs/upgrade.md", "docs/threat-model.md", "docs/sign-in.md", "CONTRIBUTING.md"]
)
def test_what_it_links_to_is_there(file: str) -> None:
    assert f"]({file})" in POLICY
    assert (ROOT / file).exists()


def test_every_push_is_audited() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    assert "push: { branches: [main] }" in workflow
    assert "make release ARGS='--dry-run --no-images'" in workflow
