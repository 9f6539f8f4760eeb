from __future__ import annotations

from pathlib import Path

import pytest

from ml import artefact, champion
from ml.errors import ArtefactError
from ml.evaluate import Pair


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert champion.current(tmp_path) is None


def test_a_champion_is_a_copy(tmp_path: Path, pair: Pair) -> None:
    candidate = artefact.write(tmp_path / "run", pair)
    released = champion.promote(tmp_path, "release/1", candidate, {"reason": "the first"})
    Path(candidate["model"]["path"]).write_bytes(b"trained anew")

    assert champion.current(tmp_path) == released
    assert artefact.read(released, within=tmp_path)


def test_earlier_champions_stay(tmp_path: Path, pair: Pair) -> None:
    candidate = artefact.write(tmp_path / "run", pair)
    first = champion.promote(tmp_path, "release", candidate, {})
    second = champion.promote(tmp_path, "release", candidate, {})

    assert first["model"]["path"] != second["model"]["path"]
    assert champion.current(tmp_path) == second
    assert artefact.read(first, within=tmp_path)


def test_a_tampered_candidate_does_not_become_champion(tmp_path: Path, pair: Pair) -> None:
    first = champion.promote(tmp_path, "one", artefact.write(tmp_path / "run", pair), {})
    candidate = artefact.write(tmp_path / "run", pair)
    Path(candidate["scaler"]["path"]).write_bytes(b"something else")

    with pytest.raises(ArtefactError, match="sha256"):
        champion.promote(tmp_path, "two", candidate, {})
    assert champion.current(tmp_path) == first
    assert len(list((tmp_path / "champions").iterdir())) == 1


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b'{"model": {}}', b'{"model": "", "scaler": ""}']
)
def test_a_damaged_record_is_told(tmp_path: Path, pair: Pair, content: bytes) -> None:
    champion.promote(tmp_path, "one", artefact.write(tmp_path / "run", pair), {})
    (tmp_path / "champion" / "champion.json").write_bytes(content)

    with pytest.raises(ArtefactError, match="champions/one"):
        champion.current(tmp_path)


def test_a_tampered_champion_is_not_read(tmp_path: Path, pair: Pair) -> None:
    released = champion.promote(tmp_path, "one", artefact.write(tmp_path / "run", pair), {})
    (tmp_path / "champion" / "model.pkl").write_bytes(b"something else")

    with pytest.raises(ArtefactError, match="sha256"):
        artefact.read(released, within=tmp_path)
