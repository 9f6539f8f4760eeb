"""Does the candidate take the champion's place?"""

from __future__ import annotations

from typing import TypedDict

from ml.evaluate import Scores


class Decision(TypedDict):
    """`reason` is a sentence for people: it goes into the log and the champion's asset event."""

    promote: bool
    reason: str


def compare(candidate: Scores, champion: Scores | None) -> Decision:
    """Both scored on the same rows; None where there is no champion to compare with.

    ROC AUC decides: unlike accuracy and F1 it does not hang on the threshold. An equal candidate is
    promoted: it has seen newer data, and a training run that is repeated flows on to `scoring` every time.
    """
    if champion is None:
        return {"promote": True, "reason": "there is no champion to compare with"}
    theirs, ours = champion["roc_auc"], candidate["roc_auc"]
    if ours >= theirs:
        return {"promote": True, "reason": f"ROC AUC {ours:.4f} is not below the champion's {theirs:.4f}"}
    return {"promote": False, "reason": f"ROC AUC {ours:.4f} is below the champion's {theirs:.4f}"}
