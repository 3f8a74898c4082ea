"""Losses against definitions written out in full."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from shortlist.losses import shared_negatives
from shortlist.losses.listwise import listwise_softmax
from shortlist.losses.pointwise import binary_cross_entropy
from shortlist.losses.shared_negatives import shared_negatives_loss

torch.set_num_threads(1)


def drawn(form: str, *, low_precision: bool = False) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The loss and its gradients by the blocks, and written out with every logit."""
    torch.manual_seed(0)
    query, positive, negatives = (torch.randn(n, 8, requires_grad=True) for n in (50, 50, 30))
    own = torch.where(torch.rand(50) < 0.3, torch.randint(30, (50,)), -1)
    shift, weight = torch.randn(30), torch.rand(50)
    leaves = (query, positive, negatives)
    loss = shared_negatives_loss(*leaves, own, shift, weight, form=form, positive_power=0.4, low_precision=low_precision)  # type: ignore[arg-type]
    found = (loss, *torch.autograd.grad(3 * loss, leaves))
    target = (query * positive).sum(dim=-1)
    counts = torch.arange(30) != own.unsqueeze(-1)
    logits = query @ negatives.T
    if form == "softmax":
        every = torch.cat((target.unsqueeze(-1), (logits + shift).masked_fill(~counts, -torch.inf)), dim=1)
        losses = every.logsumexp(dim=-1) - target
    else:
        losses = -0.4 * functional.logsigmoid(target) - (functional.logsigmoid(-logits) * shift.exp() * counts).sum(dim=-1)
    expected = (losses * weight).sum()
    return found, (expected, *torch.autograd.grad(3 * expected, leaves))


@pytest.mark.parametrize("cells", [1, 97, 1 << 19])
@pytest.mark.parametrize("form", ["softmax", "binary"])
def test_blocks_give_the_loss_and_gradients_of_all_logits_at_once(form: str, cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_negatives, "_CELLS", cells)
    for value, expected in zip(*drawn(form), strict=True):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", ["softmax", "binary"])
def test_low_precision_stays_near(form: str) -> None:
    (loss, *gradients), (expected, *exact) = drawn(form, low_precision=True)
    assert loss.item() == pytest.approx(expected.item(), rel=0.01)
    for gradient, true in zip(gradients, exact, strict=True):
        assert (gradient - true).norm() < 0.02 * true.norm()


def test_the_whole_catalog_as_negatives_gives_the_cross_entropy() -> None:
    torch.manual_seed(0)
    items, query = torch.randn(7, 4), torch.randn(5, 4)
    rows = torch.tensor([0, 3, 6, 3, 1])
    loss = shared_negatives_loss(query, items[rows], items, rows, torch.zeros(7), torch.ones(5))
    torch.testing.assert_close(loss, functional.cross_entropy(query @ items.T, rows, reduction="sum"))


def test_a_positive_that_is_the_only_negative_leaves_nothing_to_lose() -> None:
    query = torch.ones(1, 2)
    loss = shared_negatives_loss(query, query, query, torch.zeros(1, dtype=torch.int64), torch.zeros(1), torch.ones(1))
    assert loss.item() == 0.0


def test_extreme_logits_have_finite_losses_and_gradients() -> None:
    for form in ("softmax", "binary"):
        query = torch.full((2, 4), 1e3, requires_grad=True)
        negatives = torch.stack((torch.full((4,), 1e3), torch.full((4,), -1e3)))
        loss = shared_negatives_loss(query, -query.detach(), negatives, torch.tensor([-1, 0]), torch.zeros(2), torch.ones(2), form=form)  # type: ignore[arg-type]
        loss.backward()
        assert query.grad is not None
        assert torch.isfinite(loss)
        assert torch.isfinite(query.grad).all()


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
