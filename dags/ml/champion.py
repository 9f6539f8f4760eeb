"""The released model: `<models_dir>/champion`, a link into `<models_dir>/champions/`; in a store, a file.

A champion is a copy, so that a training run that is cleared and repeated cannot change it. The link is
switched in one step: whoever follows it finds one champion's model with the same champion's scaler. Earlier
champions stay: leading the link back to one of them releases it again.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from ml import artefact, atomic
from ml.artefact import MODEL_FILE, SCALER_FILE, Artefacts
from ml.errors import ArtefactError
from ml.place import Place, told
from ml.run_folder import folder_name

LINK = "champion"
FOLDER = "champions"
RECORD = "champion.json"
_PARTS = ("model", "scaler")
_REMEDY = f"lead the link {LINK!r} to an earlier champion, or remove it and the next release makes one"


def current(models_dir: Place) -> Artefacts | None:
    """The champion, or None before the first release; raises `ArtefactError` for a damaged record."""
    folder = atomic.target(models_dir / LINK)  # once: the link may be switched while we read
    if folder is None:
        return None
    record = _record(folder / RECORD)
    return {
        "model": artefact.parse({**record.get("model", {}), "path": told(folder / MODEL_FILE)}, told(folder)),
        "scaler": artefact.parse(
            {**record.get("scaler", {}), "path": told(folder / SCALER_FILE)}, told(folder)
        ),
    }


def promote(models_dir: Place, release_run_id: str, candidate: Artefacts, facts: dict[str, Any]) -> Artefacts:
    """Copy the candidate, checking it once more, record `facts` with it, and make it the champion."""
    contents = {
        MODEL_FILE: artefact.checked(candidate["model"], models_dir),
        SCALER_FILE: artefact.checked(candidate["scaler"], models_dir),
        RECORD: json.dumps({**facts, **candidate}, indent=2).encode(),
    }
    # A release that is cleared and repeated gets another folder: the old one may be the champion's.
    folder = models_dir / FOLDER / f"{folder_name(release_run_id)}-{uuid.uuid4().hex[:8]}"
    released = artefact.write_contents(folder, contents)
    atomic.point(models_dir / LINK, folder)
    return released


def _record(path: Place) -> dict[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path} cannot be read ({error}): {_REMEDY}") from error
    if not isinstance(record, dict) or not all(isinstance(record.get(name), dict) for name in _PARTS):
        raise ArtefactError(f"{path} does not tell of a model and its scaler: {_REMEDY}")
    return record
