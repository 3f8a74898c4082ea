from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shortlist.errors import DataError
from shortlist.metrics.order import NO_ITEM, NOT_RANKED, order_keys, order_rows, ranks_in_lists, relevant_ranks, target_ranks, top_k

# Few distinct values, so that ties are the rule; both zeros, so that their order is the row's.
TIED = st.sampled_from([-2.5, -1e-30, -0.0, 0.0, 1e-30, 1.0, 3e38])
MATRICES = arrays.arrays(np.float32, arrays.array_shapes(min_dims=2, max_dims=2, max_side=12), elements=TIED.map(np.float32))


@given(scores=MATRICES, data=st.data())
def test_order_is_score_descending_then_row_ascending(scores: np.ndarray, data: st.DataObject) -> None:
    excluded = data.draw(arrays.arrays(np.bool_, scores.shape))
    k = data.draw(st.integers(1, scores.shape[1]))
    keys = order_keys(scores, excluded)
    best, target = top_k(keys, k), data.draw(st.integers(0, scores.shape[1] - 1))
    ranks = target_ranks(keys, np.full(len(scores), target))
    for request, row_scores in enumerate(scores.tolist()):
        allowed = [row for row in range(len(row_scores)) if not excluded[request, row]]
        expected = sorted(allowed, key=lambda row: (-row_scores[row], row))
        assert best[request].tolist() == (expected + [-1] * k)[:k]
        assert ranks[request] == (1 + expected.index(target) if target in expected else NOT_RANKED)


@given(scores=MATRICES, data=st.data())
def test_relevant_ranks_are_the_ranks_of_each_relevant_item(scores: np.ndarray, data: st.DataObject) -> None:
    relevant = data.draw(arrays.arrays(np.bool_, scores.shape))
    ranks, keys = relevant_ranks(scores, relevant), order_keys(scores)
    for request in range(len(scores)):
        rows = np.nonzero(relevant[request])[0]
        expected = target_ranks(np.repeat(keys[request : request + 1], len(rows), axis=0), rows)
        assert sorted(expected.tolist()) == ranks[request][ranks[request] != NO_ITEM].tolist()


def test_absent_target_is_not_ranked() -> None:
    assert ranks_in_lists(np.array([[4, 2, -1], [1, 0, 3]]), np.array([2, 2])).tolist() == [2, NOT_RANKED]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_are_not_finite_are_refused_with_their_place(bad: float) -> None:
    scores = np.zeros((2, 3), dtype=np.float32)
    scores[1, 2] = bad
    with pytest.raises(DataError, match=r"scores has 1 of 6 values that are NaN or infinite, the first at \[1, 2\]"):
        order_keys(scores)


def test_float64_scores_are_refused() -> None:
    with pytest.raises(DataError, match="float64"):
        order_keys(np.zeros((1, 2)))


@given(scores=MATRICES, data=st.data())
def test_order_rows_sorts_candidates_and_leaves_padding_last(scores: np.ndarray, data: st.DataObject) -> None:
    ids = np.array([data.draw(st.permutations(range(scores.shape[1] + 3))) for _ in scores])[:, : scores.shape[1]]
    rows = np.where(data.draw(arrays.arrays(np.bool_, scores.shape)), -1, ids)
    ordered = order_rows(rows, np.where(rows < 0, np.float32(np.nan), scores))
    for row, score, result in zip(rows.tolist(), scores.tolist(), ordered.tolist(), strict=True):
        kept = sorted((-value, item) for item, value in zip(row, score, strict=True) if item >= 0)
        assert result == [item for _, item in kept] + [-1] * (len(row) - len(kept))
