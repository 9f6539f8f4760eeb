"""The values: each is described, goes where it should, and is refused with its name where it is wrong."""

import base64
import json
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

import monitor as package
from monitor.settings import Settings
from tests.chart.cases import CASES, SCALED, SECRETS, SMALLEST
from tests.chart.helm import CHART, ROOT, Manifest, Refused, example, merged, render
from tests.chart.pods import environment, monitor, of_kind, the

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
OF_THE_CHART = {"home", "host", "port", "config", "templates"}
ELSEWHERE = {"auth", "mailbox_smtp_port"}
"""`none` would let everybody in, and the mailbox's door opens on the loopback address only."""
HOLD_PASSWORDS = {"database_url", "airflows"}
PASSWORDS_OF_ALL = frozenset(
    name for name, field in Settings.model_fields.items() if SecretStr.__name__ in repr(field.annotation)
)
RULES = "compose/observability/prometheus/windsock.rules.yml"


def described(schema: Any) -> list[Any]:
    """Each value's schema, at whatever depth."""
    found = list(schema.get("properties", {}).values())
    return found + [inner for one in found for inner in described(one)]


def test_every_value_is_described() -> None:
    assert [one for one in described(SCHEMA) if not one.get("description") or not one.get("type")] == []


def test_the_file_of_values_has_every_value() -> None:
    """But for Helm's `global`, and the maps, which a user fills."""

    def names(schema: Any, values: Any) -> None:
        assert schema["properties"].keys() - {"global"} == values.keys()
        for name, inner in schema["properties"].items():
            if "properties" in inner and name not in ("settings", "values", "resources"):
                names(inner, values[name])

    names(SCHEMA, VALUES)


def test_settings_and_secrets_are_the_monitors() -> None:
    """A new setting: into values.schema.json, "settings", or "secrets" where it is one."""
    secret = PASSWORDS_OF_ALL | HOLD_PASSWORDS
    values = SCHEMA["properties"]
    assert values["secrets"]["properties"]["values"]["properties"].keys() == secret
    assert set(values["secrets"]["properties"]["keys"]["items"]["enum"]) == secret
    plain = set(Settings.model_fields) - secret - OF_THE_CHART - ELSEWHERE
    assert values["settings"]["properties"].keys() == plain


def test_the_chart_installs_this_release() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == package.__version__


def test_the_alert_rules_are_the_same_as_in_compose() -> None:
    ours = CHART / "files" / "windsock.rules.yml"
    assert ours.read_text() == (ROOT / RULES).read_text(), f"cp {RULES} {ours.relative_to(ROOT)}"


def settings_of(manifests: list[Manifest], secrets: dict[str, str]) -> Settings:
    """What the monitor makes of a pod's environment, the files' content in their place."""
    variables = environment(monitor(manifests))
    given = {name.removeprefix("WINDSOCK_").lower(): value for name, value in variables.items()}
    files = {name.removesuffix("_file") for name in given if name.removesuffix("_file") in secrets}
    plain: dict[str, Any] = {name: value for name, value in given.items() if name in Settings.model_fields}
    return Settings(_env_file=None, **plain | {name: secrets[name] for name in files})


def test_the_monitor_takes_each_environment(case: str, manifests: list[Manifest]) -> None:
    settings = settings_of(manifests, SECRETS)
    values = CASES[case]
    assert settings.airflow_url == values["settings"]["airflow_url"]
    assert settings.auth == "airflow"
    assert settings.ingest_secret[0].get_secret_value() == SECRETS["ingest_secret"]
    assert settings.airflow_password
    on_postgresql = settings.database.startswith("postgresql")
    assert on_postgresql == (values.get("database", {}).get("kind") == "postgresql")
    assert settings.session_secret or not on_postgresql  # what signs links must outlive a pod
    assert settings.home.is_absolute()


def test_numbers_arrive_as_they_were_written() -> None:
    assert environment(monitor(render(SCALED)))["WINDSOCK_RETENTION_DAYS"] == "1000000"


def test_people_reach_it_where_the_ingress_is() -> None:
    for name, url in (
        ("monitor-sqlite", "https://windsock.example.com"),
        ("monitor-postgresql", "https://ops.example.com/windsock"),
    ):
        assert environment(monitor(render(example(name))))["WINDSOCK_PUBLIC_URL"] == url


def test_ingress_nginx_lets_batches_and_feeds_through() -> None:
    """docs/proxy.md, "Other proxies": bodies of 4 MiB, a feed that is silent for 15 s."""
    ingress = the(render(example("monitor-postgresql")), "Ingress")
    told = {key.rpartition("/")[2]: value for key, value in ingress["metadata"]["annotations"].items()}
    assert int(told["proxy-body-size"].removesuffix("m")) > 4
    assert int(told["proxy-read-timeout"]) > 15
    assert "proxy-buffering" not in told  # pages are better buffered, and the feed says so for itself
    rule = ingress["spec"]["rules"][0]
    assert (rule["host"], rule["http"]["paths"][0]["path"]) == ("ops.example.com", "/windsock")
    assert ingress["spec"]["tls"] == [{"hosts": [rule["host"]], "secretName": "ops-tls"}]


def test_sqlite_has_one_replica_that_is_gone_before_the_next_comes() -> None:
    manifests = render(example("monitor-sqlite"))
    spec = the(manifests, "Deployment")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    claim = the(manifests, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    assert of_kind(manifests, "PodDisruptionBudget") == []  # it would hold up every drain of its node
    own = render(merged(example("monitor-sqlite"), {"persistence": {"existingClaim": "mine"}}))
    assert of_kind(own, "PersistentVolumeClaim") == []
    volumes = the(own, "Deployment")["spec"]["template"]["spec"]["volumes"]
    assert {"name": "home", "persistentVolumeClaim": {"claimName": "mine"}} in volumes


def test_replicas_are_replaced_one_by_one_and_spread() -> None:
    manifests = render(example("monitor-postgresql"))
    spec = the(manifests, "Deployment")["spec"]
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert spec["template"]["spec"]["topologySpreadConstraints"][0]["topologyKey"] == "kubernetes.io/hostname"
    assert the(manifests, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert of_kind(manifests, "PersistentVolumeClaim") == []
    scaled = render(SCALED)
    assert "replicas" not in the(scaled, "Deployment")["spec"]  # or each upgrade would undo the scaling
    target = the(scaled, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
    assert target == the(scaled, "Deployment")["metadata"]["name"]


def test_the_database_is_migrated_before_a_pod_serves() -> None:
    spec = the(render(SMALLEST), "Deployment")["spec"]["template"]["spec"]
    (first,), (serving,) = spec["initContainers"], spec["containers"]
    assert (first["args"], serving["args"]) == (["migrate"], ["serve"])
    for same in ("image", "env", "volumeMounts"):
        assert first[same] == serving[same]


def annotations(values: Manifest) -> Manifest:
    found: Manifest = the(render(values), "Deployment")["spec"]["template"]["metadata"]["annotations"]
    return found


def test_a_changed_secret_replaces_the_pods_and_changed_rules_do_not() -> None:
    other = {"secrets": {"values": {"airflow_password": "another"}}}
    assert annotations(SMALLEST) != annotations(merged(SMALLEST, other))
    rules, more = ({"rules": text} for text in ("quiet_hours: {}\n", "receivers: {}\n"))
    assert annotations(merged(SMALLEST, rules)) == annotations(merged(SMALLEST, more))


def test_secrets_keep_every_byte() -> None:
    odd = 'a "quoted" $secret: {{ with }} # signs\\ and ü'
    secret = the(render(merged(SMALLEST, {"secrets": {"values": {"smtp_password": odd}}})), "Secret")
    assert base64.b64decode(secret["data"]["smtp_password"]).decode() == odd


def test_the_network_is_open_for_what_the_settings_name() -> None:
    over = {"settings": {"airflow_url": "https://airflow.example.com:8443", "smtp_port": 2525}}
    policy = the(render(merged(SMALLEST, over)), "NetworkPolicy")
    ports = {port["port"] for port in policy["spec"]["egress"][0]["ports"]}
    assert ports >= {53, 443, 8443, 2525, 5432}


POSTGRESQL = {"database": {"kind": "postgresql"}}
WRONG: list[tuple[Manifest, list[str]]] = [
    ({"replicas": 2}, ["replicas", "sqlite", "postgresql"]),
    ({"autoscaling": {"enabled": True}}, ["autoscaling", "sqlite", "postgresql"]),
    ({"secrets": {"values": {"database_url": "x"}}}, ["database.kind", "sqlite"]),
    (POSTGRESQL, ["database_url", "session_secret"]),
    (merged(POSTGRESQL, {"replicas": 2}), ["settings.smtp_host"]),
    ({"secrets": {"existing": "mine"}}, ["secrets", "existing and values", "secrets.keys"]),
    ({"secrets": {"values": {"ingest_secret": None}}}, ["ingest_secret", "windsock secret"]),
    ({"secrets": {"values": {"ingest_secret": "s3cr3t"}}}, ["ingest_secret", "whsec_"]),
    ({"secrets": {"values": {"airflow_password": None}}}, ["settings.airflow_url", "airflow_password"]),
    ({"settings": {"airflow_url": None}}, ["settings.airflow_url"]),
    ({"settings": {"public_url": None}}, ["settings.public_url"]),
    ({"ingress": {"enabled": True}}, ["ingress.host"]),
    ({"terminationGracePeriodSeconds": 5}, ["terminationGracePeriodSeconds", "preStopSeconds"]),
    ({"settings": {"smtp_hots": "mail"}}, ["/settings", "smtp_hots"]),
    ({"settings": {"smtp_password": "s3cr3t"}}, ["/settings", "smtp_password"]),
    ({"settings": {"smtp_port": "many"}}, ["/settings/smtp_port"]),
    ({"settings": {"airflow_url": "localhost"}}, ["/settings/airflow_url", "^https?://"]),
    ({"database": {"kind": "mysql"}}, ["/database/kind", "sqlite", "postgresql"]),
    ({"replicas": "two"}, ["/replicas"]),
    ({"mailTemplates": {"recovered.j2": ""}}, ["/mailTemplates", "recovered.j2"]),
    ({"secrets": {"values": {"smtp_password": 12345}}}, ["/secrets/values/smtp_password", "string"]),
    ({"replica": 2}, ["replica"]),
]


@pytest.mark.parametrize(("over", "words"), WRONG, ids=lambda value: json.dumps(value)[:60])
def test_what_does_not_fit_is_refused_by_its_name(over: Manifest, words: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        render(merged(SMALLEST, over))
    assert [word for word in words if word not in str(refused.value)] == []
    assert "s3cr3t" not in str(refused.value)
