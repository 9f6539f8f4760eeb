"""The checks of a rules file beyond the types of its fields."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlsplit

from monitor.events.data import DATA, NUDGE
from monitor.mail_addresses import is_address
from monitor.renamed import RULE_FIELDS, instead
from monitor.rules.field_types import is_zone, list_zones, matches
from monitor.rules.json_schema import fields_at
from monitor.rules.model import Config, Match, QuietHours, Receiver, Routing, Rule, Watch, Webhook
from monitor.rules.ruleset import NeverEnds, quiet_until
from monitor.rules.targets import SUCCESS
from monitor.rules.yaml_source import KeyPath, Mistake, Source, ValidationIssue
from monitor.settings_values import check_secret

_WORDS = {
    "missing": "is missing",
    "string_type": "is no text; put it between quotes",
    "tuple_type": "must be a list, such as [a, b]",
    "model_type": "must have fields, such as `name: value`",
    "model_attributes_type": "must have fields, such as `name: value`",
    "dict_type": "must have names, such as `name: value`",
    "int_type": "is no whole number",
    "int_parsing": "is no whole number",
    "int_from_float": "is no whole number",
    "float_type": "is no number",
    "float_parsing": "is no number",
    "bool_type": "is neither true nor false",
    "bool_parsing": "is neither true nor false",
    "string_too_short": "is empty",
}
_HIDDEN = {"missing", "extra_forbidden"}


def mistakes_of(source: Source, errors: Iterable[Any]) -> list[Mistake]:
    """Return pydantic's errors as mistakes of the file."""
    return [_mistake(source, error) for error in errors]


def _mistake(source: Source, error: Any) -> Mistake:
    path: KeyPath = tuple(part for part in error["loc"] if part != "[key]")
    kind: str = error["type"]
    if kind == "extra_forbidden":
        return source.mistake(path, _unknown(path), show=False)
    return source.mistake(path, _words(kind, error), show=kind not in _HIDDEN)


def _words(kind: str, error: Any) -> str:
    if kind == "literal_error":
        return _none_of(error["input"], error["ctx"]["expected"])
    if kind == "value_error":
        return str(error["ctx"]["error"])
    text: str = error["msg"]
    return _WORDS.get(kind) or text.replace("Input should", "should", 1)


def _none_of(value: object, expected: str) -> str:
    """Return the message about a value that is none of the allowed ones.
    `expected` is pydantic's: 'a', 'b' or 'c'."""
    allowed = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    return f"is none of {', '.join(allowed)}{suggest_name(str(value), allowed)}"


def _unknown(path: KeyPath) -> str:
    if new := RULE_FIELDS.get(str(path[-1])):
        return instead(new)
    names = sorted(fields_at(path[:-1]))
    return f"there is no such field{suggest_name(str(path[-1]), names) or '; known are ' + ', '.join(names)}"


def suggest_name(name: str, names: Iterable[str]) -> str:
    """Return the nearest known name as a question, or "" if no name is near."""
    near = get_close_matches(name, list(names), n=1)
    return f"; did you mean {near[0]}?" if near else ""


TYPES = tuple(name for name in DATA if name != NUDGE)
"""Every type that rules are asked about."""

_KEY_FIELDS = ("type", "deployment", "dag_id", "task_id", "run_type")
_KEY = re.compile(r"[\w.*?-]+")  # Airflow's names of DAGs and tasks, and a glob's signs


def check_match(path: KeyPath, match: Match) -> Iterator[ValidationIssue]:
    """Yield the mistakes of a match."""
    yield from _empty(path, match)
    for name in _KEY_FIELDS:
        yield from check_keys((*path, name), name, getattr(match, name))
    for number, glob in enumerate(match.type):
        if _KEY.fullmatch(glob) and not any(matches(glob, event_type) for event_type in TYPES):
            yield ValidationIssue(
                (*path, "type", number), f"is no event's type (docs/events.md){suggest_name(glob, TYPES)}"
            )
    for name in ("any_of", "none_of"):
        for number, inner in enumerate(getattr(match, name)):
            yield from check_match((*path, name, number), inner)
            if inner == Match():
                yield ValidationIssue(
                    (*path, name, number), "takes every event; give it a field, or leave it out", False
                )


def check_keys(path: KeyPath, name: str, globs: Iterable[str]) -> Iterator[ValidationIssue]:
    """Yield globs that can never match.
    Airflow lets names hold few characters, so what looks like a regular expression never matches."""
    for number, glob in enumerate(globs):
        if not _KEY.fullmatch(glob):
            wrong = next(sign for sign in glob if not _KEY.fullmatch(sign))
            yield ValidationIssue(
                (*path, number),
                f"holds {wrong!r}, which no {name} does; globs know * and ? (no regular expressions)",
            )


def _empty(path: KeyPath, match: Match) -> Iterator[ValidationIssue]:
    for name in sorted(match.model_fields_set):
        if getattr(match, name) == ():
            yield ValidationIssue(
                (*path, name), "is an empty list, which would take every event; leave it out", False
            )


MAX_TARGETS = 100  # of one receiver, or one rule: each is a delivery of its own

CheckUrl = Callable[[str], str | None]
"""A function that returns why an Apprise URL cannot be used, or None. Its text holds nothing of the URL."""

# The name also stands behind `notify:` in a tag, and before `#` in the ledger. It has no @, so that no name
# is taken for an address.
_NAME = re.compile(r"\w([\w .-]*\w)?")
_DOMAIN = re.compile(r"[\w.*?-]+")


def check_receivers(
    receivers: Mapping[str, Receiver], check_url: CheckUrl | None
) -> Iterator[ValidationIssue]:
    """Yield the mistakes of receivers."""
    for name, receiver in receivers.items():
        path: KeyPath = ("receivers", name)
        if not _NAME.fullmatch(name):
            yield ValidationIssue(
                path, "is no receiver's name; use letters, digits, space, dot, - and _", False
            )
        if name == SUCCESS:
            yield ValidationIssue(
                path, "cannot be a receiver's name: the tag notify:success asks for successes", False
            )
        yield from _receiver(path, receiver, check_url)


def _receiver(path: KeyPath, receiver: Receiver, check_url: CheckUrl | None) -> Iterator[ValidationIssue]:
    targets = len(receiver.email) + len(receiver.apprise) + len(receiver.webhook)
    if not targets:
        yield ValidationIssue(path, "has nobody to notify; give it email, apprise or webhook", False)
    if targets > MAX_TARGETS:
        yield ValidationIssue(
            path, f"has {targets} targets; {MAX_TARGETS} are allowed. Mail to a list instead", False
        )
    for number, address in enumerate(receiver.email):
        if not is_address(address):
            yield ValidationIssue((*path, "email", number), "is no mail address such as ops@example.com")
    for number, url in enumerate(receiver.apprise):
        against = check_url(url.get_secret_value()) if check_url else None
        if against:
            yield ValidationIssue((*path, "apprise", number), f"cannot be used: {against}")
    for number, webhook in enumerate(receiver.webhook):
        yield from _webhook((*path, "webhook", number), webhook)


def _webhook(path: KeyPath, webhook: Webhook) -> Iterator[ValidationIssue]:
    if not _is_web_address(webhook.url):
        yield ValidationIssue((*path, "url"), "is no address such as https://hooks.example.com/windsock")
    try:
        check_secret(webhook.secret.get_secret_value())
    except ValueError as error:
        yield ValidationIssue((*path, "secret"), str(error), False)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain


def check_routing(routing: Routing) -> Iterator[ValidationIssue]:
    """Yield the mistakes of the routing."""
    for number, domain in enumerate(routing.domains):
        if not _DOMAIN.fullmatch(domain):
            yield ValidationIssue(
                ("routing", "domains", number), "is no domain such as example.com or *.example.com"
            )


def recipients(path: KeyPath, rule: Rule, receivers: Mapping[str, Receiver]) -> Iterator[ValidationIssue]:
    """Yield the mistakes of a rule's recipients."""
    if not rule.to and not rule.route:
        yield ValidationIssue(
            (*path, "to"), "names nobody, and route is false: nobody would be notified", False
        )
    if len(rule.to) > MAX_TARGETS:
        yield ValidationIssue(
            (*path, "to"), f"has {len(rule.to)} names; {MAX_TARGETS} are allowed. Use receivers"
        )
    for number, name in enumerate(rule.to):
        if name not in receivers and not is_address(name):
            yield ValidationIssue((*path, "to", number), _nobody(name, receivers))


def _nobody(name: str, receivers: Mapping[str, Receiver]) -> str:
    if "://" in name:
        return "belongs into a receiver (apprise or webhook); give its name here"
    names = ", ".join(receivers)
    return (
        f"is no mail address, and no receiver's name{suggest_name(name, receivers) or f'; there are {names}'}"
    )


_SOME_DAY = datetime(2026, 1, 5, 12, tzinfo=timezone.utc)  # whether they ever end does not depend on the day
_FOR_EVER = "never end: one begins where the other ends, all week; leave an hour between them"


def check_zones(config: Config) -> Iterator[ValidationIssue]:
    """Yield the time zones that do not exist."""
    zones: list[tuple[KeyPath, str | None]] = [
        (("timezone",), config.timezone),
        *(
            (("receivers", name, "timezone"), receiver.timezone)
            for name, receiver in config.receivers.items()
        ),
        *(
            (("quiet_hours", name, "timezone"), quiet_hours.timezone)
            for name, quiet_hours in config.quiet_hours.items()
        ),
    ]
    for path, zone in zones:
        if zone is not None and not is_zone(zone):
            near = suggest_name(zone, list_zones())
            yield ValidationIssue(path, f"is no time zone such as Europe/Zurich or America/New_York{near}")


def check_quiet_hours(quiet_hours: Mapping[str, QuietHours]) -> Iterator[ValidationIssue]:
    """Yield the mistakes of quiet hours."""
    for name, hours in quiet_hours.items():
        if not hours.days:
            yield ValidationIssue(
                ("quiet_hours", name, "days"), "names no day; leave it out for every day", False
            )
        elif never_end([hours]):
            yield ValidationIssue(("quiet_hours", name), _FOR_EVER, False)


def check_rule_quiet_hours(path: KeyPath, rule: Rule, merged: Config) -> Iterator[ValidationIssue]:
    """Yield the mistakes of a rule's quiet hours."""
    for number, name in enumerate(rule.quiet_hours):
        if name not in merged.quiet_hours:
            names = f"there are {', '.join(merged.quiet_hours)}" if merged.quiet_hours else "it has none"
            near = suggest_name(name, merged.quiet_hours) or f"; {names}"
            yield ValidationIssue((*path, "quiet_hours", number), f"are no quiet hours of this file{near}")
    quiet_hours = [
        merged.quiet_hours[name] for name in dict.fromkeys(rule.quiet_hours) if name in merged.quiet_hours
    ]
    if len(quiet_hours) > 1 and never_end(quiet_hours):
        yield ValidationIssue((*path, "quiet_hours"), f"together {_FOR_EVER}", False)


def never_end(hours: Iterable[QuietHours]) -> bool:
    """Return True if the quiet hours never end.
    Hours with an unknown zone are left out, because the zone is a mistake of its own."""
    try:
        quiet_until(
            [
                quiet_hours
                for quiet_hours in hours
                if quiet_hours.timezone is None or is_zone(quiet_hours.timezone)
            ],
            "UTC",
            _SOME_DAY,
        )
    except NeverEnds:
        return True
    return False


_OF_DAGS = frozenset(("missing", "late", "stuck", "auto_paused"))
_OF_ASSETS = frozenset(("stale", "unconsumed"))
_FOR = {
    "asset": _OF_ASSETS,
    "dag_id": _OF_DAGS | _OF_ASSETS,
    "tags": _OF_DAGS | _OF_ASSETS,
    "deployment": _OF_DAGS | _OF_ASSETS | {"component", "unreachable"},
}
"""The watches that use each field. In any other watch the field would silently narrow nothing."""


def check_watches(watches: Sequence[Watch]) -> Iterator[ValidationIssue]:
    """Yield the mistakes of watches."""
    first: dict[str, int] = {}
    for number, watch in enumerate(watches):
        path: KeyPath = ("watches", number)
        if first.setdefault(watch.name, number) != number:
            yield ValidationIssue(
                (*path, "name"), f"is also the name of watches[{first[watch.name]}]; give it another"
            )
        for name, kinds in _FOR.items():
            if getattr(watch, name) and watch.watch not in kinds:
                names = ", ".join(sorted(kinds))
                yield ValidationIssue(
                    (*path, name), f"has no meaning for {watch.watch!r}; it is of {names}", False
                )
        for name in ("deployment", "dag_id"):
            yield from check_keys((*path, name), name, getattr(watch, name))


MAX_RULES = 1000  # each event is compared with every one of them, in ingest's transaction
KINDS = frozenset(
    ("opened", "failure", "follow_up", "reminder", "flapping", "recovered", "success", "notice", "digest")
)
"""The kinds of notifications (docs/notifications.md)."""
ANY_KIND = "default"
RESERVED = "digest"
"""The rule in the ledger for what the budget had no room for."""


@dataclass(frozen=True)
class CheckContext:
    """The subject of a check: the file's rules, and the rules merged with the defaults."""

    config: Config
    merged: Config
    source: Source
    check_url: CheckUrl | None = None
    templates: Collection[str] | None = None


def mistakes_in(checking: CheckContext, left_out: Sequence[KeyPath] = ()) -> list[Mistake]:
    """Return every mistake, in the order of lines.
    `left_out` holds fields with a mistake already. Further mistakes of these fields, or of what holds them,
    are left out."""
    mistakes = [
        checking.source.mistake(found.path, found.message, found.show)
        for check in _CHECKS
        for found in check(checking)
        if not any(_leads_through(found.path, path) for path in left_out)
    ]
    return sorted(mistakes, key=lambda mistake: mistake.line or 0)


def _leads_through(path: KeyPath, other: KeyPath) -> bool:
    """Return True if one of the paths leads through the other."""
    return all(step == other_step for step, other_step in zip(path, other, strict=False))


def _receivers(checking: CheckContext) -> Iterator[ValidationIssue]:
    yield from check_receivers(checking.config.receivers, checking.check_url)
    yield from check_routing(checking.config.routing)


def _times(checking: CheckContext) -> Iterator[ValidationIssue]:
    yield from check_zones(checking.config)
    yield from check_quiet_hours(checking.config.quiet_hours)


def _rules(checking: CheckContext) -> Iterator[ValidationIssue]:
    rules = checking.config.rules
    if len(rules) > MAX_RULES:
        yield ValidationIssue(
            ("rules",), f"are {len(rules)}; {MAX_RULES} are allowed. Use globs, receivers and tags"
        )
        return
    first: dict[str, int] = {}
    for number, rule in enumerate(rules):
        path: KeyPath = ("rules", number)
        if first.setdefault(rule.name, number) != number:
            yield ValidationIssue(
                (*path, "name"), f"is also the name of rules[{first[rule.name]}]; give it another"
            )
        if rule.name == RESERVED:
            yield ValidationIssue((*path, "name"), "is the ledger's own name for digests; give it another")
        yield from _check_notify_on(path, rule)
        yield from _template(path, rule, checking.templates)
        yield from check_match((*path, "match"), rule.match)
        yield from recipients(path, rule, checking.merged.receivers)
        yield from check_rule_quiet_hours(path, rule, checking.merged)


def _check_notify_on(path: KeyPath, rule: Rule) -> Iterator[ValidationIssue]:
    if not rule.notify_on:
        yield ValidationIssue(
            (*path, "notify_on"), "names nothing; take out the rule, or name an occasion to notify on"
        )
    if {"first_failure", "every_failure"} <= set(rule.notify_on):
        yield ValidationIssue(
            (*path, "notify_on"),
            "has first_failure and every_failure, which is the first one twice; choose one",
        )


def _template(path: KeyPath, rule: Rule, templates: Collection[str] | None) -> Iterator[ValidationIssue]:
    for kind, name in rule.template.items():
        if kind not in KINDS | {ANY_KIND}:
            names = ", ".join(sorted(KINDS))
            yield ValidationIssue(
                (*path, "template", kind), f"is of no kind of notification: {names}, or {ANY_KIND}", False
            )
        if templates is not None and name not in templates:
            names = ", ".join(sorted(templates))
            yield ValidationIssue((*path, "template", kind), f"is no template; there are {names}")


def _watches(checking: CheckContext) -> Iterator[ValidationIssue]:
    return check_watches(checking.config.watches)


def _budget(checking: CheckContext) -> Iterator[ValidationIssue]:
    budget = checking.config.budget
    if budget.reserve >= budget.daily:
        yield ValidationIssue(
            ("budget",), f"reserve ({budget.reserve}) must be below daily ({budget.daily})", False
        )


_CHECKS: tuple[Callable[[CheckContext], Iterator[ValidationIssue]], ...] = (
    _receivers,
    _times,
    _rules,
    _watches,
    _budget,
)
