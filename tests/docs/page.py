"""A page's commands: its ```sh blocks, run one after the other in one shell, as a reader pastes them."""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from tests import wait

DOCS = Path(__file__).parents[2] / "docs"
BLOCK_SECONDS = 300.0  # an installation on a busy machine
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def commands(page: str) -> list[str]:
    """The ```sh blocks of a page of docs/, in its order."""
    return _BLOCK.findall((DOCS / page).read_text())


class Shell:
    """One bash that ends at the first command that fails. What a block sets, the next one finds."""

    def __init__(self, folder: Path, cwd: Path, env: Mapping[str, str]) -> None:
        self._said = folder / "shell.log"
        self._done = folder / "shell.done"
        with self._said.open("wb") as output:
            self._process = subprocess.Popen(
                ["bash", "-euo", "pipefail"],
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._ran = 0

    def run(self, block: str) -> None:
        """Raises AssertionError with what the shell said where a command fails."""
        self._ran += 1
        self._input.write(f"{block}\nset -euo pipefail; echo {self._ran} > '{self._done}'\n".encode())
        self._input.flush()
        wait.until(self._ended, f"these commands:\n{block}", BLOCK_SECONDS)

    def _ended(self) -> bool:
        assert self._process.poll() is None, f"a command failed:\n{self.said()}"
        return self._done.exists() and self._done.read_text().strip() == str(self._ran)

    def said(self) -> str:
        return self._said.read_text()

    @property
    def _input(self) -> IO[bytes]:
        assert self._process.stdin is not None
        return self._process.stdin

    def close(self) -> None:
        """End it. Safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._input.close()
