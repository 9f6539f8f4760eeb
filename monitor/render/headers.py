"""Headers that machines read, and any other whose words are ASCII: kept as they are given, and folded between
their words and nowhere else.

Python's email package folds a long word by encoding it (RFC 2047), which makes of a Message-ID in References,
or of an address in List-Unsubscribe, something that no program finds again. It also reads each header's
grammar as it is set and once more as it is written out, which took a third of a mail's time.
"""

import re
from email.policy import EmailPolicy, Policy
from functools import lru_cache
from typing import Any

from monitor.events.identity import digest

MAX_LINE = 998  # octets: RFC 5322 section 2.1.1
SLUG_LENGTH = 40
ADDRESSES = 1_000  # headers that are kept as they were read: one sender's, and the recipients'
_NO_SLUG = re.compile(r"[^a-z0-9]+")


class _Once(EmailPolicy):
    """Whoever writes the message sets each header once: to count them, Python makes a class each time."""

    def header_max_count(self, name: str) -> int | None:
        return None


POLICY = _Once()


class Words(str):
    """A header's value, printable ASCII, whose words stay whole. It folds itself: email.policy leaves that to
    what has a name."""

    name: str

    def fold(self, *, policy: Policy) -> str:
        """RFC 5322 section 2.2.3."""
        width = policy.max_line_length or MAX_LINE
        lines = [f"{self.name}: {self}"]
        if len(lines[0]) > width:
            lines = [f"{self.name}:"]
            for word in self.split():
                if len(lines[-1]) + 1 + len(word) <= width or lines == [f"{self.name}:"]:
                    lines[-1] += f" {word}"
                else:
                    lines.append(f" {word}")
        return policy.linesep.join(lines) + policy.linesep


def words(name: str, value: str) -> str:
    """A header's value, as it is where it is ASCII; else for email.policy to encode, or to refuse."""
    if not (value.isascii() and value.isprintable()):
        return value
    kept = Words(value)
    kept.name = name
    return kept


@lru_cache(maxsize=ADDRESSES)
def addresses(name: str, value: str) -> Any:
    """A header of addresses, read by the rules of RFC 5322. Raises ValueError for several lines."""
    return POLICY.header_store_parse(name, value)[1]


def list_id(rule: str, host: str) -> str:
    """What mailboxes sort a rule's mails by (RFC 2919)."""
    slug = _NO_SLUG.sub("-", rule.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    if slug != rule:
        slug = "-".join(part for part in (slug, digest(rule)[:8]) if part)
    return f"<{slug}.windsock.{host}>"
