from __future__ import annotations

import numpy as np
import pytest

from shortlist.errors import DataError
from shortlist.evaluation.bootstrap import estimate_means, paired_difference


def test_interval_of_independent_values_is_the_normal_one() -> None:
    random = np.random.default_rng(0)
    values = random.normal(3, 2, 2000)
    estimate = estimate_means({"x": values}, np.arange(2000))["x"]
    half_width = 1.96 * values.std() / np.sqrt(2000)
    assert estimate.value == values.mean()
    assert (estimate.low, estimate.high) == pytest.approx((values.mean() - half_width, values.mean() + half_width), abs=0.1 * half_width)


def test_users_are_drawn_not_targets() -> None:
    random = np.random.default_rng(1)
    user = np.repeat(np.arange(100), 20)
    values = random.normal(size=100)[user]  # a user's targets are all alike, so there are 100 observations, not 2000
    clustered = estimate_means({"x": values}, user)["x"]
    naive = estimate_means({"x": values}, np.arange(2000))["x"]
    assert clustered.low is not None
    assert clustered.high is not None
    assert naive.low is not None
    assert naive.high is not None
    assert (clustered.high - clustered.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(20), rel=0.2)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(2)
    covered = 0
    for seed in range(100):
        estimate = estimate_means({"x": random.binomial(1, 0.3, 300).astype(float)}, np.arange(300), seed)["x"]
        assert estimate.low is not None
        assert estimate.high is not None
        covered += estimate.low <= 0.3 <= estimate.high
    assert 88 <= covered <= 100


def test_same_seed_gives_the_same_interval_and_pairs_cancel_noise() -> None:
    random = np.random.default_rng(3)
    shared = random.normal(size=500)
    users = np.arange(500)
    difference = paired_difference(shared + 0.1, shared, users)
    assert (difference.value, difference.low, difference.high) == pytest.approx((0.1, 0.1, 0.1))
    assert estimate_means({"x": shared}, users) == estimate_means({"x": shared}, users)


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="same targets"):
        paired_difference(np.zeros(2), np.zeros(3), np.arange(2))
    with pytest.raises(DataError, match="x has 1 of 2"):
        estimate_means({"x": np.array([0.0, np.nan])}, np.arange(2))
    with pytest.raises(DataError, match="0 values"):
        estimate_means({"x": np.zeros(0)}, np.zeros(0, dtype=np.int64))
