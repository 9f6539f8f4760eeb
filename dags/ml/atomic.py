"""Files that are there whole or not at all, whatever dies while they are written.

An object store does so by itself, file by file: there the last one is the one that others begin at.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path

from ml.place import Place, local


def write(folder: Place, contents: Mapping[str, bytes]) -> None:
    """Write these files into the folder, making it if need be.

    Nothing is replaced before everything is on the disk: a failure on the way leaves what was there before.
    """
    here = local(folder)
    if here is not None:
        _write_here(here, contents)
        return
    for name, content in contents.items():
        (folder / name).write_bytes(content)


def point(link: Place, target: Place) -> None:
    """Make the link lead to the target, below the link's own folder: a symbolic link; in a store, a file."""
    here, there = local(link), local(target)
    if here is not None and there is not None:
        _link(here, there.relative_to(here.parent))
        return
    start = f"{str(link.parent).rstrip('/')}/"
    link.write_bytes(str(target).removeprefix(start).encode())


def target(link: Place) -> Place | None:
    """Where the link leads, or None where there is none."""
    here = local(link)
    if here is not None:
        return here.resolve() if here.is_symlink() else None
    return link.parent / link.read_bytes().decode() if link.exists() else None


def _write_here(folder: Path, contents: Mapping[str, bytes]) -> None:
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


def _link(link: Path, target: Path) -> None:
    staged = link.with_name(f".{link.name}.{uuid.uuid4().hex}.tmp")
    try:
        staged.symlink_to(target)
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
