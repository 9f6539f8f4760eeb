"""Headers that machines read. Python's email package folds a long word by encoding it (RFC 2047), which makes
of a Message-ID in References, or of an address in List-Unsubscribe, something that no program finds again:
such headers are folded here, between their words and nowhere else.
"""

import re
from email import policy
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.policy import Policy

from monitor.events.identity import digest

MAX_LINE = 998  # octets: RFC 5322 section 2.1.1
SLUG_LENGTH = 40
_NO_SLUG = re.compile(r"[^a-z0-9]+")


class WordsHeader(UnstructuredHeader):
    """Words of ASCII that stay whole."""

    def fold(self, *, policy: Policy) -> str:
        lines = [f"{self.name}:"]  # type: ignore[attr-defined]
        for word in str(self).split():
            joined = f"{lines[-1]} {word}"
            if len(joined) <= (policy.max_line_length or MAX_LINE) or lines == [f"{self.name}:"]:  # type: ignore[attr-defined]
                lines[-1] = joined
            else:
                lines.append(f" {word}")
        return policy.linesep.join(lines) + policy.linesep


_HEADERS = HeaderRegistry()
for _name in ("References", "In-Reply-To", "List-Unsubscribe", "List-Id"):
    _HEADERS.map_to_type(_name, WordsHeader)  # type: ignore[arg-type]  # it is mixed with BaseHeader there

POLICY = policy.default.clone(header_factory=_HEADERS)


def list_id(rule: str, host: str) -> str:
    """What mailboxes sort a rule's mails by (RFC 2919)."""
    slug = _NO_SLUG.sub("-", rule.lower()).strip("-")[:SLUG_LENGTH].strip("-")
    if slug != rule:
        slug = "-".join(part for part in (slug, digest(rule)[:8]) if part)
    return f"<{slug}.windsock.{host}>"
