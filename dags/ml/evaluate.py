"""How well a model does on rows that it has not seen."""

from __future__ import annotations

from typing import NamedTuple, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    classification_report,
    f1_score,
    roc_auc_score,
)
from sklearn.preprocessing import StandardScaler

from ml.schema import CLASSES, FEATURES, TARGET


class Pair(NamedTuple):
    """A model and the scaler it was trained with: neither is of use without the other."""

    model: LogisticRegression
    scaler: StandardScaler

    def classes(self, table: pd.DataFrame) -> NDArray[np.int64]:
        """The more probable class of each row."""
        return np.asarray(self.model.predict(self.scaler.transform(table[FEATURES])))

    def probabilities(self, table: pd.DataFrame) -> NDArray[np.float64]:
        """The probability of class 1 (benign) for each row."""
        return np.asarray(self.model.predict_proba(self.scaler.transform(table[FEATURES]))[:, 1])


class Scores(TypedDict):
    """Each between 0 and 1, more is better; the positive class is 1 (benign), as scikit-learn has it."""

    accuracy: float
    roc_auc: float
    f1: float


def scores(pair: Pair, held_out: pd.DataFrame) -> Scores:
    """The pair's scores on these rows."""
    predicted = pair.classes(held_out)
    return {
        "accuracy": float(accuracy_score(held_out[TARGET], predicted)),
        "roc_auc": float(roc_auc_score(held_out[TARGET], pair.probabilities(held_out))),
        "f1": float(f1_score(held_out[TARGET], predicted)),
    }


def report(pair: Pair, held_out: pd.DataFrame) -> str:
    """scikit-learn's classification report, as a text table."""
    return str(
        classification_report(
            held_out[TARGET],
            pair.classes(held_out),
            labels=range(len(CLASSES)),
            target_names=CLASSES,
            digits=3,
            zero_division=0,
        )
    )
