"""Shared negatives: estimates without a bias, draws that repeat."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from shortlist.errors import ConfigError
from shortlist.training.config import Optimisation, TwoTowerTraining
from shortlist.training.negatives import NegativeSampler, item_shares, place_of

torch.set_num_threads(1)
ITEMS = 50


def popularity() -> torch.Tensor:
    torch.manual_seed(0)
    counts = torch.rand(ITEMS) ** 3
    return counts / counts.sum()


def config(**changes: object) -> TwoTowerTraining:
    values: dict[str, object] = {"in_batch_negatives": 0, "uniform_negatives": 0, "popularity_negatives": 0}
    return TwoTowerTraining(optimisation=Optimisation(epochs=1), **(values | changes))  # type: ignore[arg-type]


MIXES = [
    {"in_batch_negatives": 300},
    {"uniform_negatives": 300},
    {"popularity_negatives": 300},
    {"in_batch_negatives": 100, "uniform_negatives": 100, "popularity_negatives": 100},
]


@pytest.mark.parametrize("correction", ["expected", "inclusion"])
@pytest.mark.parametrize("mix", MIXES)
def test_corrected_draws_estimate_the_sum_over_the_catalog(mix: dict[str, object], correction: str) -> None:
    shares = popularity()
    sampler = NegativeSampler(config(correction=correction, **mix), shares)
    logits = torch.randn(ITEMS) + 3 * shares * ITEMS  # popular items score higher
    estimates = []
    for _ in range(400):
        drawn = sampler(torch.multinomial(shares, 500, replacement=True))
        estimates.append((logits[drawn.rows] + drawn.shift).exp().sum())
    assert torch.stack(estimates).mean().item() == pytest.approx(logits.exp().sum().item(), rel=0.05)


def test_without_a_correction_popular_items_weigh_too_much() -> None:
    shares = popularity()
    sampler = NegativeSampler(config(correction="none", in_batch_negatives=300), shares)
    drawn = sampler(torch.multinomial(shares, 500, replacement=True))
    assert drawn.shift.exp().sum().item() == pytest.approx(300)
    popular = shares[drawn.rows] > shares.mean()
    assert drawn.shift[popular].mean() > drawn.shift[~popular].mean() + 0.5


def test_draws_repeat_with_the_generator_and_hold_each_item_once() -> None:
    sampler = NegativeSampler(config(in_batch_negatives=40, uniform_negatives=40, popularity_negatives=40), popularity())
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(sampler(torch.arange(ITEMS)).rows)
    assert torch.equal(*draws)
    assert len(draws[0].unique()) == len(draws[0])


def test_the_full_softmax_takes_the_whole_catalog() -> None:
    drawn = NegativeSampler(config(loss="full_softmax"), popularity())(torch.arange(3))
    assert torch.equal(drawn.rows, torch.arange(ITEMS))
    assert (drawn.shift == 0).all()


def test_no_negatives_at_all_are_refused() -> None:
    with pytest.raises(ConfigError, match="has no negatives"):
        NegativeSampler(config(), popularity())


def test_places_of_rows() -> None:
    assert place_of(torch.tensor([4, 2, 9]), torch.tensor([9, 4, 0]), 10).tolist() == [2, 0, -1]


@pytest.mark.parametrize(("width", "depth"), [(1 << 8, 2), (1 << 10, 4)])
def test_a_sketch_bounds_the_error_of_the_correction(width: int, depth: int) -> None:
    """The correction of an item moves by log(1 + error / share), and the error of a share is rarely above 2e / width and never below 0."""
    items, rng = 5000, np.random.default_rng(0)
    rows = np.minimum(rng.zipf(1.3, 200_000) - 1, items - 1)
    exact = item_shares(rows, items, config(in_batch_negatives=64))
    sketched = item_shares(rows, items, config(in_batch_negatives=64, frequencies="count_min", sketch_width=width, sketch_depth=depth))
    bound = 2 * np.e / width
    assert (sketched >= exact * (1 - 1e-6)).all()
    assert (sketched > exact + bound).mean() <= np.exp(-depth)
    assert (sketched > exact).any(), "the sketch is too large to collide, so that this shows nothing"

    def shifts(shares: np.ndarray) -> torch.Tensor:
        torch.manual_seed(1)
        return NegativeSampler(config(in_batch_negatives=64), torch.from_numpy(shares))(torch.from_numpy(rows[:1000])).shift

    torch.manual_seed(1)
    drawn = NegativeSampler(config(in_batch_negatives=64), torch.from_numpy(exact))(torch.from_numpy(rows[:1000])).rows.numpy()
    moved = (shifts(exact) - shifts(sketched)).numpy()
    assert (moved >= -1e-5).all()
    within = sketched[drawn] <= exact[drawn] + bound
    assert (moved[within] <= np.log1p(bound / exact[drawn][within]) + 1e-5).all()


def test_exact_frequencies_are_shares() -> None:
    shares = item_shares(np.array([0, 2, 2, 3]), 5, config(in_batch_negatives=1))
    np.testing.assert_array_equal(shares, np.array([0.25, 0, 0.5, 0.25, 0], dtype=np.float32))
