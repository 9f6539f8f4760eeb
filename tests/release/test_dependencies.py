"""What each package imports is what its pyproject.toml declares: a dependency of a dependency may go away."""

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import import_module
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest

from scripts.release.project import ROOT

tomllib = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
WITHOUT_IMPORT = {
    "python-multipart",  # Starlette's forms
    "tzdata",  # zoneinfo's
    "uvloop",  # uvicorn's
}
"""Declared because a library looks for them by itself."""
OWN = {"windsock_client": "windsock-client"}
"""Packages of this repository that are installed as editable: their files name no package."""
HOST = {"airflow"}
"""What the plugin may import besides the standard library: it runs in an Airflow that is there already."""


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """All that may run: what is only for type checkers is left out."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.stmt) and _is_type_checking(child)):
            yield child
            yield from _walk(child)


def _list_imports(folder: Path) -> set[str]:
    """The modules that the package imports from outside of itself and of the standard library."""
    found: set[str] = set()
    for file in folder.rglob("*.py"):
        for node in _walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {name.name for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found |= {node.module}
    own = {path.stem for path in folder.iterdir()} | {folder.name}
    return {name for name in found if name.partition(".")[0] not in own | sys.stdlib_module_names}


_providers = cache(packages_distributions)


@cache
def _files(name: str) -> frozenset[str]:
    return frozenset(map(str, distribution(name).files or ()))


def _distributions(module: str) -> set[str]:
    """The distributions that an imported module is of. A namespace (opentelemetry) is of several."""
    if (package := module.partition(".")[0]) in OWN:
        return {OWN[package]}
    providers = set(_providers()[package])
    if len(providers) == 1:
        return providers
    path = module.replace(".", "/")
    return {one for one in providers if not _files(one).isdisjoint((f"{path}.py", f"{path}/__init__.py"))}


def _normalize(names: Iterable[str]) -> set[str]:
    return {re.sub(r"[-_.]+", "-", re.split(r"[^A-Za-z0-9._-]", name)[0]).lower() for name in names}


def _declared(pyproject: Path) -> set[str]:
    project = tomllib.loads(pyproject.read_text())["project"]
    extras = project.get("optional-dependencies", {}).values()
    return _normalize([*project["dependencies"], *(one for extra in extras for one in extra)])


def test_the_monitor_declares_what_it_imports_and_nothing_else() -> None:
    imported = {one for module in _list_imports(ROOT / "monitor") for one in _distributions(module)}
    declared = _declared(ROOT / "pyproject.toml")
    assert _normalize(imported) - declared == set(), "import of what pyproject.toml does not declare"
    assert declared - _normalize(imported) == WITHOUT_IMPORT


@pytest.mark.parametrize(("folder", "allowed"), [("plugins", HOST), ("client", set())])
def test_plugin_and_client_import_the_standard_library_alone(folder: str, allowed: set[str]) -> None:
    assert {name.partition(".")[0] for name in _list_imports(ROOT / folder)} == allowed
    assert _declared(ROOT / folder / "pyproject.toml") == set()
