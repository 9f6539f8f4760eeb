"""The recipients of a rule, and the recipients that a DAG names in its tags and owners.

Anybody who may write a DAG writes its tags and owners. So they only choose among the receivers of the file
and well-formed addresses, within `routing` of the file, and only a few.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from pydantic import SecretStr

from monitor.mail_addresses import domain_of, is_address, same
from monitor.rules.field_types import matches_any
from monitor.rules.matching import MatchSubject
from monitor.rules.model import Receiver, Routing


class ChannelName(str, Enum):
    """The kinds of channels."""

    EMAIL = "email"
    APPRISE = "apprise"
    WEBHOOK = "webhook"


@dataclass(frozen=True)
class Target:
    """The recipient of a delivery: a channel, and an address or a receiver's name."""

    channel: ChannelName
    recipient: str
    """An address, or else `<receiver>#<n>`, n from 1. Never a URL, which may hold a secret."""


@dataclass(frozen=True)
class ResolvedTarget:
    """The present address of a target."""

    url: SecretStr
    """The URL, or for mail the address."""
    secret: SecretStr | None
    """A webhook's."""
    timezone: str | None
    """The time zone of times in notifications. None if the file gives none."""


TAG = "notify:"
SUCCESS = "success"
"""The tag `notify:success` asks for successes. It names no recipient (loader.py)."""
MAX_NAMED = 20  # by one DAG: a mistake in a loop over tags must not make the monitor a mail cannon


@dataclass(frozen=True)
class RoutingResult:
    """The recipients that a DAG names, and those that it names in vain, with the reason."""

    targets: tuple[Target, ...] = ()
    refused: tuple[str, ...] = ()


def resolve_route(facts: MatchSubject, receivers: Mapping[str, Receiver], routing: Routing) -> RoutingResult:
    """Return the recipients that the DAG's tags and owners name."""
    targets: list[Target] = []
    refused: list[str] = []
    for number, (where, name) in enumerate(_find_names(facts, receivers)):
        reason = _too_many(number) or _refusal(name, receivers, routing)
        if reason:
            refused.append(f"{where}: {reason}")
        else:
            targets += targets_of(name, receivers)
    return RoutingResult(once(targets), tuple(refused))


def targets_of(name: str, receivers: Mapping[str, Receiver]) -> list[Target]:
    """Return the targets of a receiver's name, or of an address."""
    receiver = receivers.get(name)
    if receiver is None:
        return [Target(ChannelName.EMAIL, name)]
    return [
        *(Target(ChannelName.EMAIL, address) for address in receiver.email),
        *(Target(ChannelName.APPRISE, f"{name}#{number}") for number in range(1, len(receiver.apprise) + 1)),
        *(Target(ChannelName.WEBHOOK, f"{name}#{number}") for number in range(1, len(receiver.webhook) + 1)),
    ]


def once(targets: list[Target]) -> tuple[Target, ...]:
    """Return each target once, in its first spelling."""
    distinct: dict[tuple[ChannelName, str], Target] = {}
    for target in targets:
        is_mail = target.channel is ChannelName.EMAIL
        distinct.setdefault((target.channel, same(target.recipient) if is_mail else target.recipient), target)
    return tuple(distinct.values())


def _find_names(facts: MatchSubject, receivers: Mapping[str, Receiver]) -> Iterator[tuple[str, str]]:
    """Yield each name with its place. An owner that is neither address nor receiver is just an owner."""
    for tag in dict.fromkeys(facts.tags):
        name = tag.removeprefix(TAG).strip()
        if tag.startswith(TAG) and name != SUCCESS:
            yield f"tag {tag!r}", name
    for owner in dict.fromkeys(facts.owners):
        if owner in receivers or is_address(owner):
            yield f"owner {owner!r}", owner


def _too_many(number: int) -> str | None:
    return f"a DAG may name {MAX_NAMED} at the most" if number >= MAX_NAMED else None


def _refusal(name: str, receivers: Mapping[str, Receiver], routing: Routing) -> str | None:
    if name in receivers:
        return None if matches_any(routing.receivers, name) else "routing.receivers does not allow this one"
    if not is_address(name):
        return "there is no such receiver, and it is no mail address"
    domains = [glob.lower() for glob in routing.domains]
    return None if matches_any(domains, domain_of(name)) else "routing.domains does not allow its domain"
