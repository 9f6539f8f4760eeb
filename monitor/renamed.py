"""The names from before the first release, each with its new name.

An old name is refused, and the message gives the new name. Ignoring an old name in silence would change what
the monitor does. docs/upgrade.md lists the names too.
"""

import re
from collections.abc import Mapping

from monitor.errors import SettingsError

SETTINGS: Mapping[str, str] = {"WINDSOCK_TELL_WITHIN_HOURS": "WINDSOCK_NOTIFY_MAX_AGE_HOURS"}
RULE_FIELDS: Mapping[str, str] = {"tell": "notify_on"}
"""Fields of the rules file."""
TEMPLATE_NAMES: Mapping[str, str] = {
    "story": "message",
    "since": "incident",
    "named": "deployment_prefix",
    "told": "value",
    "happenings": "events",
    "import_trouble": "import_error",
    "acked_by": "acknowledged_by",
    "ack_reason": "acknowledged_reason",
}
"""Values, filters and fields of mail templates. A template with one of them is replaced by the built-in."""
_QUOTED = re.compile(r"'([^']*)'")


def require_new_names(environment: Mapping[str, str]) -> None:
    """Raise SettingsError if a variable has an old name. The message has the new name of each."""
    old = sorted(name for name in environment if name.upper() in SETTINGS)
    if old:
        raise SettingsError("\n".join(f"{name}: {instead(SETTINGS[name.upper()])}" for name in old))


def hint(error: str) -> str:
    """Return the new name of what a template's error names by an old one, or "" if it names none."""
    new_names = (TEMPLATE_NAMES[name] for name in _QUOTED.findall(error) if name in TEMPLATE_NAMES)
    return next((f"; it is now called {new}" for new in new_names), "")


def instead(new: str) -> str:
    """Return the second half of a message about an old name."""
    return f"is now called {new}; write that instead"
