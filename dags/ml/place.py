"""Where models lie: a folder of this host, which others may share, or a folder in an object store.

A store's folder is any path that behaves like pathlib's, as Airflow's `ObjectStoragePath` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeVar

from ml.errors import ArtefactError

LOCAL = ("file", "local", "")  # what fsspec calls this host's files

P = TypeVar("P", bound="Place")


class Place(Protocol):
    """A file or a folder."""

    @property
    def name(self) -> str: ...

    @property
    def parent(self: P) -> P: ...

    def __truediv__(self: P, name: str) -> P: ...

    def exists(self) -> bool: ...

    def read_bytes(self) -> bytes: ...

    def write_bytes(self, content: bytes) -> int: ...


def local(place: Place) -> Path | None:
    """The path on this host, or None for a place in a store."""
    if isinstance(place, Path):
        return place
    return Path(getattr(place, "path")) if getattr(place, "protocol", None) in LOCAL else None  # noqa: B009


def told(place: Place) -> str:
    """The place as it is recorded: an absolute path, or a URL."""
    return str(local(place) or place)


def inside(folder: Place, recorded: str) -> Place:
    """The file that is recorded; raises `ArtefactError` unless it lies within the folder."""
    here = local(folder)
    if here is not None:
        path = Path(recorded).resolve()
        if path.is_relative_to(here.resolve()):
            return path
        raise _outside(str(path), folder)
    start = f"{str(folder).rstrip('/')}/"
    parts = recorded.removeprefix(start).split("/")
    if not recorded.startswith(start) or not all(parts) or {".", ".."} & set(parts):
        raise _outside(recorded, folder)
    return folder / "/".join(parts)


def _outside(path: str, folder: Place) -> ArtefactError:
    return ArtefactError(f"path {path!r} lies outside the models' folder {told(folder)!r}: not opened")
