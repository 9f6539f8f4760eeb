from __future__ import annotations

import json
import math
from itertools import cycle, islice

import numpy as np
import pandas as pd
from pandas.testing import assert_frame_equal

from ml import frames
from ml.load import load
from ml.schema import FEATURES, TARGET
from ml.settings import BUNDLED_CSV

# What `to_json` rounds, what a decimal text must spell out, and the ends of what a float can be.
FLOATS = (0.1, 1 / 3, math.pi * 1e-20, 5e-324, 1.7976931348623157e308, 1e16, 123456789.123456789, -0.0)


def test_floats_travel_to_the_bit() -> None:
    values = list(islice(cycle(FLOATS), len(FEATURES)))
    table = pd.DataFrame([[*values, 1], [*reversed(values), 0]], columns=[*FEATURES, TARGET], index=[2, 7])

    arrived = frames.numbers(json.loads(json.dumps(frames.packed(table))))

    assert_frame_equal(arrived, table, check_exact=True)
    assert np.array_equal(
        arrived[FEATURES].to_numpy().view("int64"), table[FEATURES].to_numpy().view("int64")
    )


def test_a_store_may_write_whole_floats_as_integers() -> None:
    table = pd.DataFrame([[1e16] * len(FEATURES) + [1]], columns=[*FEATURES, TARGET])
    packed = frames.packed(table)
    packed["data"] = [[int(cell) for cell in row] for row in packed["data"]]

    assert_frame_equal(frames.numbers(packed), table, check_exact=True)


def test_text_stays_text() -> None:
    loaded = load(BUNDLED_CSV)

    assert_frame_equal(frames.text(json.loads(json.dumps(frames.packed(loaded)))), loaded)
