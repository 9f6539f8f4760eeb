"""The two images, with the labels of the Open Container Initiative."""

from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from scripts.release.project import ROOT, run, version

TARGETS = {
    "monitor": ("Windsock monitor", "/opt/windsock/bin/python"),
    "airflow": ("Airflow with the Windsock plugin", "python"),
}
"""A target of the Dockerfile: its title, and the Python whose packages are its contents."""
LICENCE = "Apache-2.0"


def labels(title: str, of: str, revision: str, committed: datetime) -> dict[str, str]:
    """org.opencontainers.image.*; the moment is the commit's: the same sources give the same labels."""
    values = {
        "title": title,
        "version": of,
        "revision": revision,
        "created": committed.astimezone(timezone.utc).isoformat(),
        "licenses": LICENCE,
        "description": "Event-driven notifications for Apache Airflow 3",
    }
    return {f"org.opencontainers.image.{name}": value for name, value in values.items()}


def build(arguments: Callable[[str], Mapping[str, str]]) -> dict[str, str]:
    """Both, locally, with each target's build arguments; names by targets. Raises Failed without Docker."""
    revision = run("git", "rev-parse", "HEAD").strip()
    built = {}
    for target, (title, _) in TARGETS.items():
        name = f"windsock-{target}:{version()}"
        image_labels = labels(title, version(), revision, committed())
        options = [f"--label={label}={value}" for label, value in image_labels.items()]
        options += [f"--build-arg={argument}={value}" for argument, value in arguments(target).items()]
        run("docker", "build", "--quiet", f"--target={target}", f"--tag={name}", *options, str(ROOT))
        built[target] = name
    return built


def committed() -> datetime:
    """The moment of the commit."""
    return datetime.fromisoformat(run("git", "log", "-1", "--format=%cI").strip())


def push(built: Mapping[str, str], prefix: str) -> dict[str, str]:
    """To where `prefix` says, such as registry/owner; names by targets. Whoever calls has signed in there."""
    for name in built.values():
        run("docker", "tag", name, f"{prefix}/{name}")
        run("docker", "push", "--quiet", f"{prefix}/{name}")
    return {target: f"{prefix}/{name}" for target, name in built.items()}
