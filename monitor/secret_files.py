"""Secrets from files, as Docker's and Kubernetes' secrets are: `WINDSOCK_<NAME>_FILE` names the file."""

from collections.abc import Mapping
from pathlib import Path

from monitor.errors import SettingsError

PREFIX = "WINDSOCK_"
SECRETS = (
    "ingest_secret",
    "session_secret",
    "database_url",  # may hold a password, as do the further Airflows
    "airflow_password",
    "airflows",
    "smtp_password",
    "smtp_oauth2_refresh_token",
    "smtp_oauth2_client_secret",
)
MAX_BYTES = 64 * 1024  # far above any secret: another file was meant


def read_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that files hold, without the line end that editors put there. An empty file is as a name
    that is not set. Raises SettingsError, which shows no secret."""
    read = {name: _read(name, environment) for name in SECRETS}
    return {name: value for name, value in read.items() if value}


def secrets_files(environment: Mapping[str, str]) -> dict[str, Path]:
    """The files that secrets come from, by their settings."""
    variables = (f"{PREFIX}{name.upper()}_FILE" for name in SECRETS)
    return {name: Path(path) for name in variables if (path := environment.get(name))}


def _read(name: str, environment: Mapping[str, str]) -> str:
    variable = PREFIX + name.upper()
    path = environment.get(f"{variable}_FILE")
    if not path:
        return ""
    if environment.get(variable):
        raise SettingsError(f"{variable} and {variable}_FILE are both set: take one of them away")
    return _content(f"{variable}_FILE", Path(path)).removesuffix("\n").removesuffix("\r")


def _content(variable: str, path: Path) -> str:
    remedy = "name a file that this user may read and that holds the secret alone"
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise SettingsError(f"{variable}: {str(path)!r}: {error.strerror}; {remedy}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{variable}: {str(path)!r} is not text in UTF-8; {remedy}") from None
    if len(content) > MAX_BYTES:
        raise SettingsError(f"{variable}: {str(path)!r} is longer than {MAX_BYTES} bytes; {remedy}")
    return text
