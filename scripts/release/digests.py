"""The images of a release by digest: an override for docker-compose.yaml, and values for the chart.

A tag can be moved to other bytes, and a digest cannot. This machine's Docker engine is asked for a digest
first, because its images are those that were tested. The registry is asked otherwise.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scripts.release.project import ROOT, Failed, run

COMPOSE = "docker-compose.yaml"
OVERRIDE = "docker-compose.digests.yaml"
VALUES = "values-digests.yaml"
WIDTH = 200  # of a line: an image with its digest stays on one
_BASE = re.compile(r"^ARG ([A-Z]+_IMAGE)=(\S+)$", re.MULTILINE)
_STAGE = re.compile(r"^FROM \$([A-Z]+_IMAGE) AS (\S+)$", re.MULTILINE)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_OFFICIAL = re.compile(
    r"^(docker\.io/)?(library/)?(?=[^/]+$)|^docker\.io/"
)  # what Docker Hub's names may begin with


class NoDigestError(Exception):
    """No registry is known to hold this image; the message names it, with the reason and the remedy."""


@dataclass(frozen=True)
class Named:
    """What the project takes from registries, by the tags that it names."""

    bases: Mapping[str, str]
    """Images that the Dockerfile builds on, by the build argument that replaces each."""
    arguments: Mapping[str, str]
    """That build argument, by the Dockerfile's target."""
    services: Mapping[str, str]
    """The images of docker-compose.yaml that are not built here, by service."""
    built: Mapping[str, str]
    """The target whose image a service runs, by service."""
    builders: frozenset[str]
    """The services that build it."""

    @property
    def images(self) -> list[str]:
        return sorted({*self.bases.values(), *self.services.values()})


@dataclass
class Pins:
    """Images by digest, and why others have none."""

    pinned: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)


def named(root: Path = ROOT) -> Named:
    """Read them from the Dockerfile and from docker-compose.yaml."""
    dockerfile = (root / "Dockerfile").read_text()
    services = yaml.safe_load((root / COMPOSE).read_text())["services"]
    made = {
        service["image"]: service["build"]["target"] for service in services.values() if "build" in service
    }
    return Named(
        bases=dict(_BASE.findall(dockerfile)),
        arguments={target: argument for argument, target in _STAGE.findall(dockerfile)},
        services={
            name: service["image"] for name, service in services.items() if service["image"] not in made
        },
        built={
            name: made[service["image"]] for name, service in services.items() if service["image"] in made
        },
        builders=frozenset(name for name, service in services.items() if "build" in service),
    )


def pin(images: Iterable[str]) -> Pins:
    """Look each one's digest up."""
    pins = Pins()
    for image in images:
        try:
            pins.pinned[image] = f"{image}@{digest(image)}"
        except NoDigestError as error:
            pins.missing.append(str(error))
    return pins


def digest(image: str) -> str:
    """sha256:… of this image. Raises NoDigestError."""
    own_digests = _local_digests(image)
    if len(own_digests) == 1:  # several: the engine does not say which of them the tag is
        return own_digests[0]
    try:
        found = run(
            "docker", "buildx", "imagetools", "inspect", "--format={{.Manifest.Digest}}", image
        ).strip()
    except Failed as error:
        reason = (
            str(error).partition(": ")[2].partition("\n")[0] if _has_buildx() else "docker buildx is missing"
        )
        raise NoDigestError(
            f"{image} has no digest: this machine's Docker did not pull it, and the registry cannot be asked "
            f"({reason}). Run `docker pull {image}` where the registry is reached"
        ) from None
    if not _DIGEST.fullmatch(found):
        raise NoDigestError(f"{image} has no digest: docker buildx imagetools says {found[:80]!r}")
    return found


def build_arguments(project: Named, pinned: Mapping[str, str], target: str) -> dict[str, str]:
    """What makes a build of this target start from exactly the pinned base."""
    argument = project.arguments[target]
    base = pinned.get(project.bases[argument])
    return {argument: base} if base else {}


def compose_override(project: Named, pinned: Mapping[str, str], pushed: Mapping[str, str], about: str) -> str:
    """The override. `pushed` are our own images by target; without them, they are built on pinned bases."""
    services: dict[str, dict[str, Any]] = {
        name: {"image": pinned[image]} for name, image in project.services.items()
    }
    for name, target in project.built.items():
        if target in pushed:
            services[name] = {"image": pushed[target]}
        elif name in project.builders:
            services[name] = {"build": {"args": build_arguments(project, pinned, target)}}
    return (
        f"# {about}\n# `make compose` takes it from beside {COMPOSE}.\n"
        f"# By hand: docker compose -f {COMPOSE} -f {OVERRIDE} up --detach\n"
        + yaml.safe_dump({"services": services}, width=WIDTH)
    )


def chart_values(pushed: str, about: str) -> str:
    """Values of the chart, for the monitor's image as it was pushed."""
    repository, _, digested = pushed.partition("@")
    image = {"repository": repository.rpartition(":")[0], "digest": digested}
    return f"# {about}\n# helm upgrade --install … --values {VALUES}\n" + yaml.safe_dump({"image": image})


def _has_buildx() -> bool:
    try:
        run("docker", "buildx", "version")
    except Failed:
        return False
    return True


def _local_digests(image: str) -> list[str]:
    """What this machine's engine knows of, in the registry that the image names."""
    try:
        listed = json.loads(run("docker", "image", "inspect", "--format={{json .RepoDigests}}", image))
    except Failed:
        return []
    repository = _plain(image.rpartition(":")[0])
    pairs = (entry.partition("@") for entry in listed or ())
    return [found for name, _, found in pairs if _plain(name) == repository]


def _plain(repository: str) -> str:
    return _OFFICIAL.sub("", repository)
