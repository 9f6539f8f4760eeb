"""The settings of one Airflow, and the checks that settings share."""

import base64
import binascii
import hashlib
import hmac
import ipaddress
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator
from pydantic_settings import NoDecode

SECRET_BYTES = range(24, 65)  # what Standard Webhooks asks of a symmetric secret
HIDDEN = ("airflows", "database_url")
SESSION_SECRET_SIGNS = 16  # a word of a sentence with spaces is no secret
WORDS = Annotated[tuple[str, ...], NoDecode]
"""Several values in one variable, separated by commas or white space."""


class AirflowSettings(BaseModel):
    """The address of one Airflow, and the user that asks it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    public_url: str | None = None
    """The address at which people reach this Airflow, for links. Default: url."""
    username: str
    password: SecretStr
    ingest_secret: Annotated[tuple[SecretStr, ...], NoDecode] = ()
    """`whsec_` secrets that this Airflow's reports are signed with. WINDSOCK_INGEST_SECRET is the first
    Airflow's alone: a secret reports for its own deployment."""

    @field_validator("ingest_secret", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return split_words(value)

    @field_validator("ingest_secret")
    @classmethod
    def _is_secret(cls, value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        return _validate_secrets(value)

    @field_validator("url", "public_url")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        return _parse_base_url(value)


def link_key(secret: str) -> str:
    """Return the key of links for a session secret. Cookies are signed with the secret itself."""
    return hmac.new(secret.encode(), b"windsock-links", hashlib.sha256).hexdigest()  # cookies have itself


def _parse_base_url(address: str | None) -> str | None:
    """Return the address without a slash at its end. Raises ValueError if it is no address."""
    if address is None:
        return None
    if not address.startswith(("http://", "https://")) or not has_host(address):
        raise ValueError("is not an address such as http://localhost:8080 or http://[::1]:8080")
    return address.rstrip("/")


def split_words(value: Any) -> Any:
    """Split a text at commas and spaces."""
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _validate_secrets(value: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    for secret in value:
        check_secret(secret.get_secret_value())
    return value


def has_host(address: str) -> bool:
    """Return True if the address has a host."""
    try:
        parts = urlsplit(address)
        return bool(parts.hostname) and parts.port != 0 and not any(sign.isspace() for sign in address)
    except ValueError:
        return False


def check_secret(secret: str) -> None:
    """Raise ValueError if the secret is no Standard Webhooks secret."""
    remedy = "write whsec_ and base64 of 24 to 64 random bytes; `windsock secret` prints one"
    if not secret.startswith("whsec_"):
        raise ValueError(f"a secret does not begin with whsec_: {remedy}")
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error:
        raise ValueError(f"a secret is not base64 behind whsec_: {remedy}") from None
    if len(key) not in SECRET_BYTES:
        raise ValueError(f"a secret holds {len(key)} bytes: {remedy}")


def is_loopback(host: str) -> bool:
    """Return True if the host is this machine's loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def describe_mistake(mistake: Any) -> str:
    """Return the sentence about a mistake in the settings, without secrets."""
    name = str(mistake["loc"][0]) if mistake["loc"] else ""
    inner = ".".join(str(part) for part in mistake["loc"][1:] if part != "[key]")
    variable = f"WINDSOCK_{name.upper()}" if name and not name.isupper() else name
    where = f"{variable} {inner}".strip()
    message = mistake["msg"].removeprefix("Value error, ")
    # "airflows" as a whole, or an object in it, holds passwords, as does a database's address
    secret = any(word in f"{name} {inner}" for word in ("secret", "password", "token")) or name in HIDDEN
    value_text = f" (got {str(mistake['input'])[:80]!r})" if where and not secret else ""
    return f"{where}: {message}{value_text}" if where else message
