from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ml import artefact, atomic
from ml.artefact import Artefacts
from ml.errors import ArtefactError
from ml.evaluate import Pair
from ml.split import Split


class Unpicklable:
    def __reduce__(self) -> str:
        raise pickle.PicklingError("not this one")


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_pair_is_read_as_it_was_written(tmp_path: Path, pair: Pair, parts: Split) -> None:
    written = artefact.write(tmp_path / "run", pair)

    read = artefact.read(written, within=tmp_path)

    assert np.array_equal(read.probabilities(parts.held_out), pair.probabilities(parts.held_out))
    for name, described in (("model.pkl", written["model"]), ("scaler.pkl", written["scaler"])):
        content = (tmp_path / "run" / name).read_bytes()
        assert described["sha256"] == hashlib.sha256(content).hexdigest()
        assert described["path"] == str(tmp_path / "run" / name)


def test_a_pair_is_written_whole_or_not_at_all(tmp_path: Path, pair: Pair) -> None:
    before = artefact.write(tmp_path, pair)

    with pytest.raises(pickle.PicklingError):
        artefact.write(tmp_path, Pair(pair.model, Unpicklable()))

    assert names(tmp_path) == {"model.pkl", "scaler.pkl"}
    assert artefact.read(before, within=tmp_path)


def test_a_disk_that_fails_half_way_leaves_what_was_there(tmp_path: Path) -> None:
    """The second file cannot be staged: its folder does not exist."""
    atomic.write(tmp_path, {"first": b"old"})

    with pytest.raises(OSError, match="No such file"):
        atomic.write(tmp_path, {"first": b"new", "nowhere/second": b"new"})

    assert names(tmp_path) == {"first"}
    assert (tmp_path / "first").read_bytes() == b"old"


def test_files_are_for_whoever_the_umask_says(tmp_path: Path) -> None:
    atomic.write(tmp_path, {"written": b""})
    (tmp_path / "ordinary").touch()

    assert (tmp_path / "written").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_link_is_switched(tmp_path: Path) -> None:
    for name in ("first", "second"):
        atomic.write(tmp_path / "all" / name, {"name": name.encode()})
        atomic.point(tmp_path / "link", tmp_path / "all" / name)
        assert (tmp_path / "link" / "name").read_text() == name

    assert (tmp_path / "link").readlink() == Path("all/second")
    assert names(tmp_path) == {"all", "link"}


def _change(written: Artefacts) -> None:
    with Path(written["scaler"]["path"]).open("ab") as file:
        file.write(b"\0")


def _remove(written: Artefacts) -> None:
    Path(written["model"]["path"]).unlink()


def _age(written: Artefacts) -> None:
    written["model"]["scikit_learn_version"] = "0.9"


def _climb(written: Artefacts) -> None:
    path = Path(written["model"]["path"])
    path.rename(path.parents[2] / path.name)
    written["model"]["path"] = str(path.parents[1] / ".." / path.name)


def _link_out(written: Artefacts) -> None:
    path = Path(written["model"]["path"])
    path.rename(path.parents[2] / path.name)
    path.symlink_to(path.parents[2] / path.name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_change, r"scaler\.pkl: sha256 is .* recorded was .* not unpickled"),
        (_remove, r"model\.pkl cannot be read \(No such file"),
        (_age, r"scikit_learn_version is '0\.9'.*train again"),
        (_climb, r"lies outside the models' folder"),
        (_link_out, r"lies outside the models' folder"),
    ],
)
def test_what_is_not_as_recorded_is_not_unpickled(
    tmp_path: Path, pair: Pair, change: Callable[[Artefacts], None], said: str
) -> None:
    written = artefact.write(tmp_path / "models" / "run", pair)
    change(written)

    with pytest.raises(ArtefactError, match=said):
        artefact.read(written, within=tmp_path / "models")


def test_neither_is_unpickled_unless_both_are_as_recorded(tmp_path: Path, pair: Pair) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
            return Path.touch, (tmp_path / "exploded",)

    written = artefact.write(tmp_path / "run", Pair(Bomb(), pair.scaler))
    _change(written)

    with pytest.raises(ArtefactError):
        artefact.read(written, within=tmp_path)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("field", ["path", "sha256", "scikit_learn_version"])
def test_an_extra_says_what_is_missing(field: str) -> None:
    extra = {"path": "/models/model.pkl", "sha256": "0" * 64, "scikit_learn_version": "1.9", "rows": 569}
    del extra[field]

    with pytest.raises(ArtefactError, match=f"model.pkl of run r: {field} is None and should be text"):
        artefact.parse(extra, "model.pkl of run r")
