"""The file write that keeps Python's global lock (GIL).

`os.pwrite` releases the lock for the microseconds that the page cache takes. A thread that waits for the
lock, such as the drainer's, then holds it for up to 5 ms before the writer continues.

The write is not for a thread that others must not wait for. A disk that stalls stops all threads of the
process meanwhile.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import cast

PWrite = Callable[[int, bytes, int, int], int]
"""A function of descriptor, bytes, length and position. It returns the number of written bytes. A negative
number means that none was written, because of some error."""


def find_gil_holding_pwrite() -> PWrite:
    """Return libc's own pwrite, or `os.pwrite`, which raises, if libc's cannot be had."""
    try:
        import ctypes

        pwrite = ctypes.PyDLL(None).pwrite
    except (ImportError, OSError, AttributeError, MemoryError):  # the last where SELinux forbids callbacks
        return pwrite_releasing_gil
    if ctypes.sizeof(ctypes.c_long) != 8:  # off_t may be one or the other
        return pwrite_releasing_gil
    pwrite.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
    pwrite.restype = ctypes.c_ssize_t
    return cast("PWrite", pwrite)


def pwrite_releasing_gil(descriptor: int, line: bytes, _size: int, position: int) -> int:
    """Write with `os.pwrite`, which releases the GIL and raises OSError."""
    return os.pwrite(descriptor, line, position)
