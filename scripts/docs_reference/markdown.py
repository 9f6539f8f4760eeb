"""The Markdown of the generated pages."""

from collections.abc import Iterable, Sequence

FROM = "<!-- Written by `make docs-reference` from {source}; edit that. -->\n"


def heading(title: str, source: str) -> str:
    """The first lines of a generated page."""
    return f"{FROM.format(source=source)}# {title}\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or "" where there are no rows."""
    lines = [f"| {' | '.join(cell(text) for text in row)} |" for row in rows]
    rule = "|---" * len(columns) + "|"
    return "\n".join([f"| {' | '.join(columns)} |", rule, *lines]) + "\n" if lines else ""


def cell(text: str) -> str:
    """Text on one line, with no bar that would end the cell."""
    return linked(" ".join(text.split()).replace("|", "\\|"))


def code(text: str) -> str:
    return f"`{text}`"


def joined(parts: Iterable[str]) -> str:
    """Blocks with an empty line between; those that are empty are left out."""
    return "\n".join(part if part.endswith("\n") else f"{part}\n" for part in parts if part)


def linked(text: str) -> str:
    """What code calls docs/x.md is a link on a page of docs/ itself."""
    words = text.split(" ")
    return " ".join(_linked(word) for word in words)


def _linked(word: str) -> str:
    before, found, rest = word.partition("docs/")
    name, ending, after = rest.partition(".md")
    return f"{before}[{name}]({name}.md){after}" if found and ending and name.isascii() else word
