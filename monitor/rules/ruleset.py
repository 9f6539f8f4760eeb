"""The rules in force, their quiet hours, and the rules among them that never notify (`find_idle`)."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import date, datetime, timedelta, timezone, tzinfo

from pydantic import SecretStr

from monitor.events.data import DATA, NUDGE
from monitor.mail_addresses import same
from monitor.rules.field_types import matches, matches_any, zone
from monitor.rules.matching import MatchSubject, mismatch, takes
from monitor.rules.model import Config, Match, QuietHours, Receiver, Rule, Weekday
from monitor.rules.targets import (
    ChannelName,
    ResolvedTarget,
    RoutingResult,
    Target,
    once,
    resolve_route,
    targets_of,
)

MAX_CHAIN = timedelta(days=8)
"""Quiet hours that follow on each other for longer never end: each has begun once more by then."""

_WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class NeverEnds(ValueError):
    """The error that quiet hours follow on each other for ever."""


def quiet_until(hours: Iterable[QuietHours], default_zone: str, now: datetime) -> datetime | None:
    """Return the end of all quiet hours that hold at `now`, or None if none hold.
    Raises NeverEnds.

    If other quiet hours hold at that end (a weekend behind a night), the end is theirs."""
    every = [(quiet_hours, zone(quiet_hours.timezone or default_zone)) for quiet_hours in hours]
    end = now
    while later := [until for quiet_hours, place in every if (until := _end(quiet_hours, place, end))]:
        end = max(later)
        if end - now > MAX_CHAIN:
            raise NeverEnds
    return end if end > now else None


def _end(hours: QuietHours, place: tzinfo, now: datetime) -> datetime | None:
    """Return the end of the quiet hours that hold at `now`. They began today or yesterday."""
    today = now.astimezone(place).date()
    for day in (today, today - timedelta(days=1)):
        if _WEEKDAYS[day.weekday()] in hours.days:
            start, end = _window(hours, place, day)
            if start <= now < end:
                return end
    return None


def _window(hours: QuietHours, place: tzinfo, day: date) -> tuple[datetime, datetime]:
    """Return the start and end in UTC.
    Sums and comparisons of times in one zone leave out what its clocks leave out."""
    last = day if hours.end > hours.start else day + timedelta(days=1)
    start = datetime.combine(day, hours.start, place)
    end = datetime.combine(last, hours.end, place)
    # fold: which of two, where clocks go back. A time that they leave out is later with the first.
    both = (end.replace(fold=fold).astimezone(timezone.utc) for fold in (0, 1))
    return start.astimezone(timezone.utc), max(both)


class Rules:
    """The rules of one reading of the file.
    They are immutable: a changed file makes another object, and a holder of this one goes on with it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._asks: dict[str, bool] = {}  # by event type: there are a few dozen
        self._spellings = {same(address): address for address in reversed(_addresses(config))}
        self._zones = {
            same(address): receiver.timezone
            for receiver in reversed(config.receivers.values())  # where several have an address: the first
            if receiver.timezone
            for address in receiver.email
        }

    def asks(self, event_type: str) -> bool:
        """Return True if any rule may take events of this type. Most events are of no such type."""
        if event_type not in self._asks:
            self._asks[event_type] = any(
                matches_any(rule.match.type, event_type) for rule in self.config.rules
            )
        return self._asks[event_type]

    def find_matching(self, facts: MatchSubject) -> list[Rule]:
        """Return every rule that takes the event, in order, up to a rule that is the last."""
        taking = []
        for rule in self.config.rules:
            if takes(rule.match, facts):
                taking.append(rule)
                if rule.last:
                    break
        return taking

    def explain(self, facts: MatchSubject) -> list[tuple[Rule, str | None]]:
        """Return every rule with the reason why it does not take the event, or None if it does."""
        mismatches: list[tuple[Rule, str | None]] = []
        skip_reason: str | None = None
        for rule in self.config.rules:
            against = skip_reason or mismatch(rule.match, facts)
            mismatches.append((rule, against))
            if against is None and rule.last:
                skip_reason = f"not asked: rule {rule.name!r} above takes the event and is the last"
        return mismatches

    def targets(self, rule: Rule, facts: MatchSubject) -> list[Target]:
        """Return the recipients that the rule names and those that the DAG names, each once.

        An address is spelled as the file spells it first, because its threads and deliveries are known by
        that spelling."""
        own_targets = [target for name in rule.to for target in targets_of(name, self.config.receivers)]
        return [
            self._spelt(target) for target in once([*own_targets, *self.resolve_route(rule, facts).targets])
        ]

    def _spelt(self, target: Target) -> Target:
        if target.channel is not ChannelName.EMAIL:
            return target
        return Target(target.channel, self._spellings.get(same(target.recipient), target.recipient))

    def resolve_route(self, rule: Rule, facts: MatchSubject) -> RoutingResult:
        """Return the recipients that the DAG names, and those that it names in vain."""
        if not rule.route:
            return RoutingResult()
        return resolve_route(facts, self.config.receivers, self.config.routing)

    def quiet_until(self, rule: Rule, now: datetime) -> datetime | None:
        """Return the end of the quiet hours that hold now or follow on them, or None if none hold."""
        hours = [self.config.quiet_hours[name] for name in rule.quiet_hours]
        return quiet_until(hours, self.config.timezone, now)

    def resolve(self, target: Target) -> ResolvedTarget | None:
        """Return the present address of a target, or None if the file no longer has the receiver.

        The number counts in the present file. If an address is taken out of the middle, what waits for it
        goes to the receiver's next address."""
        if target.channel is ChannelName.EMAIL:
            return ResolvedTarget(SecretStr(target.recipient), None, self._zones.get(same(target.recipient)))
        name, _, number = target.recipient.rpartition("#")
        receiver = self.config.receivers.get(name)
        if receiver is None or not number.isdecimal():
            return None
        return _resolve(receiver, target.channel, int(number) - 1)

    def timezone_of(self, target: Target) -> str:
        """Return the time zone in which the target reads times."""
        resolved = self.resolve(target)
        return (resolved.timezone if resolved else None) or self.config.timezone


def _addresses(config: Config) -> list[str]:
    """Return the mail addresses in the file's spelling and order."""
    of_receivers = [address for receiver in config.receivers.values() for address in receiver.email]
    of_rules = [name for rule in config.rules for name in rule.to if name not in config.receivers]
    return [*of_receivers, *of_rules]


def _resolve(receiver: Receiver, channel: ChannelName, index: int) -> ResolvedTarget | None:
    if channel is ChannelName.APPRISE and 0 <= index < len(receiver.apprise):
        return ResolvedTarget(receiver.apprise[index], None, receiver.timezone)
    if channel is ChannelName.WEBHOOK and 0 <= index < len(receiver.webhook):
        webhook = receiver.webhook[index]
        return ResolvedTarget(SecretStr(webhook.url), webhook.secret, receiver.timezone)
    return None


Occasions = Callable[[str], Collection[str]]
"""The values of `notify_on` that events of a type may call for."""

_NEEDED = {
    "dag_id": ("dag_id", "source_dag_id"),
    "task_id": ("task_id", "source_task_id"),
    "run_type": ("run_type",),
    "asset": ("asset",),
    "attempt": ("try_number",),
    "tags": ("dag_id", "source_dag_id"),  # they are the DAG's
    "owners": ("dag_id", "source_dag_id"),
}
"""The fields of an event of which it must have one, or a match that names the first never takes it."""
_GLOBS = ("deployment", "dag_id", "task_id", "run_type", "asset", "tags", "owners")


def find_idle(config: Config, occasions: Occasions) -> Iterator[tuple[int, str]]:
    """Yield the number of each rule that never notifies, and why.
    Such a rule is no mistake, because it can be used."""
    for number, rule in enumerate(config.rules):
        if reason := _why_idle(config, number, rule, occasions):
            yield number, f"rule {rule.name!r} notifies nobody: {reason}"


def _why_idle(config: Config, number: int, rule: Rule, occasions: Occasions) -> str | None:
    types = _types_of(rule.match)
    if not types:
        return "no type of event has all that `match` names"
    if not any(set(rule.notify_on) & set(occasions(event_type)) for event_type in types):
        options, called_for = (
            ", ".join(rule.notify_on),
            sorted({option for event_type in types for option in occasions(event_type)}),
        )
        return (
            f"`notify_on` has {options}, and the events of its `match` call for {', '.join(called_for)} only"
        )
    for above in config.rules[:number]:
        if above.last and _covers(above.match, rule.match):
            return f"rule {above.name!r} above takes all of its events and is the last (`last: true`)"
    return _no_recipient(config, rule)


def _no_recipient(config: Config, rule: Rule) -> str | None:
    if any(targets_of(name, config.receivers) for name in rule.to):
        return None
    routing = config.routing
    if rule.to:
        named = f"{', '.join(rule.to)} has no address; set NOTIFICATION_EMAIL_TO, or name another in `to`"
        # Recipients that a DAG names are notified all the same, but a DAG may name none.
        return named if not rule.route else f"{named}. Only those whom a DAG names are notified"
    may_name = routing.domains or (routing.receivers and config.receivers)
    return None if may_name else "`to` is empty, and `routing` lets a DAG name nobody"


def _types_of(match: Match) -> set[str]:
    """Return the types of events that a match may take."""
    named = [field for field in _NEEDED if getattr(match, field) not in ((), ("*",))]
    types = {
        name
        for name, data in DATA.items()
        if name != NUDGE
        and matches_any(match.type, name)
        and all(not data.model_fields.keys().isdisjoint(_NEEDED[field]) for field in named)
    }
    if match.any_of:
        types &= {name for inner in match.any_of for name in _types_of(inner)}
    for inner in match.none_of:
        if inner.model_fields_set == {"type"}:  # any other field may let some of them through
            types -= _types_of(inner)
    return types


def _covers(above: Match, below: Match) -> bool:
    """Return True only if it is certain that `above` takes every event that `below` takes."""
    if above.any_of or above.none_of or not _types_of(below) <= _types_of(above):
        return False
    if above.attempt and not (below.attempt and set(below.attempt) <= set(above.attempt)):
        return False
    return all(_all_within(getattr(above, name), getattr(below, name)) for name in _GLOBS)


def _all_within(wide: tuple[str, ...], narrow: tuple[str, ...]) -> bool:
    if wide in ((), ("*",)):
        return True
    return bool(narrow) and all(
        any(glob == glob_within or ("?" not in glob and matches(glob, glob_within)) for glob in wide)
        for glob_within in narrow
    )
