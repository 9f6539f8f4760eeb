"""Names that users wrote before the first release, each with its new name (docs/upgrade.md lists them too).

An old name is refused with the new one: passed over in silence, it would change what the monitor does.
"""

from collections.abc import Mapping

from monitor.errors import SettingsError

SETTINGS: Mapping[str, str] = {"WINDSOCK_TELL_WITHIN_HOURS": "WINDSOCK_NOTIFY_MAX_AGE_HOURS"}
RULE_FIELDS: Mapping[str, str] = {"tell": "notify_on"}
"""Fields of the rules file."""


def require_new_names(environment: Mapping[str, str]) -> None:
    """Raise SettingsError if a variable has an old name; it names the new one of each."""
    old = sorted(name for name in environment if name.upper() in SETTINGS)
    if old:
        raise SettingsError("\n".join(f"{name}: {instead(SETTINGS[name.upper()])}" for name in old))


def instead(new: str) -> str:
    """Return the second half of a message about an old name."""
    return f"is now called {new}; write that instead"
