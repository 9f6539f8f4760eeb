"""What can be wrong about zones and quiet hours."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone

from monitor.rules.found import Found
from monitor.rules.model import Config, QuietHours, Rule
from monitor.rules.quiet import NeverEnds, quiet_until
from monitor.rules.source import Path
from monitor.rules.wording import meant
from monitor.rules.zones import is_zone, known_zones

_SOME_DAY = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)  # whether they ever end does not depend on the day
_FOR_EVER = "never end: one begins where the other ends, all week; leave an hour between them"


def of_zones(given: Config) -> Iterator[Found]:
    named: list[tuple[Path, str | None]] = [
        (("timezone",), given.timezone),
        *((("receivers", name, "timezone"), one.timezone) for name, one in given.receivers.items()),
        *((("quiet_hours", name, "timezone"), one.timezone) for name, one in given.quiet_hours.items()),
    ]
    for path, zone in named:
        if zone is not None and not is_zone(zone):
            near = meant(zone, known_zones())
            yield Found(path, f"is no time zone such as Europe/Zurich or America/New_York{near}")


def of_quiet_hours(quiet_hours: Mapping[str, QuietHours]) -> Iterator[Found]:
    for name, hours in quiet_hours.items():
        if not hours.days:
            yield Found(("quiet_hours", name, "days"), "names no day; leave it out for every day", False)
        elif never_end([hours]):
            yield Found(("quiet_hours", name), _FOR_EVER, False)


def of_rules_quiet_hours(path: Path, rule: Rule, merged: Config) -> Iterator[Found]:
    for number, name in enumerate(rule.quiet_hours):
        if name not in merged.quiet_hours:
            known = f"there are {', '.join(merged.quiet_hours)}" if merged.quiet_hours else "it has none"
            near = meant(name, merged.quiet_hours) or f"; {known}"
            yield Found((*path, "quiet_hours", number), f"are no quiet hours of this file{near}")
    named = [
        merged.quiet_hours[name] for name in dict.fromkeys(rule.quiet_hours) if name in merged.quiet_hours
    ]
    if len(named) > 1 and never_end(named):
        yield Found((*path, "quiet_hours"), f"together {_FOR_EVER}", False)


def never_end(hours: Iterable[QuietHours]) -> bool:
    """Of zones that do not exist nothing is said: they have their own mistake."""
    try:
        quiet_until([one for one in hours if one.timezone is None or is_zone(one.timezone)], "UTC", _SOME_DAY)
    except NeverEnds:
        return True
    return False
