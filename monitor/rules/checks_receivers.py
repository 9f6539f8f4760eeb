"""What can be wrong about whom a file tells."""

import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import urlsplit

from monitor.rules.addresses import is_address
from monitor.rules.found import Found
from monitor.rules.model import Receiver, Routing, Rule, Webhook
from monitor.rules.routing import SUCCESS
from monitor.rules.source import Path
from monitor.rules.wording import meant
from monitor.settings import check_secret

MAX_TARGETS = 100  # of one receiver, or one rule: each is a delivery of its own

CheckUrl = Callable[[str], str | None]
"""Why an Apprise URL cannot be used; None: it can. Its words hold nothing of the URL."""

# Also behind `notify:` in a tag, and before `#` in the ledger; no @, so that no name is taken for an address.
_NAME = re.compile(r"\w([\w .-]*\w)?")
_DOMAIN = re.compile(r"[\w.*?-]+")


def of_receivers(receivers: Mapping[str, Receiver], check_url: CheckUrl | None) -> Iterator[Found]:
    for name, receiver in receivers.items():
        path: Path = ("receivers", name)
        if not _NAME.fullmatch(name):
            yield Found(path, "is no receiver's name; use letters, digits, space, dot, - and _", False)
        if name == SUCCESS:
            yield Found(path, "cannot be a receiver's name: the tag notify:success asks for successes", False)
        yield from _receiver(path, receiver, check_url)


def _receiver(path: Path, receiver: Receiver, check_url: CheckUrl | None) -> Iterator[Found]:
    targets = len(receiver.email) + len(receiver.apprise) + len(receiver.webhook)
    if not targets:
        yield Found(path, "has nobody to notify; give it email, apprise or webhook", False)
    if targets > MAX_TARGETS:
        yield Found(path, f"has {targets} targets; {MAX_TARGETS} are allowed. Mail to a list instead", False)
    for number, address in enumerate(receiver.email):
        if not is_address(address):
            yield Found((*path, "email", number), "is no mail address such as ops@example.com")
    for number, url in enumerate(receiver.apprise):
        against = check_url(url.get_secret_value()) if check_url else None
        if against:
            yield Found((*path, "apprise", number), f"cannot be used: {against}")
    for number, webhook in enumerate(receiver.webhook):
        yield from _webhook((*path, "webhook", number), webhook)


def _webhook(path: Path, webhook: Webhook) -> Iterator[Found]:
    if not _is_web_address(webhook.url):
        yield Found((*path, "url"), "is no address such as https://hooks.example.com/windsock")
    try:
        check_secret(webhook.secret.get_secret_value())
    except ValueError as error:
        yield Found((*path, "secret"), str(error), False)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    plain = url.isascii() and url.isprintable() and " " not in url
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0 and plain


def of_routing(routing: Routing) -> Iterator[Found]:
    for number, domain in enumerate(routing.domains):
        if not _DOMAIN.fullmatch(domain):
            yield Found(("routing", "domains", number), "is no domain such as example.com or *.example.com")


def recipients(path: Path, rule: Rule, receivers: Mapping[str, Receiver]) -> Iterator[Found]:
    if not rule.to and not rule.route:
        yield Found((*path, "to"), "names nobody, and route is false: nobody would be notified", False)
    if len(rule.to) > MAX_TARGETS:
        yield Found((*path, "to"), f"has {len(rule.to)} names; {MAX_TARGETS} are allowed. Use receivers")
    for number, name in enumerate(rule.to):
        if name not in receivers and not is_address(name):
            yield Found((*path, "to", number), _nobody(name, receivers))


def _nobody(name: str, receivers: Mapping[str, Receiver]) -> str:
    if "://" in name:
        return "belongs into a receiver (apprise or webhook); give its name here"
    known = ", ".join(receivers)
    return f"is no mail address, and no receiver's name{meant(name, receivers) or f'; there are {known}'}"
