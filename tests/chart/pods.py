"""Finding one's way in manifests."""

from collections.abc import Iterable, Iterator

from tests.chart.helm import Manifest

OF_THE_OPERATOR = ("ServiceMonitor", "PrometheusRule")
"""Kinds that Kubernetes itself does not know."""


def of_kind(manifests: Iterable[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def the(manifests: Iterable[Manifest], kind: str) -> Manifest:
    """The only one of that kind."""
    (found,) = of_kind(manifests, kind)
    return found


def pods(manifests: Iterable[Manifest]) -> Iterator[Manifest]:
    """Each pod, or what pods are made from: metadata and spec."""
    for manifest in manifests:
        if manifest["kind"] == "Pod":
            yield manifest
        elif manifest["kind"] == "Deployment":
            yield manifest["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    found: list[Manifest] = [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    return found


def monitor(manifests: Iterable[Manifest]) -> Manifest:
    """The container that serves."""
    (found,) = the(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    container: Manifest = found
    return container


def environment(container: Manifest) -> dict[str, str]:
    """The variables that are given as they are."""
    return {one["name"]: one["value"] for one in container["env"] if "value" in one}
