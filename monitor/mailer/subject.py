"""Subjects of any length and any signs. Python's own folding makes encoded words that are longer than RFC
2047 allows (75), and servers that hold to it refuse or garble them.
"""

import copy
from email.header import Header
from email.message import EmailMessage
from email.policy import Policy
from typing import Any

SHORT = 40  # bytes of a subject that Python's own folding does well: one encoded word
MAX_WORD = 70  # characters of a word of ASCII that is left as it is; a longer one could not be folded
MAX_LINE = 76  # RFC 2047 section 2: of a line that holds an encoded word


class _Subject(str):
    """The value of a header that folds itself (email.policy calls `fold` of what has a name)."""

    name = "Subject"

    def fold(self, *, policy: Policy) -> str:
        is_plain = self.isascii() and all(len(word) <= MAX_WORD for word in self.split())
        folded = Header(str(self), "us-ascii" if is_plain else "utf-8", MAX_LINE, header_name=self.name)
        return f"{self.name}: {folded.encode(linesep=policy.linesep)}{policy.linesep}"


def with_folded_subject(message: EmailMessage) -> EmailMessage:
    """The same mail, whose subject is folded in that way."""
    subject: Any = message["Subject"]
    if subject is None or len(subject.encode()) <= SHORT:
        return message
    other = copy.copy(message)
    del other["Subject"]
    other["Subject"] = _Subject(subject)
    return other
