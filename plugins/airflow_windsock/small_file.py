"""The small text file that processes share: written whole or not at all, readable by this user only."""

from __future__ import annotations

import os
import threading
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace the file's content at once. Raises OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    draft.unlink(missing_ok=True)  # a dead process's file with our numbers, or a link that another user made
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
    draft.replace(path)
