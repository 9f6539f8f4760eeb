"""What Kubernetes' own schemas and helm's linter say of each installation."""

import pytest
from kubernetes_validate import validate

from tests.chart import helm
from tests.chart.cases import CASES
from tests.chart.helm import Manifest
from tests.chart.pods import OF_THE_OPERATOR, of_kind

VERSIONS = ("1.25", "1.37")
"""The oldest that Chart.yaml takes and the newest that is known here."""


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(manifests: list[Manifest], version: str) -> None:
    for manifest in manifests:
        if manifest["kind"] not in OF_THE_OPERATOR:
            validate(manifest, version, strict=True)


def test_helm_finds_nothing_to_mend(case: str) -> None:
    helm.run("lint", helm.CHART, "--strict", values=CASES[case])


def test_manifests_have_names_of_their_own(manifests: list[Manifest]) -> None:
    names = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(set(names)) == len(names)


def test_what_the_operator_of_prometheus_asks_for(manifests: list[Manifest], case: str) -> None:
    """Its kinds have no schema here; their few fields are these."""
    if case in ("smallest", "sqlite"):
        assert [manifest for manifest in manifests if manifest["kind"] in OF_THE_OPERATOR] == []
        return
    (scraped,) = of_kind(manifests, "ServiceMonitor")
    (service,) = of_kind(manifests, "Service")
    assert scraped["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert scraped["spec"]["endpoints"][0]["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert service["metadata"]["labels"][scraped["spec"]["jobLabel"]] == "windsock"  # job="windsock" in rules
    (rules,) = of_kind(manifests, "PrometheusRule")
    assert rules["spec"].keys() == {"groups"}
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"] if "alert" in rule]
    assert all("{{ " not in rule["alert"] and rule["expr"] for rule in alerts)
    assert any("{{ $" in rule["annotations"]["description"] for rule in alerts)  # left to Prometheus
