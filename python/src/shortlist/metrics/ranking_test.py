"""HITS, recall, NDCG and MRR against torchmetrics on random inputs, against hand-computed cases on ties, and as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.retrieval import retrieval_hit_rate, retrieval_normalized_dcg, retrieval_recall, retrieval_reciprocal_rank

from shortlist.errors import DataError
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.mrr import reciprocal_rank
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.metrics.order import NO_ITEM, NOT_RANKED, relevant_ranks
from shortlist.metrics.recall import recall_at_k

METRICS = {hits_at_k: retrieval_hit_rate, recall_at_k: retrieval_recall, ndcg_at_k: retrieval_normalized_dcg}
RANKS = st.lists(st.integers(1, 60), min_size=1, max_size=6, unique=True)


def random_requests(seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    scores = random.permuted(np.tile(np.linspace(0.02, 1, 50, dtype=np.float32), (40, 1)), axis=1)  # no ties: conventions differ on them
    relevant = random.random((40, 50)) < random.uniform(0.02, 0.4, (40, 1))
    relevant[np.arange(40), random.integers(0, 50, 40)] = True
    return scores, relevant


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("k", [1, 5, 10, 50])
def test_equals_torchmetrics(metric: object, k: int) -> None:
    scores, relevant = random_requests(seed=k)
    ours = metric(relevant_ranks(scores, relevant), k)
    theirs = [
        METRICS[metric](torch.tensor(row, dtype=torch.float64), torch.tensor(good), top_k=k)
        for row, good in zip(scores, relevant, strict=True)
    ]
    np.testing.assert_allclose(ours, torch.stack(theirs).numpy(), atol=1e-6)


def test_reciprocal_rank_equals_torchmetrics() -> None:
    scores, relevant = random_requests(seed=7)
    theirs = [retrieval_reciprocal_rank(torch.tensor(row), torch.tensor(good)) for row, good in zip(scores, relevant, strict=True)]
    np.testing.assert_allclose(reciprocal_rank(relevant_ranks(scores, relevant)), torch.stack(theirs).numpy(), atol=1e-7)


def test_ties_go_to_the_lower_row() -> None:
    # torchmetrics averages tied gains (NDCG) or follows its sort; ours is the tie rule of the service: rows 0, 1, 2 rank 1, 2, 3.
    ranks = relevant_ranks(np.full((2, 4), 0.5, dtype=np.float32), np.array([[1, 0, 0, 0], [0, 0, 1, 0]], dtype=bool))
    assert ranks.tolist() == [[1], [3]]
    assert ndcg_at_k(ranks, 10).tolist() == [1.0, 0.5]
    assert hits_at_k(ranks, 2).tolist() == [1.0, 0.0]
    assert reciprocal_rank(ranks).tolist() == [1.0, pytest.approx(1 / 3)]


def test_hand_computed_with_an_unranked_relevant_item() -> None:
    ranks = np.array([[2, 5, NOT_RANKED], [1, NO_ITEM, NO_ITEM], [NOT_RANKED, NO_ITEM, NO_ITEM]])
    ideal = 1 + 1 / math.log2(3) + 0.5
    assert recall_at_k(ranks, 5) == pytest.approx([2 / 3, 1, 0])
    assert ndcg_at_k(ranks, 5) == pytest.approx([(1 / math.log2(3) + 1 / math.log2(6)) / ideal, 1, 0])
    assert reciprocal_rank(ranks) == pytest.approx([0.5, 1, 0])


@given(ranks=RANKS, k=st.integers(1, 70))
def test_properties(ranks: list[int], k: int) -> None:
    array = np.array([ranks])
    values = [metric(array, k)[0] for metric in METRICS]
    assert all(0 <= value <= 1 + 1e-12 for value in values)
    assert values[0] == (recall_at_k(array, k)[0] > 0) == (ndcg_at_k(array, k)[0] > 0)
    assert hits_at_k(array, k)[0] <= hits_at_k(array, k + 1)[0]
    assert recall_at_k(array, k)[0] <= recall_at_k(array, k + 1)[0]
    better = np.sort(array) - (np.sort(array) > np.arange(1, len(ranks) + 1))  # move every item up by one where there is room
    assert ndcg_at_k(better, k)[0] >= ndcg_at_k(array, k)[0] - 1e-12
    assert ndcg_at_k(np.arange(1, len(ranks) + 1)[None], k)[0] == pytest.approx(1)


@pytest.mark.parametrize(
    ("ranks", "match"),
    [
        (np.array([[NO_ITEM], [1]]), "1 of 2 requests have no relevant item, the first is 0"),
        (np.array([-1]), "-1"),
        (np.array([1.5]), "float"),
    ],
)
def test_bad_ranks_are_refused(ranks: np.ndarray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        ndcg_at_k(ranks, 10)


def test_k_below_one_is_refused() -> None:
    with pytest.raises(DataError, match="k is 0"):
        hits_at_k(np.array([1]), 0)
