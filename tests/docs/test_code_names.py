"""The names in the code: one meaning a word, one class a name, packages without re-exports, and no text that
names a module or a definition which is not there.
"""

import ast
import io
import re
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("monitor", "plugins/airflow_windsock", "client/windsock_client", "scripts")
FORBIDDEN = {
    *("told", "tell", "tells", "word", "said", "known", "here"),
    *("sight", "eyes", "errand", "desk", "clerk", "office", "parcel"),
}
"""Words that once had several meanings each."""
FORBIDDEN_VALUES = FORBIDDEN - {"word"} | {  # in `plain_text` and the like a word is a word
    *("one", "each", "beside", "asked", "begun", "given", "visible", "wanted", "mine", "theirs"),
    *("courier", "gate", "letter", "news", "story", "tally", "tape", "teller", "telling", "wish"),
}
"""No parameter, local or attribute is called so: a noun says what the value is."""
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FILES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "versions" not in path.parts  # migrations are as they were released
]


@cache
def nodes(path: Path) -> list[ast.AST]:
    """Return the nodes of a file that the tests look at: definitions, and strings that are statements."""
    return [
        node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, (Definition, ast.Expr))
    ]


def definitions(path: Path) -> Iterator[Definition]:
    yield from (node for node in nodes(path) if isinstance(node, Definition))


def words(name: str) -> set[str]:
    return set(re.sub(r"([A-Z])", r"_\1", name).lower().split("_"))


def test_no_class_of_the_monitor_has_the_name_of_another() -> None:
    modules: dict[str, list[str]] = defaultdict(list)
    for path in FILES:
        if path.is_relative_to(ROOT / "monitor"):
            for node in definitions(path):
                if isinstance(node, ast.ClassDef):
                    modules[node.name].append(str(path.relative_to(ROOT)))
    assert {name: places for name, places in modules.items() if len(places) > 1} == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_definition_has_a_word_of_many_meanings(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in FILES
        if path.is_relative_to(ROOT / folder)
        for node in definitions(path)
        if words(node.name) & FORBIDDEN
    ]
    assert found == []


def values(path: Path) -> Iterator[tuple[int, str]]:
    """The lines and names of parameters, locals, loop variables and attributes."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_value_has_a_word_of_many_meanings(folder: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line} {name}"
        for path in FILES
        if path.is_relative_to(ROOT / folder)
        for line, name in values(path)
        if name.strip("_") in FORBIDDEN_VALUES
    ]
    assert found == []


def test_a_package_holds_a_docstring_and_nothing_else() -> None:
    for path in FILES:
        if path.name == "__init__.py" and path.is_relative_to(ROOT / "monitor"):
            body = ast.parse(path.read_text()).body
            is_version = [ast.unparse(node).startswith("__version__") for node in body[1:]]
            assert all(is_version), path
            assert isinstance(body[0], ast.Expr), f"{path} has no docstring"


MODULES = {
    path.name for top in ("monitor", "plugins", "client", "scripts") for path in (ROOT / top).rglob("*.py")
}
CONSTANT = re.compile(r"\b([a-z_]+)\.([A-Z][A-Z_]+)\b")


@cache
def texts(path: Path) -> list[str]:
    """Return the comments of a file, and every string that is a statement of its own."""
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    strings = [
        str(node.value.value)
        for node in nodes(path)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    ]
    return [*(token.string for token in tokens if token.type == tokenize.COMMENT), *strings]


def has_path(named: str, near: Path) -> bool:
    """Return True if a text in a file means a module that exists, by its name or by a path."""
    if "/" not in named:
        return named in MODULES
    return any((folder / named).exists() for folder in (ROOT, ROOT / "monitor", *near.parents))


def test_no_comment_or_docstring_names_a_module_that_is_not_there() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {named}"
        for path in FILES
        for text in texts(path)
        for named in re.findall(r"(?<![\w/])[\w/]+\.py\b", text)
        if not has_path(named, path)
    ]
    assert found == []


def test_no_comment_or_docstring_names_a_constant_of_a_module_that_is_not_there() -> None:
    constants = {
        (path.stem, name) for path in FILES for name in re.findall(r"\b[A-Z][A-Z_]+\b", path.read_text())
    }
    found = [
        f"{path.relative_to(ROOT)}: {module}.{name}"
        for path in FILES
        for text in texts(path)
        for module, name in CONSTANT.findall(text)
        if (module, name) not in constants
    ]
    assert found == []


def test_the_map_of_contributing_names_what_is_there() -> None:
    """Each row names modules, and after a colon the definitions in them."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\|[^|]*\| (.*) \|$", page.partition("### Where to look for it")[2], re.MULTILINE)
    assert len(rows) > 20
    for row in rows:
        for place in row.split("; "):
            module, *names = re.findall(r"`([^`]+)`", place) or [""]
            if module:
                assert (ROOT / module).exists(), module
                defined = {node.name for node in definitions(ROOT / module)} if names else set()
                assert set(names) <= defined, f"{module}: {sorted(set(names) - defined)}"
