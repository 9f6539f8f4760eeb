"""What a test puts up in several steps, and takes down in the other order, also where a step fails."""

from contextlib import ExitStack
from types import TracebackType
from typing import TypeVar

Self = TypeVar("Self", bound="Staged")


class Staged:
    """`_start` registers in `_ends` what each of its steps has to undo."""

    def __init__(self) -> None:
        self._ends = ExitStack()

    def _start(self) -> None:
        raise NotImplementedError

    def __enter__(self: Self) -> Self:
        try:
            self._start()
        except BaseException:
            self._ends.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.close()
