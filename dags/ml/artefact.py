"""Pickled models and scalers, known by their sha256.

Unpickling runs whatever code the file holds, so `read` opens nothing that lies outside the models' folder
and unpickles nothing whose sha256 is not the one recorded when it was written.
"""

from __future__ import annotations

import hashlib
import hmac
import pickle
from collections.abc import Mapping
from typing import Any, TypedDict

import sklearn

from ml import atomic
from ml.errors import ArtefactError
from ml.evaluate import Pair
from ml.place import Place, inside, told

MODEL_FILE = "model.pkl"
SCALER_FILE = "scaler.pkl"


class Artefact(TypedDict):
    """One file as it was written; `path` is absolute, or a URL."""

    path: str
    sha256: str
    scikit_learn_version: str


class Artefacts(TypedDict):
    """The two files of a pair."""

    model: Artefact
    scaler: Artefact


def write(folder: Place, pair: Pair) -> Artefacts:
    """Pickle the pair into `model.pkl` and `scaler.pkl` of the folder: both or neither."""
    contents = {MODEL_FILE: pickle.dumps(pair.model), SCALER_FILE: pickle.dumps(pair.scaler)}
    return write_contents(folder, contents)


def write_contents(folder: Place, contents: Mapping[str, bytes]) -> Artefacts:
    """As `write`, from pickles; further files of `contents` are written with them."""
    atomic.write(folder, contents)
    return {
        "model": _describe(folder / MODEL_FILE, contents[MODEL_FILE]),
        "scaler": _describe(folder / SCALER_FILE, contents[SCALER_FILE]),
    }


def read(artefacts: Artefacts, within: Place) -> Pair:
    """The pair; raises `ArtefactError` unless both files are as recorded and lie within the folder."""
    # Both are checked before either is unpickled.
    model, scaler = (checked(artefact, within) for artefact in (artefacts["model"], artefacts["scaler"]))
    return Pair(pickle.loads(model), pickle.loads(scaler))  # noqa: S301 # their sha256 has been checked


def loadable(artefacts: Artefacts) -> bool:
    """Were both pickled by the scikit-learn that runs here?"""
    pair = (artefacts["model"], artefacts["scaler"])
    return all(artefact["scikit_learn_version"] == sklearn.__version__ for artefact in pair)


def checked(artefact: Artefact, within: Place) -> bytes:
    """The file's bytes, still pickled; raises `ArtefactError` unless they are as recorded."""
    path = inside(within, artefact["path"])
    if artefact["scikit_learn_version"] != sklearn.__version__:
        raise ArtefactError(
            f"{path}: scikit_learn_version is {artefact['scikit_learn_version']!r}, and this is "
            f"{sklearn.__version__!r}: pickles do not travel between versions; train again"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtefactError(f"{path} cannot be read ({error.strerror or error}): train again") from error
    _check_digest(path, content, artefact["sha256"])
    return content


def _check_digest(path: Place, content: bytes, expected: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if not hmac.compare_digest(digest.encode(), expected.encode()):
        raise ArtefactError(
            f"{path}: sha256 is {digest!r}, recorded was {expected!r}: the file was changed after it was "
            "written and is not unpickled; find out by whom, and train again"
        )


def _describe(path: Place, content: bytes) -> Artefact:
    return {
        "path": told(path),
        "sha256": hashlib.sha256(content).hexdigest(),
        "scikit_learn_version": sklearn.__version__,
    }


def parse(value: Mapping[str, Any], what: str) -> Artefact:
    """An artefact out of an asset event's extra or a file; raises `ArtefactError` naming what is missing."""
    for field in Artefact.__annotations__:
        if not isinstance(value.get(field), str):
            raise ArtefactError(f"{what}: {field} is {value.get(field)!r} and should be text: train again")
    return {key: value[key] for key in Artefact.__annotations__}  # type: ignore[return-value]
