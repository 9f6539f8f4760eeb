"""How well a model does on rows that it has not seen."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    classification_report,
    f1_score,
    roc_auc_score,
)
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ml.schema import CLASSES, Table


class Pair(NamedTuple):
    """A model and the scaler it was trained with: neither is of use without the other."""

    model: LogisticRegression
    scaler: StandardScaler

    def classes(self, rows: list[list[float]]) -> list[int]:
        """The more probable class of each row."""
        return [int(number) for number in self.model.predict(self.scaler.transform(rows))]

    def probabilities(self, rows: list[list[float]]) -> list[float]:
        """The probability of class 1 (benign) for each row."""
        return [float(number) for number in self.model.predict_proba(self.scaler.transform(rows))[:, 1]]


class Scores(TypedDict):
    """Each between 0 and 1, more is better; the positive class is 1 (benign), as scikit-learn has it."""

    accuracy: float
    roc_auc: float
    f1: float


def scores(pair: Pair, held_out: Table) -> Scores:
    """The pair's scores on these rows."""
    predicted = pair.classes(held_out["rows"])
    return {
        "accuracy": float(accuracy_score(held_out["target"], predicted)),
        "roc_auc": float(roc_auc_score(held_out["target"], pair.probabilities(held_out["rows"]))),
        "f1": float(f1_score(held_out["target"], predicted)),
    }


def report(pair: Pair, held_out: Table) -> str:
    """scikit-learn's classification report, as a text table."""
    return str(
        classification_report(
            held_out["target"],
            pair.classes(held_out["rows"]),
            labels=range(len(CLASSES)),
            target_names=CLASSES,
            digits=3,
            zero_division=0,
        )
    )
