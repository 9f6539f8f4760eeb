from __future__ import annotations

import pandas as pd
from pandas.testing import assert_frame_equal

from ml.schema import TARGET
from ml.split import Split, split


def test_a_fifth_is_held_out_and_nothing_is_lost(table: pd.DataFrame, parts: Split) -> None:
    assert (len(parts.train), len(parts.held_out)) == (455, 114)
    assert_frame_equal(pd.concat(parts).sort_index(), table)


def test_both_parts_have_the_classes_in_the_same_share(table: pd.DataFrame, parts: Split) -> None:
    counts = [part[TARGET].value_counts(sort=False).sort_index().tolist() for part in (table, parts.held_out)]

    assert counts == [[212, 357], [42, 72]]  # a fifth of each, to the row


def test_it_is_the_same_every_time(table: pd.DataFrame, parts: Split) -> None:
    again = split(table)

    assert_frame_equal(again.train, parts.train)
    assert_frame_equal(again.held_out, parts.held_out)
