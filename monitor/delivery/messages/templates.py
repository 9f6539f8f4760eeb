"""The templates of messages: the built-in ones, their overrides, and the ones that failed.

`Templates` is one set of templates. A template is two files, `<name>.txt.j2` and `<name>.html.j2`, and the
text file has a block `subject`.

`Overrides` is a user's folder that goes before the built-in templates. A file in it replaces the built-in
file of the same name, or extends it: `{% extends "built-in/run_failed.html.j2" %}`. A user's templates run
in a sandbox with a bound (monitor/delivery/messages/sandbox.py), because they are data that a user put into
a folder.

`FailedTemplates` remembers the templates whose latest notification fell back to a built-in template."""

import errno
import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
    TemplateNotFound,
    TemplateRuntimeError,
    select_autoescape,
)
from jinja2.loaders import split_template_path

from monitor.clock import Clock
from monitor.delivery.messages import filters
from monitor.delivery.messages.filters import fit, nth, pluralize, shorten, span
from monitor.delivery.messages.mime import MessageText
from monitor.delivery.messages.sandbox import MeteredEnvironment, metered
from monitor.errors import SettingsError
from monitor.observability.metrics import Metrics

BUILT_IN = "built-in"
ENDS = (".txt.j2", ".html.j2")
MAX_FILE = 256 * 1024  # bytes of a user's template. The longest built-in template has 10 KiB
MAX_TEXT = 2 * 1024 * 1024  # characters that one template writes. Gmail shows 102 kB of a mail
MAX_PLAIN = 120_000  # characters of the subject, and of the text, which is folded sign by sign
FOLDERS = 4  # a process has one, and tests a few
NO_BREAK = "\N{NO-BREAK SPACE}"
_INDENTS = re.compile(r"\n\s+")
_GAPS = re.compile(r"\n{3,}")


class TooLongTemplate(TemplateRuntimeError):
    """A template of the user's is longer than it may be, or writes more than it may."""


class UnreadableTemplate(TemplateRuntimeError):
    """A file of the user's folder is not to be read, or cannot be."""


class Templates:
    """A set of templates. It raises what Jinja and the templates raise."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self.steps = 0
        """The steps of the last message. Those of built-in templates are not counted."""

    @classmethod
    def built_in(cls, folder: Path) -> "Templates":
        """Return the built-in templates."""
        return cls(_built_in(folder))

    @classmethod
    def from_overrides(cls, overrides: Path, folder: Path) -> "Templates":
        """Return the templates of a user's folder, with the built-in ones behind them."""
        loader = ChoiceLoader([_BoundedLoader(overrides), FileSystemLoader(folder)])
        prefixed = _add_prefix_loader(loader, FileSystemLoader(folder))
        return cls(MeteredEnvironment(FILTERS, **_options(prefixed)))

    def write(self, name: str, values: Mapping[str, Any]) -> MessageText:
        """Return the three texts.
        In HTML alone a number stays with its unit: `2 min 5 s` is not torn apart."""
        with metered() as meter:
            try:
                return self._write(name, values)
            finally:
                self.steps = meter.spent

    def _write(self, name: str, values: Mapping[str, Any]) -> MessageText:
        text = self._environment.get_template(f"{name}.txt.j2")
        html = self._environment.get_template(f"{name}.html.j2")
        subject = _plain(" ".join(self._subject(text, values).split()))
        page = _join_bounded(html.generate({**values, "subject": subject}))
        plain = _join_bounded(text.generate({**values, "subject": subject}), MAX_PLAIN)
        plain_text = _GAPS.sub("\n\n", fit(_plain(plain))).lstrip("\n")
        # No line that is shown begins with the template's own indent.
        return MessageText(subject, plain_text, _INDENTS.sub("\n", page).lstrip())

    def _subject(self, text: Template, values: Mapping[str, Any]) -> str:
        try:
            return _join_bounded(text.blocks["subject"](text.new_context(dict(values))), MAX_PLAIN)
        except Exception:  # noqa: BLE001 (it is raised again, with the template's lines, as generate does)
            self._environment.handle_exception()


class _BoundedLoader(BaseLoader):
    """The loader of the user's folder, bounded to it.

    Who writes in the folder reads no other file of the monitor's user: neither by a symbolic link that leads
    out of the folder, nor by the name of a file that is no template.

    Links inside the folder work: Kubernetes mounts a ConfigMap as links to `..data`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def get_source(self, environment: Environment, template: str) -> tuple[str, str, Callable[[], bool]]:
        if not template.endswith(ENDS):
            raise TemplateNotFound(template)
        file = self._folder.joinpath(*split_template_path(template))
        try:
            path = file.resolve(strict=True)
            if not path.is_relative_to(self._folder.resolve()) or not path.name.endswith(ENDS):
                raise UnreadableTemplate(
                    f"{template} is a link to another file than a template of the folder; copy it"
                )
            source, changed_at = _read_regular(path)
        except (FileNotFoundError, NotADirectoryError):
            raise TemplateNotFound(template) from None
        except (OSError, RuntimeError) as error:  # RuntimeError: Python before 3.13, of a loop of links
            reason = getattr(error, "strerror", None) or str(error)
            raise UnreadableTemplate(f"{template} cannot be read: {reason}") from None
        if len(source) > MAX_FILE:
            raise TooLongTemplate(f"{template} is longer than {MAX_FILE // 1024} KiB")
        return source.decode(), str(file), lambda: _changed_at(file) == changed_at

    def list_templates(self) -> list[str]:
        return sorted(_files_in(self._folder))


def _read_regular(path: Path) -> tuple[bytes, int]:
    """Return a file's beginning and when it changed. A pipe would never answer. Raises OSError."""
    # The checked file is the file that is read, because the path may lead to another file by then.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise OSError(errno.EINVAL, "it is no file")
        return file.read(MAX_FILE + 1), about.st_mtime_ns


def _changed_at(file: Path) -> int | None:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return None


def _join_bounded(parts: Iterable[str], most: int = MAX_TEXT) -> str:
    """Return one text. Raise TooLongTemplate, so that an endless loop in a template fills no memory."""
    pieces, size = [], 0
    for part in parts:
        pieces.append(part)
        size += len(part)
        if size > most:
            raise TooLongTemplate(f"it writes more than {most:,} characters")
    return "".join(pieces)


@lru_cache(maxsize=FOLDERS)
def _built_in(folder: Path) -> Environment:
    loader = FileSystemLoader(folder)
    # The built-in templates are a part of the program: no file changes while the program runs.
    options = _options(_add_prefix_loader(loader, loader))
    environment = Environment(**options, auto_reload=False, finalize=_or_nothing)  # noqa: S701 (see _options)
    environment.filters.update(FILTERS)
    return environment


def _or_nothing(value: object) -> object:
    return "" if value is None else value  # texts were made safe before (filters.py)


def _plain(text: str) -> str:
    return text.replace(NO_BREAK, " ")


def preserve_spaces(text: str) -> str:
    """Keep the indent of a line of code, also for mail programs that ignore `white-space`."""
    code = text.lstrip(" ")
    indent = NO_BREAK * (len(text) - len(code))
    return indent + code.replace("  ", f"{NO_BREAK} ")


def _format_span(duration: timedelta | None) -> str:
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


def _add_prefix_loader(loader: BaseLoader, built_in: BaseLoader) -> BaseLoader:
    return ChoiceLoader([loader, PrefixLoader({BUILT_IN: built_in})])


FILTERS: dict[str, Any] = {
    **filters.FILTERS,
    "span": _format_span,
    "spaced": preserve_spaces,
    "shortened": shorten,
    "counted": pluralize,
    "nth": nth,
}

SHARED = frozenset(f"{name}{end}" for name in ("base", "parts") for end in ENDS)
"""The files that every template is made with. A user's file of these concerns all templates."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""A template's: it becomes a file's name."""


class Overrides:
    """The user's templates.
    The folder is read at each use, because files come, change and go while the monitor runs."""

    def __init__(self, folder: Path | None, built_in: Path) -> None:
        self._folder = folder
        self._built_in = built_in
        self._files: frozenset[str] = frozenset()
        self._templates: Templates | None = None

    @property
    def names(self) -> set[str]:
        """The templates of which the folder has a file."""
        return {name for file in self._look() - SHARED if NAME.fullmatch(name := file.split(".")[0])}

    def concerning(self, name: str) -> Templates | None:
        """Return the templates to write this one with, if the folder overrides any part of it."""
        files = self._look()
        return self._templates if files & (SHARED | {f"{name}{end}" for end in ENDS}) else None

    def _look(self) -> frozenset[str]:
        files = _files_in(self._folder)
        if self._folder is not None and (files != self._files or self._templates is None):
            # Jinja keeps what it has loaded: a file that is new would not be seen behind a built-in one.
            self._templates = Templates.from_overrides(self._folder, self._built_in)
            self._files = files
        return files


def _files_in(folder: Path | None) -> frozenset[str]:
    if folder is None:
        return frozenset()
    try:
        return frozenset(path.name for path in folder.iterdir() if path.name.endswith(ENDS))
    except OSError:  # not there, or not for the monitor to read
        return frozenset()


_PACKAGE = Path(__file__).resolve().parents[2]
_PLACES = (_PACKAGE / "_templates", _PACKAGE.parent / "templates")


def templates_folder() -> Path:
    """Return the folder that holds `email/` and `web/`. Raise SettingsError if it is missing."""
    for place in _PLACES:
        if (place / "email").is_dir():
            return place
    raise SettingsError(f"templates: none at {' or '.join(map(str, _PLACES))}; install Windsock anew")


MOST = 100  # names that are kept: rules name few, and a renamed template is never used again


@dataclass(frozen=True)
class FailedTemplate:
    """The last failure of a template."""

    at: datetime
    problem: str


class FailedTemplates:
    """The templates of this process whose latest notification was written with a built-in one, by name."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self._metrics = metrics
        self._clock = clock
        self._failed: dict[str, FailedTemplate] = {}

    def note(self, template: str, problem: str | None) -> None:
        """Keep the problem of a template, or forget it if None: a notification was written with it."""
        self._failed.pop(template, None)
        if problem is None:
            return
        self._metrics.template_failures.inc()
        self._failed[template] = FailedTemplate(self._clock(), problem)
        if len(self._failed) > MOST:
            del self._failed[next(iter(self._failed))]

    def current(self) -> Mapping[str, FailedTemplate]:
        """Return the templates that failed last, by name."""
        return dict(self._failed)
