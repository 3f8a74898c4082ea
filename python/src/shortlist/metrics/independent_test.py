"""Every metric against an independent definition, to 1e-9 in float64, on random inputs full of ties.

Where a library has the metric it is the judge: scikit-learn, which computes in float64 (torchmetrics does not). Ties of a ranking are
broken for it as the service breaks them: its scores are the negated places under the tie rule. The rest are plain loops over definitions.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.stats import rankdata
from sklearn import metrics as sklearn

from shortlist.metrics.auc import auc, per_request_auc
from shortlist.metrics.calibration import calibration_ratio, expected_calibration_error, reliability_bins
from shortlist.metrics.coverage import catalog_coverage
from shortlist.metrics.diversity import intra_list_diversity
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.log_loss import EPSILON, log_loss, normalized_entropy
from shortlist.metrics.mrr import reciprocal_rank
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.metrics.novelty import novelty
from shortlist.metrics.order import relevant_ranks
from shortlist.metrics.popularity_bias import mean_popularity_rank, popularity_lift
from shortlist.metrics.recall import recall_at_k
from shortlist.metrics.value import value_at_k, value_weighted

CLOSE = 1e-9
EXAMPLES = settings(max_examples=25, deadline=None)
SEEDS = st.integers(0, 2**32 - 1)
ITEMS = 25


def tied_requests(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores [B,I] of five distinct values, relevant items [B,I] with at least one, and places [B,I] under the tie rule, from 1."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 6))
    scores = random.choice(np.array([-1.5, -0.0, 0.0, 1e-30, 2.0], dtype=np.float32), (count, ITEMS))
    relevant = random.random((count, ITEMS)) < random.uniform(0.02, 0.5)
    relevant[np.arange(count), random.integers(0, ITEMS, count)] = True
    places = np.empty((count, ITEMS))
    for request, row in enumerate(scores.tolist()):
        for place, item in enumerate(sorted(range(ITEMS), key=lambda item: (-row[item], item)), start=1):
            places[request, item] = place
    return scores, relevant, places


def observations(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes and probabilities of few values, 0 and 1 among them."""
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 80))
    labels = random.integers(0, 2, count)
    labels[:2] = [0, 1]
    return labels, random.choice([0.0, 0.05, 0.1, 0.3, 0.31, 0.7, 1.0], count)


def lists_and_counts(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Lists [B,K] of distinct items, some padded, and training counts [I] with ties and zeros."""
    random = np.random.default_rng(seed)
    lists = np.stack([random.permutation(ITEMS)[:6] for _ in range(int(random.integers(1, 6)))])
    for row in lists:
        row[int(random.integers(1, 7)) :] = -1
    return lists, random.choice([0, 1, 1, 3, 3, 50], ITEMS)


def shown(row: np.ndarray) -> list[int]:
    return [item for item in row.tolist() if item >= 0]


@EXAMPLES
@given(SEEDS, st.sampled_from([1, 3, 10, ITEMS, ITEMS + 5]))
def test_ranking_metrics(seed: int, k: int) -> None:
    scores, relevant, places = tied_requests(seed)
    ranks = relevant_ranks(scores, relevant)
    ndcg = [sklearn.ndcg_score([good], [-place], k=k) for good, place in zip(relevant, places, strict=True)]
    np.testing.assert_allclose(ndcg_at_k(ranks, k), ndcg, rtol=0, atol=CLOSE)
    first = [min(place[good]) for good, place in zip(relevant, places, strict=True)]
    np.testing.assert_allclose(reciprocal_rank(ranks), [1 / place for place in first], rtol=0, atol=CLOSE)
    found = [sklearn.recall_score(good, place <= k) for good, place in zip(relevant, places, strict=True)]
    np.testing.assert_allclose(recall_at_k(ranks, k), found, rtol=0, atol=CLOSE)
    np.testing.assert_array_equal(hits_at_k(ranks, k), [float(place <= k) for place in first])


@EXAMPLES
@given(SEEDS)
def test_reciprocal_rank_of_a_single_item_is_sklearns(seed: int) -> None:
    scores, relevant, places = tied_requests(seed)
    single = np.zeros_like(relevant)
    single[np.arange(len(single)), relevant.argmax(axis=1)] = True
    theirs = sklearn.label_ranking_average_precision_score(single, -places)
    assert abs(reciprocal_rank(relevant_ranks(scores, single)).mean() - theirs) < CLOSE


@EXAMPLES
@given(SEEDS, st.sampled_from([1, 3, 10]))
def test_value_metrics(seed: int, k: int) -> None:
    scores, relevant, places = tied_requests(seed)
    target = relevant.argmax(axis=1)
    ranks = places[np.arange(len(places)), target].astype(np.int64)
    values = np.random.default_rng(seed).choice([0.0, 0.5, 0.5, 999.0], len(ranks))
    values[0] = 7.0
    single = np.zeros_like(relevant)
    single[np.arange(len(single)), target] = True
    ndcg = sklearn.ndcg_score(single, -places, k=k, sample_weight=values)
    assert abs(value_weighted(ndcg_at_k(relevant_ranks(scores, single), k), values) - ndcg) < CLOSE
    hit = sklearn.accuracy_score(np.ones(len(ranks)), ranks <= k, sample_weight=values)
    assert abs(value_weighted(hits_at_k(ranks, k), values) - hit) < CLOSE
    money = sum(value for value, rank in zip(values.tolist(), ranks.tolist(), strict=True) if rank <= k) / len(ranks)
    assert abs(value_at_k(ranks, values, k).mean() - money) < CLOSE


@EXAMPLES
@given(SEEDS)
def test_auc(seed: int) -> None:
    labels, scores = observations(seed)
    assert abs(auc(labels, scores) - sklearn.roc_auc_score(labels, scores)) < CLOSE
    ptr = np.concatenate([[0], np.sort(np.random.default_rng(seed).integers(0, len(labels) + 1, 4)), [len(labels)]])
    parts = [(request, slice(ptr[request], ptr[request + 1])) for request in range(5)]
    both = {request: part for request, part in parts if len(set(labels[part].tolist())) == 2}
    values, requests = per_request_auc(labels, scores, ptr)
    assert requests.tolist() == list(both)
    np.testing.assert_allclose(values, [sklearn.roc_auc_score(labels[part], scores[part]) for part in both.values()], rtol=0, atol=CLOSE)


@EXAMPLES
@given(SEEDS)
def test_log_loss_and_normalized_entropy(seed: int) -> None:
    labels, probabilities = observations(seed)
    theirs = sklearn.log_loss(labels, np.clip(probabilities, EPSILON, 1 - EPSILON))
    assert abs(log_loss(labels, probabilities) - theirs) < CLOSE
    base = sklearn.log_loss(labels, np.full(len(labels), labels.mean()))
    assert abs(normalized_entropy(labels, probabilities) - theirs / base) < CLOSE


@EXAMPLES
@given(SEEDS, st.sampled_from([1, 4, 10]))
def test_calibration(seed: int, bins: int) -> None:
    labels, probabilities = observations(seed)
    error = 0.0
    cuts = [number / bins for number in range(1, bins)]
    members = Counter(sum(p >= cut for cut in cuts) for p in probabilities.tolist())
    for number, size in members.items():
        inside = [i for i, p in enumerate(probabilities.tolist()) if sum(p >= cut for cut in cuts) == number]
        error += size / len(labels) * abs(math.fsum(probabilities[inside]) / size - sum(labels[inside]) / size)
    assert abs(expected_calibration_error(reliability_bins(labels, probabilities, bins)) - error) < CLOSE
    assert abs(calibration_ratio(labels, probabilities) - math.fsum(probabilities) / sum(labels)) < CLOSE


@EXAMPLES
@given(SEEDS)
def test_what_lists_are_like(seed: int) -> None:
    lists, counts = lists_and_counts(seed)
    assert catalog_coverage(lists, ITEMS) == len({item for row in lists for item in shown(row)}) / ITEMS
    total = sum(counts.tolist()) + ITEMS
    bits = [np.mean([-math.log2((counts[item] + 1) / total) for item in shown(row)]) for row in lists]
    np.testing.assert_allclose(novelty(lists, counts), bits, rtol=0, atol=CLOSE)
    percentile = (rankdata(counts) - 1) / (ITEMS - 1)  # mean ranks of ties
    popular = [np.mean([percentile[item] for item in shown(row)]) for row in lists]
    np.testing.assert_allclose(mean_popularity_rank(lists, counts), popular, rtol=0, atol=CLOSE)
    targets = np.random.default_rng(seed).integers(0, ITEMS, len(lists))
    if counts[targets].any():
        lift = np.mean([counts[item] for row in lists for item in shown(row)]) / np.mean([counts[target] for target in targets])
        assert abs(popularity_lift(lists, targets, counts) - lift) < CLOSE


@EXAMPLES
@given(SEEDS)
def test_diversity(seed: int) -> None:
    lists, _ = lists_and_counts(seed)
    vectors = np.random.default_rng(seed).integers(0, 3, (ITEMS, 4)).astype(np.float64)  # equal and zero vectors among them
    distance = [[cosine(a, b) if a.any() and b.any() else 1.0 for b in vectors] for a in vectors]
    expected = [np.mean([distance[a][b] for a, b in combinations(shown(row), 2)]) if len(shown(row)) > 1 else 0.0 for row in lists]
    np.testing.assert_allclose(intra_list_diversity(lists, vectors), expected, rtol=0, atol=CLOSE)
