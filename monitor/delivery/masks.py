"""What users give to runs and assets may hold secrets: a value whose key looks like one is not shown, and of
an address its user's part is not. Errors and logs come from Airflow masked by itself, but not by every
version of all that it should (3.0 does not mask Variables): they lose what names itself a secret."""

import json
import re
from collections.abc import Mapping
from typing import Any

MASK = "***"
# Airflow's own list (its secrets_masker's DEFAULT_SENSITIVE_FIELDS), and a few words that it leaves out.
_SECRET = re.compile(
    r"access_?key|token|api_?key|auth|bearer|connection_?string|conn_?str|dsn|pass(phrase|wd|word)|^pass$|pwd"
    r"|private_?key|proxy|proxies|secret|service_?account|service_?key|keyfile|webhook|credential|cookie|signature",
    re.IGNORECASE,
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^/\s@]+@")
_KEYED = re.compile(
    r"(?i)(?<![\w-])([\w-]*(?:token|secret|passw(?:or)?d|pwd|api_?key|signature|sig|access_?key)=)"
    r"(?:\"[^\"]*\"|'[^']*'|[^&;,\s)\"']+)"
)


def looks_secret(key: str) -> bool:
    return _SECRET.search(key.replace("-", "_")) is not None


def shown(value: Any) -> str:
    """A value as text, what looks secret in it left out."""
    masked = _masked(value)
    text = masked if isinstance(masked, str) else json.dumps(masked, ensure_ascii=False, default=str)
    return without_secrets(text)


def without_secrets(text: str) -> str:
    """A text without passwords in addresses and values of `password=`."""
    return _KEYED.sub(rf"\1{MASK}", _USER_IN_ADDRESS.sub(f"{MASK}@", text))


def shown_under(key: str, value: Any) -> str:
    return MASK if looks_secret(key) else shown(value)


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): MASK if looks_secret(str(key)) else _masked(inner) for key, inner in value.items()}
    return [_masked(inner) for inner in value] if isinstance(value, list | tuple) else value
