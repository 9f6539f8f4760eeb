"""What the pages name in code, in blocks and in spans: commands, metrics, settings, paths of the monitor."""

import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from tests.docs.page import DOCS

BLOCK = re.compile(r"^ *```[^\n]*\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
COMMAND = re.compile(
    r"(?:^|&& |\| |; |\$\(|-- |/bin/|exec monitor )windsock (?=[a-z])([^|;&>)\n]+)", re.MULTILINE
)
COMMENT = re.compile(r"\s#.*")
REQUEST = re.compile(r"\b(GET|POST|PUT|DELETE) (/[^\s|]*)")
ADDRESS = re.compile(r"(?:\$WINDSOCK|localhost:8090|windsock\.example\.com)(/[^\s\"'`|]*)")
PATH_ALONE = re.compile(r"^(/[a-z]\S*)$")
OLD_NAMES = "\n## Names that have changed\n"
"""The end of a page that lists what is no name any more (upgrade.md)."""
PLACEHOLDER = re.compile(r"\{[^}]*\}|…|<[^>]*>|\$\w+")


class Named(NamedTuple):
    """Something that is named, and by which page."""

    page: str
    text: str


class Request(NamedTuple):
    page: str
    method: str
    path: str
    """Without its query; what a reader fills in is an x."""


def codes() -> Iterator[Named]:
    """Each block and each span of code of each page."""
    for file in sorted(DOCS.rglob("*.md")):
        page, text = str(file.relative_to(DOCS)), file.read_text().partition(OLD_NAMES)[0]
        yield from (Named(page, block) for block in BLOCK.findall(text))
        yield from (Named(page, span.replace("\\|", "|")) for span in SPAN.findall(BLOCK.sub("", text)))


def named(pattern: str) -> Iterator[Named]:
    """Whatever matches in code, one by one."""
    for code in codes():
        yield from (Named(code.page, found[0]) for found in re.finditer(pattern, code.text))


def commands() -> Iterator[tuple[str, list[str]]]:
    """The page and the words of each `windsock …`. Brackets round what may be left out are gone."""
    for code in codes():
        for said in COMMAND.findall(code.text):
            words = shlex.split(COMMENT.sub("", said))
            yield code.page, [word.strip("[]") for word in words if word != "[OPTIONS]"]


def requests() -> Iterator[Request]:
    for code in codes():
        alone = PATH_ALONE.findall(code.text.strip())
        read = [("GET", path) for path in (*ADDRESS.findall(code.text), *alone)]
        for method, path in [*REQUEST.findall(code.text), *read]:
            yield Request(code.page, method, PLACEHOLDER.sub("x", path.partition("?")[0]))
