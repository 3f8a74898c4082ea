"""The figures of the precision law on orders that can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shortlist.export.fidelity import LEAST_REQUESTS, Fidelity, fidelity, gain, overlap
from shortlist.export.tables import Ints

ORDERS = st.permutations(range(20)).map(lambda rows: np.array(rows[:10], dtype=np.int64))


def rows(*values: int) -> Ints:
    return np.array(values, dtype=np.int64)


@pytest.mark.parametrize(
    ("got", "exact", "want"),
    [
        (rows(3, 1, 2), rows(1, 2, 3), 1.0),  # the set counts, NDCG judges the order
        (rows(1, 2, 3, 4), rows(1, 2, 5, 6), 0.5),
        (rows(1), rows(1, 2), 0.5),  # a shorter answer is not a better one
        (rows(), rows(), 1.0),
        (rows(), rows(7), 0.0),
    ],
)
def test_overlap(got: Ints, exact: Ints, want: float) -> None:
    assert overlap(got, exact) == want


@given(ORDERS, ORDERS)
def test_overlap_is_symmetric_and_counts_sets(got: Ints, exact: Ints) -> None:
    assert overlap(got, exact) == overlap(exact, got) == len(set(got.tolist()) & set(exact.tolist())) / 10


def test_gain() -> None:
    assert gain(rows(5, 6, 7), 5) == 1.0
    assert gain(rows(5, 6, 7), 7) == 1 / math.log2(4)
    assert gain(rows(5, 6, 7), 8) == gain(rows(5, 6, 7), -1) == 0.0


def test_fidelity_is_the_mean_over_requests() -> None:
    measured = fidelity([rows(1, 2), rows(3, 4)], [rows(2, 1), rows(3, 9)], [1, 3])
    assert measured == Fidelity(requests=2, overlap=0.75, exact_ndcg=1.0, ndcg=(1 / math.log2(3) + 1) / 2)
    assert measured.loss == pytest.approx(0.5 - 0.5 / math.log2(3))


@pytest.mark.parametrize(
    ("requests", "overlap", "ndcg", "passed"),
    [
        (500, 0.99, 0.1991, True),
        (500, 0.9899, 0.2, False),
        (500, 1.0, 0.1989, False),
        (500, 0.995, 0.21, True),  # better than fp32 by chance is no loss
        (LEAST_REQUESTS - 1, 1.0, 0.2, False),
        (0, 0.0, 0.0, False),
    ],
)
def test_the_law(requests: int, overlap: float, ndcg: float, passed: bool) -> None:
    assert Fidelity(requests=requests, overlap=overlap, exact_ndcg=0.2, ndcg=ndcg).passed is passed
