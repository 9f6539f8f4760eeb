"""The output of `windsock up` in the terminal: lines, and a spinner for what is being done."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator

from rich.console import Console, RenderableType
from rich.markup import escape

from monitor.plain_text import sanitize_for_terminal


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Print to nothing from now on.
        Rich would end the process, and with it the processes that it started."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


class Screen:
    """The screen. A reader that has gone away stops nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or _Console(highlight=False, soft_wrap=True)
        self._doing: list[str] = []
        self._spinner = self._console.status("")

    def show(self, what: RenderableType = "") -> None:
        """Print something that rich can draw, or text with rich's markup."""
        with contextlib.suppress(OSError):  # without a terminal too, what is being stopped is stopped
            self._console.print(what)

    def say(self, text: str) -> None:
        """Print a line, as it is."""
        self.show(f"[bold]windsock[/bold]  {escape(sanitize_for_terminal(text))}")

    def refuse(self, text: str) -> None:
        """Print what went wrong."""
        self.show(f"[bold red]windsock[/bold red]  {escape(sanitize_for_terminal(text))}")

    @contextlib.contextmanager
    def step(self, doing: str) -> Iterator[None]:
        """Say what is being done while it is, and how long it took."""
        began = time.monotonic()
        self._doing.append(doing)
        self._spin()
        try:
            yield
            self.say(f"{doing} … {time.monotonic() - began:.1f} s")
        finally:
            self._doing.remove(doing)
            self._spin()

    def _spin(self) -> None:
        """Turn one spinner for all that is being done, in a terminal only."""
        with contextlib.suppress(OSError):
            if self._doing and self._console.is_terminal:
                self._spinner.update(escape(sanitize_for_terminal(", ".join(self._doing))))
                self._spinner.start()
            else:
                self._spinner.stop()
