"""Coverage, novelty and popularity bias."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.errors import DataError
from shortlist.metrics.coverage import catalog_coverage
from shortlist.metrics.novelty import novelty, self_information
from shortlist.metrics.popularity_bias import mean_popularity_rank, popularity_lift, popularity_percentile


def test_coverage_counts_distinct_rows_and_ignores_padding() -> None:
    assert catalog_coverage(np.array([[0, 1], [1, -1]]), 8) == 0.25
    with pytest.raises(DataError, match="row 8"):
        catalog_coverage(np.array([[8]]), 8)


def test_novelty_is_mean_self_information() -> None:
    counts = np.array([6, 0, 1, 4])  # with one added: 7, 1, 2, 5 of 15
    assert self_information(counts) == pytest.approx(-np.log2(np.array([7, 1, 2, 5]) / 15))
    assert novelty(np.array([[0, 1], [2, -1], [-1, -1]]), counts) == pytest.approx(
        [-(np.log2(7 / 15) + np.log2(1 / 15)) / 2, -np.log2(2 / 15), 0]
    )


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=30))
def test_rarer_items_are_more_novel_and_less_popular(counts: list[int]) -> None:
    bits, percentile = self_information(np.array(counts)), popularity_percentile(np.array(counts))
    assert np.isfinite(bits).all()
    assert ((percentile >= 0) & (percentile <= 1)).all()
    order = np.argsort(counts)
    assert (np.diff(bits[order]) <= 1e-12).all()
    assert (np.diff(percentile[order]) >= 0).all()


def test_popularity_bias_by_hand() -> None:
    counts = np.array([10, 0, 5, 5])
    assert popularity_percentile(counts) == pytest.approx([1, 0, 0.5, 0.5])
    assert mean_popularity_rank(np.array([[0, 1], [2, -1]]), counts) == pytest.approx([0.5, 0.5])
    assert popularity_lift(np.array([[0, 2], [0, -1]]), np.array([2, 3]), counts) == pytest.approx((25 / 3) / 5)
    with pytest.raises(DataError, match="undefined"):
        popularity_lift(np.array([[0]]), np.array([1]), counts)
