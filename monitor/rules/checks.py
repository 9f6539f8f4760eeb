"""What a well-formed file can still have wrong: names that nothing has, rules that nobody hears."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from monitor.rules.checks_match import of_match
from monitor.rules.checks_receivers import CheckUrl, of_receivers, of_routing, recipients
from monitor.rules.checks_times import of_quiet_hours, of_rules_quiet_hours, of_zones
from monitor.rules.checks_watches import of_watches
from monitor.rules.found import Found
from monitor.rules.mistakes import Mistake
from monitor.rules.model import Config, Rule
from monitor.rules.source import Path, Source

MAX_RULES = 1000  # each event is compared with every one of them, in ingest's transaction
KINDS = frozenset(
    ("opened", "failure", "follow_up", "reminder", "flapping", "recovered", "success", "notice", "digest")
)
"""Of notifications (docs/notifications.md)."""
ANY_KIND = "default"
RESERVED = "digest"
"""The ledger's name of the rule by which what the budget had no room for is told."""


@dataclass(frozen=True)
class Checking:
    """What is looked at: the file as it is, and as it holds together with the defaults."""

    given: Config
    merged: Config
    source: Source
    check_url: CheckUrl | None = None
    templates: Collection[str] | None = None


def mistakes_in(checking: Checking) -> list[Mistake]:
    """Every one, in the order of lines."""
    mistakes = [
        checking.source.mistake(found.path, found.message, found.show)
        for check in _CHECKS
        for found in check(checking)
    ]
    return sorted(mistakes, key=lambda mistake: mistake.line or 0)


def _receivers(checking: Checking) -> Iterator[Found]:
    yield from of_receivers(checking.given.receivers, checking.check_url)
    yield from of_routing(checking.given.routing)


def _times(checking: Checking) -> Iterator[Found]:
    yield from of_zones(checking.given)
    yield from of_quiet_hours(checking.given.quiet_hours)


def _rules(checking: Checking) -> Iterator[Found]:
    rules = checking.given.rules
    if len(rules) > MAX_RULES:
        yield Found(("rules",), f"are {len(rules)}; {MAX_RULES} are allowed. Use globs, receivers and tags")
        return
    first: dict[str, int] = {}
    for number, rule in enumerate(rules):
        path: Path = ("rules", number)
        if first.setdefault(rule.name, number) != number:
            yield Found((*path, "name"), f"is also the name of rules[{first[rule.name]}]; give it another")
        if rule.name == RESERVED:
            yield Found((*path, "name"), "is the ledger's own name for digests; give it another")
        yield from _notify_on(path, rule)
        yield from _template(path, rule, checking.templates)
        yield from of_match((*path, "match"), rule.match)
        yield from recipients(path, rule, checking.merged.receivers)
        yield from of_rules_quiet_hours(path, rule, checking.merged)


def _notify_on(path: Path, rule: Rule) -> Iterator[Found]:
    if not rule.notify_on:
        yield Found(
            (*path, "notify_on"), "names nothing; take out the rule, or name an occasion to notify on"
        )
    if {"first_failure", "every_failure"} <= set(rule.notify_on):
        yield Found(
            (*path, "notify_on"),
            "has first_failure and every_failure, which is the first one twice; choose one",
        )


def _template(path: Path, rule: Rule, templates: Collection[str] | None) -> Iterator[Found]:
    for kind, name in rule.template.items():
        if kind not in KINDS | {ANY_KIND}:
            known = ", ".join(sorted(KINDS))
            yield Found(
                (*path, "template", kind), f"is of no kind of notification: {known}, or {ANY_KIND}", False
            )
        if templates is not None and name not in templates:
            known = ", ".join(sorted(templates))
            yield Found((*path, "template", kind), f"is no template; there are {known}")


def _watches(checking: Checking) -> Iterator[Found]:
    return of_watches(checking.given.watches)


def _budget(checking: Checking) -> Iterator[Found]:
    budget = checking.given.budget
    if budget.reserve >= budget.daily:
        yield Found(("budget",), f"reserve ({budget.reserve}) must be below daily ({budget.daily})", False)


_CHECKS: tuple[Callable[[Checking], Iterator[Found]], ...] = (_receivers, _times, _rules, _watches, _budget)
