"""AUC, log-loss and calibration against torchmetrics and torch, by hand, and as properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchmetrics.functional.classification import binary_auroc, binary_calibration_error

from shortlist.errors import DataError
from shortlist.metrics.auc import auc, per_request_auc
from shortlist.metrics.calibration import calibration_ratio, expected_calibration_error, reliability_bins
from shortlist.metrics.log_loss import log_loss, normalized_entropy

OBSERVATIONS = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 5)), min_size=2, max_size=40).filter(
    lambda pairs: 0 < sum(label for label, _ in pairs) < len(pairs)
)


def observations(seed: int, *, ties: bool) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    probabilities = random.random(3000)
    labels = (random.random(3000) < probabilities**2).astype(np.int64)
    return labels, np.round(probabilities, 2) if ties else probabilities


@pytest.mark.parametrize("ties", [False, True])
def test_auc_equals_torchmetrics(ties: bool) -> None:
    labels, probabilities = observations(1, ties=ties)
    theirs = binary_auroc(torch.tensor(probabilities), torch.tensor(labels)).item()
    assert auc(labels, probabilities) == pytest.approx(theirs, abs=1e-6)


def test_per_request_auc_equals_auc_of_each_request() -> None:
    labels, scores = observations(2, ties=True)
    ptr = np.concatenate([[0, 0], np.sort(np.random.default_rng(3).integers(0, 3000, 600)), [3000]])
    values, requests = per_request_auc(labels, scores, ptr)
    expected = {}
    for request in range(len(ptr) - 1):
        part = slice(ptr[request], ptr[request + 1])
        if 0 < labels[part].sum() < len(labels[part]):
            expected[request] = binary_auroc(torch.tensor(scores[part]), torch.tensor(labels[part])).item()
    assert requests.tolist() == list(expected)
    np.testing.assert_allclose(values, list(expected.values()), atol=1e-6)


@given(OBSERVATIONS)
def test_auc_properties(pairs: list[tuple[int, int]]) -> None:
    labels, scores = np.array(pairs).T
    value = auc(labels, scores)
    wins = [(a > b) + 0.5 * (a == b) for x, a in pairs if x for y, b in pairs if not y]
    assert value == pytest.approx(sum(wins) / len(wins))
    assert auc(labels, -scores) == pytest.approx(1 - value)
    assert auc(labels, np.exp(scores)) == value  # only the order counts


def test_log_loss_equals_torch_and_by_hand() -> None:
    labels, probabilities = observations(4, ties=False)
    theirs = torch.nn.functional.binary_cross_entropy(torch.tensor(probabilities), torch.tensor(labels, dtype=torch.float64))
    assert log_loss(labels, probabilities) == pytest.approx(theirs.item(), abs=1e-9)
    assert log_loss([1, 0], [0.25, 0.5]) == pytest.approx((math.log(4) + math.log(2)) / 2)
    assert log_loss([1], [0.0]) == pytest.approx(-math.log(1e-7))


def test_normalized_entropy_of_the_base_rate_is_one() -> None:
    labels = np.array([1, 0, 0, 0])
    assert normalized_entropy(labels, np.full(4, 0.25)) == pytest.approx(1)
    assert normalized_entropy(labels, np.array([0.9, 0.1, 0.1, 0.1])) < 1


@pytest.mark.parametrize("bins", [1, 10, 15])
def test_calibration_error_equals_torchmetrics(bins: int) -> None:
    labels, probabilities = observations(5, ties=False)
    theirs = binary_calibration_error(torch.tensor(probabilities), torch.tensor(labels), n_bins=bins, norm="l1").item()
    assert expected_calibration_error(reliability_bins(labels, probabilities, bins)) == pytest.approx(theirs, abs=1e-6)


def test_calibration_by_hand() -> None:
    bins = reliability_bins([0, 1, 1, 1], [0.1, 0.3, 0.5, 0.9], bins=2)
    assert (bins.count.tolist(), bins.prediction.tolist(), bins.label.tolist()) == ([2, 2], [0.2, 0.7], [0.5, 1.0])
    assert expected_calibration_error(bins) == pytest.approx(0.3)
    assert calibration_ratio([0, 1, 1, 1], [0.1, 0.3, 0.5, 0.9]) == pytest.approx(0.6)


def test_bins_of_equal_mass_split_rare_outcomes() -> None:
    random = np.random.default_rng(6)
    probabilities = random.beta(1, 60, 10_000)
    labels = random.random(10_000) < probabilities
    assert (reliability_bins(labels, probabilities, 10).count > 0).sum() <= 4
    bins = reliability_bins(labels, probabilities, 10, edges="mass")
    assert bins.count.tolist() == [1000] * 10
    assert expected_calibration_error(bins) < 0.005


@given(OBSERVATIONS, st.integers(1, 20), st.sampled_from(["width", "mass"]))
def test_bins_hold_every_observation_once(pairs: list[tuple[int, int]], bins: int, edges: str) -> None:
    labels, scores = np.array(pairs).T
    result = reliability_bins(labels, scores / 5, bins, edges)
    assert result.count.sum() == len(pairs)
    assert len(result.count) <= bins
    assert (result.prediction * result.count).sum() == pytest.approx((scores / 5).sum())
    assert 0 <= expected_calibration_error(result) <= 1


@pytest.mark.parametrize(
    ("metric", "labels", "values", "match"),
    [
        (auc, [1, 1], [0.5, 0.4], "all 1"),
        (auc, [0, 2], [0.5, 0.4], r"labels is 2.0 at \[1\]"),
        (auc, [0, 1], [0.5, math.nan], "scores has 1 of 2"),
        (auc, [0, 1], [0.5], "shapes differ"),
        (log_loss, [0, 1], [0.5, 1.5], "range from 0.5 to 1.5"),
        (log_loss, [], [], "are empty"),
        (calibration_ratio, [0, 0], [0.5, 0.4], "without a positive"),
        (normalized_entropy, [0, 0], [0.5, 0.4], "all labels are 0"),
    ],
)
def test_bad_input_is_refused(metric: object, labels: list[int], values: list[float], match: str) -> None:
    with pytest.raises(DataError, match=match):
        metric(labels, values)
