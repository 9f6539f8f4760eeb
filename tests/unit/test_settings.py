"""Each wrong setting is named with its value and its remedy; secrets are never shown."""

from pathlib import Path

import pytest

from monitor.errors import SettingsError
from monitor.settings import Settings
from monitor.settings_loading import load_settings
from tests.unit.conftest import make_secret

FIRST = {"airflow_url": "http://localhost:8080", "airflow_username": "w", "airflow_password": "p"}
OTHER = {"url": "http://emea:8080", "username": "w", "password": "p"}


def load(**values: object) -> Settings:
    return load_settings(env_file=None, **{"auth": "none", **values})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"port": "eighty"}, ["WINDSOCK_PORT", "'eighty'"]),
        ({"port": 70_000}, ["WINDSOCK_PORT", "65535"]),
        ({"host": "0.0.0.0"}, ["0.0.0.0", "auth is 'none'", "127.0.0.1"]),  # noqa: S104
        ({"auth": "airflow"}, ["auth", "airflow_url"]),
        ({"auth": "maybe"}, ["WINDSOCK_AUTH", "'maybe'"]),
        ({"airflow_url": "localhost:8080"}, ["WINDSOCK_AIRFLOW_URL", "http://localhost:8080"]),
        ({"public_url": "http://::1:8090"}, ["WINDSOCK_PUBLIC_URL", "http://[::1]:8080"]),
        ({"public_url": "http://[::1:8090"}, ["WINDSOCK_PUBLIC_URL"]),
        ({"public_url": "https:///windsock"}, ["WINDSOCK_PUBLIC_URL"]),
        ({"public_url": "http://monitor:port"}, ["WINDSOCK_PUBLIC_URL"]),
        ({"public_url": "http://a b"}, ["WINDSOCK_PUBLIC_URL"]),
        ({"airflow_url": "http://localhost:8080"}, ["airflow_username", "airflow_password"]),
        ({"deployment": "a b"}, ["WINDSOCK_DEPLOYMENT", "'a b'"]),
        ({"trusted_proxies": "10.0.0.1/8"}, ["WINDSOCK_TRUSTED_PROXIES", "host bits", "10.0.0.0/8"]),
        ({"trusted_proxies": "127.0.0.1, *"}, ["WINDSOCK_TRUSTED_PROXIES", "'*'"]),
        ({"smtp_username": "me@example.com"}, ["smtp_password"]),
        ({"smtp_security": "ssl"}, ["WINDSOCK_SMTP_SECURITY", "starttls"]),
        ({"mail_from": "Windsock"}, ["WINDSOCK_MAIL_FROM", "'Windsock'"]),
        ({"notification_email_to": "nobody"}, ["NOTIFICATION_EMAIL_TO", "'nobody'"]),
        ({"airflows": "{"}, ["WINDSOCK_AIRFLOWS", "is not JSON", '{"emea": {"url"']),
        ({"airflows": {"emea": {"url": "emea", "username": "w"}}}, ["emea.url", "emea.password", "required"]),
        ({"airflows": {"a b": OTHER}}, ["WINDSOCK_AIRFLOWS a b"]),
        ({"airflows": {"emea": OTHER}}, ["airflows", "set airflow_url"]),
        ({**FIRST, "airflows": {"local": OTHER}}, ["airflows", "'local'", "deployment"]),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], words: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(**values)
    for word in words:
        assert word in str(caught.value)


def test_the_address_of_an_ipv6_host_has_brackets() -> None:
    assert load(host="::1").url == "http://[::1]:8090"
    assert load(host="127.0.0.1", port=1).url == "http://127.0.0.1:1"


def test_a_further_airflows_password_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        load(airflows={"emea": {"password": "hunter2", "username": "w"}})
    assert "emea.url" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_every_airflow_has_its_name_and_its_pages() -> None:
    settings = load(**FIRST, airflows={"emea": OTHER | {"public_url": "https://airflow.example"}})
    assert list(settings.every_airflow) == ["local", "emea"]
    assert settings.airflow_pages == {"local": "http://localhost:8080", "emea": "https://airflow.example"}


@pytest.mark.parametrize("secret", ["hunter2", "whsec_!!", "whsec_c2hvcnQ="])
def test_a_wrong_secret_is_not_shown(secret: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(ingest_secret=secret)
    assert "windsock secret" in str(caught.value)
    assert secret not in str(caught.value)


def test_lists_are_separated_by_commas_or_spaces() -> None:
    settings = load(notification_email_to="a@x.org, b@y.org c@z.org", notify_success="one,two_*")
    assert settings.notification_email_to == ("a@x.org", "b@y.org", "c@z.org")
    assert settings.notify_success == ("one", "two_*")


def test_several_secrets_while_one_is_replaced() -> None:
    assert len(load(ingest_secret=f"{make_secret()} {make_secret()}").ingest_secret) == 2


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "NOTIFICATION_EMAIL_TO=file@example.com\nWINDSOCK_PORT=1111\nWINDSOCK_AUTH=none\nAIRFLOW_UID=50000\n"
    )
    monkeypatch.setenv("WINDSOCK_PORT", "2222")
    settings = load_settings(env_file=file)
    assert (settings.port, settings.notification_email_to) == (2222, ("file@example.com",))


def test_the_sender_is_the_account_unless_told_otherwise() -> None:
    account = {"smtp_username": "me@gmail.com", "smtp_password": "x"}
    assert load(**account).sender == "me@gmail.com"
    assert load(**account, mail_from="Ops <ops@example.com>").sender == "Ops <ops@example.com>"
    assert load(mail_from="Ops <ops@example.com>").mail_host == "example.com"
    assert load().sender == "windsock@localhost"


def test_secrets_are_not_in_the_repr() -> None:
    secret = make_secret()
    settings = load(ingest_secret=secret, smtp_username="me", smtp_password="hunter2")
    assert secret not in repr(settings)
    assert "hunter2" not in repr(settings)
