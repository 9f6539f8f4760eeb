"""The installations that every rule about manifests is held against."""

from tests.chart.helm import Manifest, example, merged

SECRETS = {
    "ingest_secret": "whsec_" + "QUJD" * 10,
    "session_secret": "session-5a1e-5a1e-5a1e",
    "airflow_password": "airflow-5a1e",
    "smtp_password": "smtp-5a1e",
    "database_url": "postgresql+psycopg://windsock:database-5a1e@postgres/windsock",
}
"""Values that are found again wherever they should not be."""

SMALLEST: Manifest = {
    "settings": {
        "public_url": "http://localhost:8090",
        "airflow_url": "http://airflow:8080",
        "airflow_username": "windsock",
    },
    "secrets": {"values": {name: SECRETS[name] for name in ("ingest_secret", "airflow_password")}},
}

SCALED: Manifest = merged(
    example("monitor-postgresql"),
    {
        "secrets": {"existing": "", "keys": [], "values": SECRETS},
        "autoscaling": {"enabled": True},
        "image": {"digest": "sha256:" + "0" * 64, "pullSecrets": ["registry"]},
        "fullnameOverride": "ears",
        "serviceAccount": {"annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "data"},
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "tolerations": [{"key": "spot", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
        "extraEnv": [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://otel:4318"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/windsock/ca", "readOnly": True}],
        "settings": {"smtp_ca_file": "/etc/windsock/ca/ca.pem", "retention_days": 1000000},
    },
)
"""Everything at once, the secrets in the values."""

OF_AN_OPERATOR: Manifest = merged(
    example("monitor-postgresql"),
    {
        "secrets": {"keys": ["ingest_secret", "session_secret", "airflow_password", "smtp_password"]},
        "database": {"urlSecret": {"name": "windsock-db-app"}},
        "persistence": {"existingClaim": "windsock-home"},
    },
)
"""PostgreSQL's address from a Secret of its operator's, and a home that all replicas share."""

CASES: dict[str, Manifest] = {
    "smallest": SMALLEST,
    "sqlite": example("monitor-sqlite"),
    "postgresql": example("monitor-postgresql"),
    "scaled": SCALED,
    "operator": OF_AN_OPERATOR,
}
