"""The templates: those that come with Windsock, and a folder of the user's that goes before them.

A template is two files, `<name>.txt.j2` and `<name>.html.j2`; the text one has a block `subject`. A file of
the user's replaces the one of the same name, or builds on it: `{% extends "built-in/run_failed.html.j2" %}`.
The user's run in Jinja's sandbox: they are data that somebody laid into a folder.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from jinja2 import (
    BaseLoader,
    ChoiceLoader,
    Environment,
    FileSystemLoader,
    PrefixLoader,
    StrictUndefined,
    select_autoescape,
)
from jinja2.sandbox import ImmutableSandboxedEnvironment

from monitor.render import moments
from monitor.render.built_in import BuiltIn
from monitor.render.columns import fit
from monitor.render.letter import Written
from monitor.render.present import writing
from monitor.render.words import counted, nth, shortened, span

BUILT_IN = "built-in"
FOLDERS = 4  # a process has one, and tests a few
NO_BREAK = "\N{NO-BREAK SPACE}"
_INDENTS = re.compile(r"\n\s+")
_GAPS = re.compile(r"\n{3,}")


class Templates:
    """One set of templates. Raises what Jinja and the templates raise."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    @classmethod
    def built_in(cls, folder: Path) -> "Templates":
        return cls(_built_in(folder))

    @classmethod
    def of_user(cls, overrides: Path, folder: Path) -> "Templates":
        loader = ChoiceLoader([FileSystemLoader(overrides), FileSystemLoader(folder)])
        prefixed = _with_prefix(loader, FileSystemLoader(folder))
        return cls(_set_up(ImmutableSandboxedEnvironment(**_options(prefixed))))

    def write(self, name: str, values: Mapping[str, Any]) -> Written:
        """The three texts. In HTML alone a number stays with its unit: `2 min 5 s` is not torn apart."""
        with writing(values):
            return self._write(name, values)

    def _write(self, name: str, values: Mapping[str, Any]) -> Written:
        text = self._environment.get_template(f"{name}.txt.j2")
        html = self._environment.get_template(f"{name}.html.j2")
        subject = _plain(" ".join("".join(text.blocks["subject"](text.new_context(dict(values)))).split()))
        page = html.render({**values, "subject": subject})
        told = _GAPS.sub("\n\n", fit(_plain(text.render({**values, "subject": subject})))).lstrip("\n")
        # No line that is shown begins with the template's own indent.
        return Written(subject, told, _INDENTS.sub("\n", page).lstrip())


@lru_cache(maxsize=FOLDERS)
def _built_in(folder: Path) -> Environment:
    loader = FileSystemLoader(folder)
    return _set_up(BuiltIn(**_options(_with_prefix(loader, loader))))


def _plain(text: str) -> str:
    return text.replace(NO_BREAK, " ")


def spaced(text: str) -> str:
    """A line of code or of a log with its indent, also where a mail program knows no `white-space`."""
    code = text.lstrip(" ")
    indent = NO_BREAK * (len(text) - len(code))
    return indent + code.replace("  ", f"{NO_BREAK} ")


def _kept(duration: timedelta | None) -> str:
    return span(duration).replace(" ", NO_BREAK)


def _options(loader: BaseLoader) -> dict[str, Any]:
    return {
        "loader": loader,
        "autoescape": select_autoescape(disabled_extensions=("txt.j2",), default=True),
        "undefined": StrictUndefined,
        "finalize": lambda value: "" if value is None else value,  # texts were made safe before (clean.py)
        "trim_blocks": True,
        "lstrip_blocks": True,
        "keep_trailing_newline": True,
    }


def _with_prefix(loader: BaseLoader, built_in: BaseLoader) -> BaseLoader:
    return ChoiceLoader([loader, PrefixLoader({BUILT_IN: built_in})])


def _set_up(environment: Environment) -> Environment:
    environment.filters.update(FILTERS)
    return environment


FILTERS: dict[str, Any] = {
    **moments.FILTERS,
    "span": _kept,
    "spaced": spaced,
    "shortened": shortened,
    "counted": counted,
    "nth": nth,
}
