from __future__ import annotations

import csv
import io

import numpy as np
import pandas as pd
import pytest

from ml.compare import compare
from ml.evaluate import Pair, Scores, report, scores
from ml.predict import predictions
from ml.schema import TARGET
from ml.split import Split
from ml.train import MAX_ITERATIONS


def test_the_model_converges(pair: Pair) -> None:
    assert pair.model.n_iter_[0] < MAX_ITERATIONS
    assert pair.model.max_iter == MAX_ITERATIONS == 1000


def test_scores_against_their_definitions(pair: Pair, parts: Split) -> None:
    held_out = parts.held_out
    actual, predicted = held_out[TARGET].to_numpy(), pair.classes(held_out)
    probability = pair.probabilities(held_out)
    benign, malignant = probability[actual == 1], probability[actual == 0]

    found = scores(pair, held_out)

    hits = np.sum((predicted == 1) & (actual == 1))
    assert found["accuracy"] == pytest.approx(np.mean(predicted == actual))
    assert found["f1"] == pytest.approx(2 * hits / (np.sum(predicted) + np.sum(actual)))
    assert found["roc_auc"] == pytest.approx(np.mean(benign[:, None] > malignant[None, :]))
    assert found["roc_auc"] > 0.99


def test_the_report_has_a_line_for_each_class(pair: Pair, parts: Split) -> None:
    held_out = parts.held_out
    lines = {line.split()[0]: line.split()[1:] for line in report(pair, held_out).splitlines() if line}

    assert lines["malignant"][-1] == str((held_out[TARGET] == 0).sum())
    assert lines["benign"][-1] == str((held_out[TARGET] == 1).sum())
    assert float(lines["accuracy"][0]) == pytest.approx(scores(pair, held_out)["accuracy"], abs=0.001)


def test_a_prediction_for_each_row(pair: Pair, table: pd.DataFrame) -> None:
    lines = list(csv.DictReader(io.StringIO(predictions(pair, table).decode())))

    assert list(lines[0]) == ["row", "probability_benign", "predicted", "actual"]
    assert [int(line["row"]) for line in lines] == list(range(len(table)))
    assert [float(line["probability_benign"]) for line in lines] == pair.probabilities(table).tolist()
    assert all((float(line["probability_benign"]) > 0.5) == (line["predicted"] == "benign") for line in lines)
    assert [line["actual"] == "benign" for line in lines] == (table[TARGET] == 1).tolist()


def scored(roc_auc: float) -> Scores:
    return {"accuracy": 0.9, "roc_auc": roc_auc, "f1": 0.9}


@pytest.mark.parametrize(
    ("champion", "promoted", "reason"),
    [
        (None, True, "there is no champion to compare with"),
        (scored(0.98), True, "ROC AUC 0.9900 is not below the champion's 0.9800"),
        (scored(0.99), True, "ROC AUC 0.9900 is not below the champion's 0.9900"),
        (scored(0.995), False, "ROC AUC 0.9900 is below the champion's 0.9950"),
    ],
)
def test_roc_auc_decides(champion: Scores | None, promoted: bool, reason: str) -> None:
    assert compare(scored(0.99), champion) == {"promote": promoted, "reason": reason}
