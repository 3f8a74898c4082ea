"""Losses against definitions written out in full."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from shortlist.losses.listwise import listwise_softmax
from shortlist.losses.pointwise import binary_cross_entropy
from shortlist.losses.sampled_softmax import draw_negatives, sampled_softmax

torch.set_num_threads(1)


def test_sampled_softmax_over_the_whole_catalog_is_the_full_softmax() -> None:
    torch.manual_seed(0)
    items, query = torch.randn(7, 4), torch.randn(5, 4)
    rows = torch.tensor([0, 3, 6, 3, 1])
    everything = torch.arange(7)
    loss = sampled_softmax(query, items[rows], items, torch.zeros(7), rows, everything)
    torch.testing.assert_close(loss, functional.cross_entropy(query @ items.T, rows, reduction="none"))


def test_accidental_hits_do_not_count() -> None:
    torch.manual_seed(0)
    query, positive, negatives = torch.randn(1, 4), torch.randn(1, 4), torch.randn(3, 4)
    expected = torch.zeros(3)
    hit = sampled_softmax(query, positive, negatives, expected, torch.tensor([5]), torch.tensor([5, 1, 2]))
    without = sampled_softmax(query, positive, negatives[1:], expected[1:], torch.tensor([5]), torch.tensor([1, 2]))
    torch.testing.assert_close(hit, without)


def test_only_accidental_hits_leave_nothing_to_lose() -> None:
    query = torch.ones(1, 2)
    loss = sampled_softmax(query, query, query, torch.zeros(1), torch.tensor([4]), torch.tensor([4]))
    assert loss.item() == 0.0


def test_the_correction_makes_the_sampled_sum_unbiased() -> None:
    """The mean over many draws of sum(exp(logit - log expected)) is the sum over the catalog."""
    torch.manual_seed(0)
    items, batch = 50, 4000
    popularity = torch.rand(items) ** 3
    popularity /= popularity.sum()
    logits = torch.randn(items)
    targets = torch.multinomial(popularity, batch, replacement=True)
    rows, log_expected = draw_negatives(targets, items, 60_000, 60_000, popularity)
    estimate = (logits[rows] - log_expected).exp().sum()
    assert estimate.item() == pytest.approx(logits.exp().sum().item(), rel=0.05)


def test_draws_repeat_with_the_generator() -> None:
    popularity = torch.full((10,), 0.1)
    draws = []
    for _ in range(2):
        torch.manual_seed(3)
        draws.append(draw_negatives(torch.arange(10), 10, 5, 5, popularity)[0])
    assert torch.equal(*draws)


def test_focal_loss_by_hand() -> None:
    logits, labels = torch.tensor([2.0, -1.0]), torch.tensor([1.0, 1.0])
    probability = torch.sigmoid(logits)
    torch.testing.assert_close(binary_cross_entropy(logits, labels), -probability.log())
    torch.testing.assert_close(binary_cross_entropy(logits, labels, focus=2.0), -((1 - probability) ** 2) * probability.log())


def test_listwise_softmax_ignores_invalid_candidates_and_empty_lists() -> None:
    logits = torch.tensor([[1.0, 2.0, 9.0], [0.0, 1.0, 2.0]])
    gains = torch.tensor([[1.0, 0.0, 5.0], [0.0, 0.0, 0.0]])
    valid = torch.tensor([[True, True, False], [True, True, True]])
    loss = listwise_softmax(logits, gains, valid)
    torch.testing.assert_close(loss, torch.stack((-functional.log_softmax(logits[0, :2], dim=0)[0], torch.tensor(0.0))))


def test_losses_of_extreme_logits_have_finite_gradients() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    gains = torch.tensor([[0.0, 1.0, 0.0]])
    loss = listwise_softmax(logits, gains, torch.ones_like(gains, dtype=torch.bool)).sum() + binary_cross_entropy(logits, gains, 2.0).sum()
    loss.backward()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()
