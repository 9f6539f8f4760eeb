"""The templates: those that come with Windsock, and a folder of the user's that goes before them.

A template is two files, `<name>.txt.j2` and `<name>.html.j2`; the text one has a block `subject`. A file of
the user's replaces the one of the same name, or builds on it: `{% extends "built-in/run_failed.html.j2" %}`.
The user's run in a sandbox with an end (sandbox.py): they are data that somebody laid into a folder.
"""

import re
from collections.abc import Callable, Iterable, Mapping
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
    Template,
    TemplateRuntimeError,
    select_autoescape,
)
from jinja2.loaders import split_template_path

from monitor.render import moments
from monitor.render.built_in import BuiltIn
from monitor.render.columns import fit
from monitor.render.letter import Written
from monitor.render.present import writing
from monitor.render.sandbox import MeteredEnvironment, metered
from monitor.render.words import counted, nth, shortened, span

BUILT_IN = "built-in"
MAX_FILE = 256 * 1024  # bytes of a template of the user's; the longest built-in one has 10 KiB
MAX_TEXT = 2 * 1024 * 1024  # characters that one of them writes; Gmail shows 102 kB of a mail
MAX_PLAIN = 120_000  # characters of the subject, and of the text, which is folded sign by sign
FOLDERS = 4  # a process has one, and tests a few
NO_BREAK = "\N{NO-BREAK SPACE}"
_INDENTS = re.compile(r"\n\s+")
_GAPS = re.compile(r"\n{3,}")


class TooLongTemplate(TemplateRuntimeError):
    """A template of the user's is longer than it may be, or writes more than it may."""


class Templates:
    """One set of templates. Raises what Jinja and the templates raise."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.steps = 0
        """Which the last writing took; of the built-in templates nobody counts them."""

    @classmethod
    def built_in(cls, folder: Path) -> "Templates":
        return cls(_built_in(folder))

    @classmethod
    def of_user(cls, overrides: Path, folder: Path) -> "Templates":
        loader = ChoiceLoader([_BoundedLoader(overrides), FileSystemLoader(folder)])
        prefixed = _with_prefix(loader, FileSystemLoader(folder))
        return cls(MeteredEnvironment(FILTERS, **_options(prefixed)))

    def write(self, name: str, values: Mapping[str, Any]) -> Written:
        """The three texts. In HTML alone a number stays with its unit: `2 min 5 s` is not torn apart."""
        with writing(values), metered() as meter:
            try:
                return self._write(name, values)
            finally:
                self.steps = meter.spent

    def _write(self, name: str, values: Mapping[str, Any]) -> Written:
        text = self._environment.get_template(f"{name}.txt.j2")
        html = self._environment.get_template(f"{name}.html.j2")
        subject = _plain(" ".join(self._subject(text, values).split()))
        page = _joined(html.generate({**values, "subject": subject}))
        plain = _joined(text.generate({**values, "subject": subject}), MAX_PLAIN)
        told = _GAPS.sub("\n\n", fit(_plain(plain))).lstrip("\n")
        # No line that is shown begins with the template's own indent.
        return Written(subject, told, _INDENTS.sub("\n", page).lstrip())

    def _subject(self, text: Template, values: Mapping[str, Any]) -> str:
        try:
            return _joined(text.blocks["subject"](text.new_context(dict(values))), MAX_PLAIN)
        except Exception:  # noqa: BLE001 (it is raised again, with the template's lines, as generate does)
            self._environment.handle_exception()


class _BoundedLoader(FileSystemLoader):
    """The user's folder."""

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        file = Path(self.searchpath[0]).joinpath(*split_template_path(template))
        if file.is_file() and file.stat().st_size > MAX_FILE:
            raise TooLongTemplate(f"{template} is longer than {MAX_FILE // 1024} KiB")
        return super().get_source(environment, template)


def _joined(parts: Iterable[str], most: int = MAX_TEXT) -> str:
    """One text. Raises TooLongTemplate: a loop that a template's author did not mean fills no memory."""
    written, size = [], 0
    for part in parts:
        written.append(part)
        size += len(part)
        if size > most:
            raise TooLongTemplate(f"it writes more than {most:,} characters")
    return "".join(written)


@lru_cache(maxsize=FOLDERS)
def _built_in(folder: Path) -> Environment:
    loader = FileSystemLoader(folder)
    environment = BuiltIn(**_options(_with_prefix(loader, loader)), finalize=_or_nothing)
    environment.filters.update(FILTERS)
    return environment


def _or_nothing(value: object) -> object:
    return "" if value is None else value  # texts were made safe before (clean.py)


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
        "trim_blocks": True,
        "lstrip_blocks": True,
        "keep_trailing_newline": True,
    }


def _with_prefix(loader: BaseLoader, built_in: BaseLoader) -> BaseLoader:
    return ChoiceLoader([loader, PrefixLoader({BUILT_IN: built_in})])


FILTERS: dict[str, Any] = {
    **moments.FILTERS,
    "span": _kept,
    "spaced": spaced,
    "shortened": shortened,
    "counted": counted,
    "nth": nth,
}
