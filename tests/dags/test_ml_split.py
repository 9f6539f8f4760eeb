from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler  # type: ignore[import-untyped]

from ml.scale import scaler_of
from ml.schema import Table
from ml.split import Split, split


def test_a_fifth_is_held_out_and_nothing_is_lost(table: Table, parts: Split) -> None:
    train, held_out = parts["train"], parts["held_out"]

    assert (len(train["rows"]), len(held_out["rows"])) == (455, 114)
    together = zip(train["rows"] + held_out["rows"], train["target"] + held_out["target"], strict=True)
    assert sorted(together) == sorted(zip(table["rows"], table["target"], strict=True))


def test_both_parts_have_the_classes_in_the_same_share(table: Table, parts: Split) -> None:
    counts = [tuple(part["target"].count(index) for index in (0, 1)) for part in (table, parts["held_out"])]

    assert counts == [(212, 357), (42, 72)]  # a fifth of each, to the row


def test_it_is_the_same_every_time(table: Table, parts: Split) -> None:
    assert split(table) == parts


def test_the_scale_is_that_of_the_training_rows_alone(table: Table, parts: Split) -> None:
    assert parts["scale"]["mean"] == pytest.approx(np.mean(parts["train"]["rows"], axis=0))
    assert parts["scale"]["rows"] == 455
    assert parts["scale"]["mean"] != pytest.approx(np.mean(table["rows"], axis=0), rel=1e-6)


def test_a_scaler_survives_json_bit_for_bit(parts: Split) -> None:
    original = StandardScaler().fit(parts["train"]["rows"])

    restored = scaler_of(json.loads(json.dumps(parts))["scale"])

    held_out = parts["held_out"]["rows"]
    assert np.array_equal(restored.transform(held_out), original.transform(held_out))
    assert vars(restored).keys() == vars(original).keys()
