"""The section "Bounds" of docs/threat-model.md: a table for each kind of sender.

The rest of the page is written by hand and kept.
"""

from collections.abc import Iterator
from pathlib import Path

from scripts.docs_reference.bounded_surfaces import GROUPS, Surface
from scripts.docs_reference.markdown import code, joined, table

PAGE = Path(__file__).parents[2] / "docs" / "threat-model.md"
BEGIN = (
    "<!-- Written by `make docs-reference` from scripts/docs_reference/bounded_surfaces.py; edit that. -->"
)
END = "<!-- The end of what is written by `make docs-reference`. -->"
COLUMNS = ("surface", "bound", "what is beyond it", "test, in `tests/`")


def page() -> str:
    """The page, with the tables as the code has them now."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{joined(_tables())}\n{END}{after}"


def surfaces() -> Iterator[Surface]:
    for group in GROUPS.values():
        yield from group


def _tables() -> Iterator[str]:
    for title, group in GROUPS.items():
        rows = [(bound.name, bound.bound, bound.beyond, code(bound.test)) for bound in group]
        yield f"### {title}\n\n{table(COLUMNS, rows)}"
