"""What the champion says of each row."""

from __future__ import annotations

import csv
import io

from ml.evaluate import Pair
from ml.schema import CLASSES, Table

HEADER = ("row", "probability_benign", "predicted", "actual")


def predictions(pair: Pair, table: Table) -> bytes:
    """CSV with a line for each row of the table, in its order, counted from 0."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(HEADER)
    outcome = zip(
        pair.probabilities(table["rows"]), pair.classes(table["rows"]), table["target"], strict=True
    )
    for row, (probability, predicted, actual) in enumerate(outcome):
        writer.writerow((row, probability, CLASSES[predicted], CLASSES[actual]))
    return text.getvalue().encode()
