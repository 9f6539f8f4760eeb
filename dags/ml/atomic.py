"""Files that are there whole or not at all, whatever dies while they are written."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path


def write(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write these files into the folder, making it if need be.

    Nothing is replaced before everything is on the disk: a failure on the way leaves what was there before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: it would keep the files from every other user, such as another container's.
    staged = {name: folder / f".{name}.{uuid.uuid4().hex}.tmp" for name in contents}
    try:
        for name, path in staged.items():
            _write_through(path, contents[name])
        for name, path in staged.items():
            path.replace(folder / name)
        _sync_folders((folder, folder.parent))
    finally:
        for path in staged.values():
            path.unlink(missing_ok=True)


def point(link: Path, target: Path) -> None:
    """Make the symbolic link lead to the target, a neighbour in the link's folder or below it."""
    staged = link.with_name(f".{link.name}.{uuid.uuid4().hex}.tmp")
    try:
        staged.symlink_to(target.relative_to(link.parent))
        staged.replace(link)
        _sync_folders((link.parent,))
    finally:
        staged.unlink(missing_ok=True)


def _write_through(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync_folders(folders: Iterable[Path]) -> None:
    """A new name is durable only when its folder is."""
    for folder in folders:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
