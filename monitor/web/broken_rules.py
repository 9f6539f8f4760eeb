"""A rules file that cannot be used: each mistake beside the line that it is on, secrets hidden."""

import re
from dataclasses import dataclass
from pathlib import Path

from monitor.rules import Mistake, RulesError
from monitor.rules.loading import MAX_BYTES

SHOWN = 20  # mistakes
SHOWN_LINE = 160  # characters
HIDDEN = "…"

# A line that does not parse may hold a secret anywhere, so what looks like one goes: webhook keys, what a URL
# has behind its scheme, and the value of a field that is named for a secret.
_SECRETS = (
    re.compile(r"(whsec_)\S+"),
    re.compile(r"(://)[^\s\"',\]}]+"),
    re.compile(r"((?:secret|password|token|key)[\"']?\s*[:=]\s*)(?!\$\{\w+\}\s*$)\S.*", re.IGNORECASE),
)
_OF_SECRETS = re.compile(r"\b(apprise|webhook|secret|url)\b")
"""Places in the file whose lines are values that may be secret whatever they look like."""
_VALUE = re.compile(r"^(\s*(?:-\s+)?(?:[\w\"'-]+\s*:\s*)?)\S.*")
_IN_LIST = re.compile(r"^(\s*(?:-\s*)?apprise[\"']?\s*:\s*)\S.*", re.IGNORECASE)


@dataclass(frozen=True)
class Shown:
    """One mistake."""

    line: int | None
    text: str | None
    """Of the line, as the file is now; None where there is none."""
    where: str
    message: str


def shown(path: Path | None, problem: RulesError) -> list[Shown]:
    """Reads the file anew: blocking."""
    lines = _lines(path)
    return [Shown(one.line, _text(lines, one), one.where, one.message) for one in problem.mistakes[:SHOWN]]


def _lines(path: Path | None) -> list[str]:
    if path is None or not path.is_file():
        return []
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES).decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def _text(lines: list[str], mistake: Mistake) -> str | None:
    number = mistake.line
    if number is None or not 0 < number <= len(lines):
        return None
    text = lines[number - 1]
    if _OF_SECRETS.search(mistake.where):
        return _VALUE.sub(rf"\g<1>{HIDDEN}", text)[:SHOWN_LINE]
    return hidden(text)[:SHOWN_LINE]


def hidden(text: str) -> str:
    """A line without what may be a secret in it."""
    for secret in (*_SECRETS, _IN_LIST):
        text = secret.sub(rf"\g<1>{HIDDEN}", text)
    return text
