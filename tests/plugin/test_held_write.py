"""libc's pwrite, called with the GIL held."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from airflow_windsock.held_write import find_gil_holding_pwrite, pwrite_releasing_gil

FAR = 5 * 2**32  # beyond what 32 bits hold


@pytest.mark.parametrize("position", [0, 7, FAR])
def test_it_writes_as_os_pwrite_does(tmp_path: Path, position: int) -> None:
    line = b"a\x00line \xff\n"
    written = []
    for write in (find_gil_holding_pwrite(), pwrite_releasing_gil):
        descriptor = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        assert write(descriptor, line, len(line), position) == len(line)
        written.append((os.pread(descriptor, 100, position), os.fstat(descriptor).st_size))
        os.close(descriptor)
    assert written == [(line, position + len(line))] * 2


def test_what_fails_is_told_and_nothing_is_raised(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    assert find_gil_holding_pwrite()(descriptor, b"x", 1, 0) < 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        pwrite_releasing_gil(descriptor, b"x", 1, 0)
    os.close(descriptor)


def test_a_python_without_ctypes_writes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_gil_holding_pwrite() is not pwrite_releasing_gil
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert find_gil_holding_pwrite() is pwrite_releasing_gil
