"""The bills of materials (CycloneDX 1.6): the Python packages of monitor, plugin and each image."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from scripts.release.project import ROOT, run, tool, version

OPTIONS = ("--output-reproducible", "--spec-version=1.6", "--validate")
# Runs in any Python, that of an image too: a line a distribution, as a lock has it.
LIST = (
    "from importlib.metadata import distributions as d; "
    "print('\\n'.join(sorted({f\"{p.name}=={p.version}\" for p in d()})))"
)
_OWN = ("windsock-monitor==", "airflow-windsock==")


def of_environment(environment: Path, pyproject: Path) -> dict[str, Any]:
    """What an environment has beside the project itself, with licences and who needs whom."""
    options = ("environment", *OPTIONS, f"--pyproject={pyproject}", str(environment / "bin" / "python"))
    return _about(_made(options), version())


def of_list(packages: Sequence[str], pyproject: Path, version_of: str) -> dict[str, Any]:
    """Of `name==version` lines, such as LIST prints."""
    named = "\n".join(line for line in packages if not line.startswith(_OWN))
    bill = _made(("requirements", *OPTIONS, f"--pyproject={pyproject}", "-"), named)
    for component in bill.get("components", ()):
        component.pop("description", None)  # "requirements line 1"
        component.pop("externalReferences", None)  # the address of an index
    return _about(bill, version_of)


def of_plugin() -> dict[str, Any]:
    """The plugin's: it needs nothing."""
    return of_list((), ROOT / "plugins" / "pyproject.toml", version(ROOT / "plugins" / "airflow_windsock"))


def of_image(image: str, python: str) -> dict[str, Any]:
    """What a built image has, by its own word. Needs Docker."""
    listed = run("docker", "run", "--rm", "--network=none", f"--entrypoint={python}", image, "-c", LIST)
    bill = of_list(listed.splitlines(), ROOT / "pyproject.toml", version())
    bill["metadata"]["component"] |= {"name": image, "type": "container"}
    return bill


def write(bill: dict[str, Any], file: Path) -> None:
    file.write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n")


def _made(options: Sequence[str], stdin: str = "") -> dict[str, Any]:
    made = run(tool("cyclonedx-py"), *options, stdin=stdin)
    bill: dict[str, Any] = json.loads(made)
    return bill


def _about(bill: dict[str, Any], version_of: str) -> dict[str, Any]:
    """The version is dynamic in pyproject.toml, where cyclonedx-py looks for it."""
    component = bill["metadata"]["component"]
    component["version"] = version_of
    component["purl"] = f"pkg:pypi/{component['name']}@{version_of}"
    return bill
