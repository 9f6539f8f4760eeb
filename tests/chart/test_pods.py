"""That pods fit together, may do nothing that they need not, and hold secrets in files alone."""

import json
from pathlib import PurePosixPath

from monitor.settings import Settings
from tests.chart.cases import SECRETS
from tests.chart.helm import Manifest
from tests.chart.pods import containers, environment, monitor, of_kind, pods, the

SETTINGS = {f"WINDSOCK_{name.upper()}" for name in Settings.model_fields}
FILE = "_FILE"
"""Behind a setting's name: where to read it from."""


def test_pods_meet_the_profile_restricted(manifests: list[Manifest]) -> None:
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted"""
    for pod in pods(manifests):
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] == 10001  # the image's user
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC"))
        kinds = {kind for volume in spec.get("volumes", []) for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected"}
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_pods_have_no_token_and_know_no_other_service(manifests: list[Manifest]) -> None:
    """A Service called windsock would give them WINDSOCK_PORT=tcp://…"""
    for pod in pods(manifests):
        assert pod["spec"]["automountServiceAccountToken"] is False
        assert pod["spec"]["enableServiceLinks"] is False
    assert all(not one["automountServiceAccountToken"] for one in of_kind(manifests, "ServiceAccount"))


def test_containers_say_what_they_need(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        for container in containers(pod):
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert "memory" in container["resources"]["limits"]


def test_every_mount_has_a_volume_and_every_volume_a_mount(manifests: list[Manifest]) -> None:
    for pod in pods(manifests):
        volumes = [volume["name"] for volume in pod["spec"].get("volumes", [])]
        mounted = {mount["name"] for one in containers(pod) for mount in one.get("volumeMounts", [])}
        assert sorted(volumes) == sorted(mounted)
        for container in containers(pod):
            places = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(set(places)) == len(places)


def test_what_a_pod_names_is_there(manifests: list[Manifest], case: str) -> None:
    made = {(one["kind"], one["metadata"]["name"]) for one in manifests}
    for pod in pods(manifests):
        assert ("ServiceAccount", pod["spec"]["serviceAccountName"]) in made
    for volume in the(manifests, "Deployment")["spec"]["template"]["spec"]["volumes"]:
        if volume["name"] in ("rules", "templates"):
            assert ("ConfigMap", volume["configMap"]["name"]) in made
        if "persistentVolumeClaim" in volume:
            claim = volume["persistentVolumeClaim"]["claimName"]
            assert (("PersistentVolumeClaim", claim) in made) == (case != "operator")
        if volume["name"] == "secrets" and case in ("smallest", "scaled"):
            secret = the(manifests, "Secret")
            (source,) = (one["secret"] for one in volume["projected"]["sources"])
            assert secret["metadata"]["name"] == source["name"]
            assert {item["key"] for item in source["items"]} == secret["data"].keys()


def test_selectors_match_the_monitor_and_nothing_else(manifests: list[Manifest]) -> None:
    labels = the(manifests, "Deployment")["spec"]["template"]["metadata"]["labels"]
    test_pod = the(manifests, "Pod")["metadata"]["labels"]
    selectors = [the(manifests, "Service")["spec"]["selector"]]
    for kind, field in (
        ("Deployment", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        selectors += [one["spec"][field]["matchLabels"] for one in of_kind(manifests, kind)]
    for selector in selectors:
        assert selector.items() <= labels.items()
        assert not selector.items() <= test_pod.items()
    for policy in of_kind(manifests, "NetworkPolicy"):
        peers = policy["spec"]["ingress"][0].get("from", [])
        allowed = [peer["podSelector"]["matchLabels"] for peer in peers if "podSelector" in peer]
        assert not peers or any(selector.items() <= test_pod.items() for selector in allowed)


def test_ports_are_there_and_the_one_that_the_monitor_listens_on(manifests: list[Manifest]) -> None:
    container = monitor(manifests)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": int(environment(container)["WINDSOCK_PORT"])}
    probes = {name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startup": "/readyz",
        "liveness": "/livez",
        "readiness": "/readyz",
    }
    service = the(manifests, "Service")["spec"]["ports"][0]
    used = [probe["port"] for probe in probes.values()] + [service["targetPort"]]
    used += [one["spec"]["ingress"][0]["ports"][0]["port"] for one in of_kind(manifests, "NetworkPolicy")]
    assert set(used) == {"http"}
    for ingress in of_kind(manifests, "Ingress"):
        backend = ingress["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
        assert backend == {
            "name": the(manifests, "Service")["metadata"]["name"],
            "port": {"name": service["name"]},
        }


def test_every_variable_is_a_setting(manifests: list[Manifest]) -> None:
    """The monitor leaves alone what it does not know: a name that is wrong would go unnoticed."""
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    for container in [*spec["initContainers"], *spec["containers"]]:
        names = [one["name"] for one in container["env"] if one["name"].startswith("WINDSOCK_")]
        assert len(set(names)) == len(names)
        assert {name.removesuffix(FILE) if name not in SETTINGS else name for name in names} <= SETTINGS


def test_secrets_are_read_from_files_that_are_mounted(manifests: list[Manifest]) -> None:
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    (volume,) = (one["projected"] for one in spec["volumes"] if one["name"] == "secrets")
    items = [item for source in volume["sources"] for item in source["secret"]["items"]]
    for container in [*spec["initContainers"], *spec["containers"]]:
        (mount,) = (one for one in container["volumeMounts"] if one["name"] == "secrets")
        assert mount["readOnly"] is True
        there = {str(PurePosixPath(mount["mountPath"], item["path"])) for item in items}
        named = {name: path for name, path in environment(container).items() if name.endswith(FILE)}
        read = {path for name, path in named.items() if name not in SETTINGS}
        assert read == there
    assert volume["defaultMode"] == 0o440  # root's, and readable for the pod's group


def test_no_secret_stands_anywhere_but_in_the_secret(manifests: list[Manifest]) -> None:
    for manifest in manifests:
        if manifest["kind"] != "Secret":
            text = json.dumps(manifest)
            assert [name for name, value in SECRETS.items() if value in text] == []


def test_the_monitor_stops_within_its_time(manifests: list[Manifest]) -> None:
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    before = int(monitor(manifests)["lifecycle"]["preStop"]["exec"]["command"][1])
    # Requests have 5 s, and a mail on its way smtp_timeout.
    assert spec["terminationGracePeriodSeconds"] >= before + 5 + Settings.model_fields["smtp_timeout"].default
