"""Time zones by their IANA names."""

from datetime import timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

UTC = "UTC"


def zone(name: str) -> tzinfo:
    """Raises KeyError where there is no such zone."""
    if name == UTC:  # also on a machine without the zones' files
        return timezone.utc
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # not there; a path; a folder such as "Europe"
        raise KeyError(name) from None


def is_zone(name: str) -> bool:
    try:
        zone(name)
    except KeyError:
        return False
    return True


def known_zones() -> set[str]:
    return available_timezones()
