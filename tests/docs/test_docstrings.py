"""The prose of docstrings: sentences that open with a verb or a noun, short first lines, few semicolons."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("monitor", "plugins", "client")
FORBIDDEN_OPENERS = (
    *("What", "Whether", "Who", "Whom", "Whose", "Whoever", "Whatever", "Why"),
    *("How", "Where", "When", "Which", "Since when", "Until when", "From when", "Up to"),
    *("Of", "As", "Those", "These", "It", "One", "Such", "Nobody", "Somebody"),
)
"""A docstring that opens so is a fragment: its reader has to guess the verb or the noun."""
OPENER = re.compile(rf"({'|'.join(FORBIDDEN_OPENERS)})\b")
MAX_FIRST_LINE = 100  # characters
MAX_SEMICOLONS = 3  # in 1,000 words
Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def nodes(folder: str) -> Iterator[tuple[str, ast.AST]]:
    for path in sorted((ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if "versions" not in path.parts:  # migrations are as they were released
            yield from ((name, node) for node in ast.walk(ast.parse(path.read_text())))


def docstrings(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the place and the text of every docstring of a folder."""
    for name, node in nodes(folder):
        if isinstance(node, Documented) and (text := ast.get_docstring(node)):
            yield f"{name}:{node.body[0].lineno}", text


def statements(folder: str) -> Iterator[tuple[str, str]]:
    """Yield the strings that stand behind fields and constants, and the docstrings."""
    for name, node in nodes(folder):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield f"{name}:{node.lineno}", str(node.value.value)


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_docstring_opens_with_a_relative_clause_or_a_fragment(folder: str) -> None:
    assert [place for place, text in statements(folder) if OPENER.match(text)] == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_first_line_of_a_docstring_is_short(folder: str) -> None:
    found = [place for place, text in docstrings(folder) if len(text.splitlines()[0]) > MAX_FIRST_LINE]
    assert found == []


@pytest.mark.parametrize("folder", FOLDERS)
def test_docstrings_have_few_semicolons(folder: str) -> None:
    texts = [text for _, text in docstrings(folder)]
    words = sum(len(text.split()) for text in texts)
    assert sum(text.count(";") for text in texts) <= words * MAX_SEMICOLONS / 1000
