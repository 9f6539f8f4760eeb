"""The user's folder of templates: which it has at this moment, and a set of templates that goes by it."""

import re
from pathlib import Path

from monitor.render.templates import Templates

ENDS = (".txt.j2", ".html.j2")
SHARED = frozenset(f"{name}{end}" for name in ("base", "parts") for end in ENDS)
"""What every template is made with: one of the user's concerns them all."""
NAME = re.compile(r"[A-Za-z0-9_-]{1,60}")
"""A template's: it becomes a file's name."""


class Overrides:
    """Looks into the folder at each use: files may come, change and go while the monitor runs."""

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
        """The templates to write this one with, where the folder has a say in it."""
        files = self._look()
        return self._templates if files & (SHARED | {f"{name}{end}" for end in ENDS}) else None

    def _look(self) -> frozenset[str]:
        files = _files_in(self._folder)
        if self._folder is not None and (files != self._files or self._templates is None):
            # Jinja keeps what it has loaded: a file that is new would not be seen behind a built-in one.
            self._templates = Templates.of_user(self._folder, self._built_in)
            self._files = files
        return files


def _files_in(folder: Path | None) -> frozenset[str]:
    if folder is None:
        return frozenset()
    try:
        return frozenset(path.name for path in folder.iterdir() if path.name.endswith(ENDS))
    except OSError:  # not there, or not for the monitor to read
        return frozenset()
