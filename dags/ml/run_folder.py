"""The folder of a run's files."""

from __future__ import annotations

import hashlib
from urllib.parse import quote

from ml.place import P

MAX_NAME = 200  # file systems end at 255 bytes; what is written beside it may add to the name
_KEPT = 100  # of a longer name, enough to recognise the run


def run_folder(models_dir: P, dag_id: str, run_id: str) -> P:
    """`<models_dir>/<dag_id>/<run_id>`, both made safe."""
    return models_dir / folder_name(dag_id) / folder_name(run_id)


def folder_name(identifier: str) -> str:
    """A name for any id, another for each: percent-encoded, the dot too, so that `..` leads nowhere.

    A long one is cut and told apart by its sha256, behind an `=`, which the encoding never gives.
    """
    if not identifier:
        raise ValueError("a run without an id has no folder")
    name = quote(identifier, safe="").replace(".", "%2E")
    if len(name) <= MAX_NAME:
        return name
    return f"{name[:_KEPT]}={hashlib.sha256(identifier.encode()).hexdigest()}"
