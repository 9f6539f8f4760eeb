"""The names in the code: one meaning a word, one class a name, and packages without re-exports."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("monitor", "plugins/airflow_windsock", "client/windsock_client")
FORBIDDEN = {
    *("told", "tell", "tells", "word", "said", "known", "here"),
    *("sight", "eyes", "errand", "desk", "clerk", "office", "parcel"),
}
"""Words that once had several meanings each."""
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
FILES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "versions" not in path.parts  # migrations are as they were released
]


def definitions(path: Path) -> Iterator[Definition]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, Definition):
            yield node


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


def test_a_package_holds_a_docstring_and_nothing_else() -> None:
    for path in FILES:
        if path.name == "__init__.py" and path.is_relative_to(ROOT / "monitor"):
            body = ast.parse(path.read_text()).body
            is_version = [ast.unparse(node).startswith("__version__") for node in body[1:]]
            assert all(is_version), path
            assert isinstance(body[0], ast.Expr), f"{path} has no docstring"
