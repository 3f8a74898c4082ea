"""The in-batch softmax against its definition written out, and its correction against drawing batches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.losses.in_batch import in_batch_softmax, log_inclusion

torch.set_num_threads(1)


def test_by_hand() -> None:
    """Requests 0 and 2 have the same item: to each other no negatives, and one negative together to request 1."""
    torch.manual_seed(0)
    query, items = torch.randn(3, 4), torch.randn(2, 4)
    rows, shares = torch.tensor([7, 3, 7]), torch.tensor([0.2, 0.05, 0.2])
    loss = in_batch_softmax(query, items[[0, 1, 0]], rows, shares)
    inside = 1 - (1 - torch.tensor([0.2, 0.05])) ** 3
    corrected = (query @ items.T).exp() / inside
    raw = (query @ items.T).exp()
    wanted = [
        -torch.log(raw[0, 0] / (raw[0, 0] + corrected[0, 1])),
        -torch.log(raw[1, 1] / (raw[1, 1] + corrected[1, 0])),
        -torch.log(raw[2, 0] / (raw[2, 0] + corrected[2, 1])),
    ]
    torch.testing.assert_close(loss, torch.stack(wanted).mean())


def test_one_item_has_nothing_to_lose_against() -> None:
    assert in_batch_softmax(torch.ones(2, 3), torch.ones(2, 3), torch.tensor([4, 4]), torch.tensor([0.5, 0.5])).item() == 0.0


def test_the_correction_is_the_probability_of_being_there() -> None:
    torch.manual_seed(0)
    shares = torch.tensor([0.6, 0.3, 0.09, 0.01])
    batches = torch.multinomial(shares, 8 * 20_000, replacement=True).view(20_000, 8)
    there = torch.stack([(batches == item).any(dim=1).float().mean() for item in range(4)])
    torch.testing.assert_close(log_inclusion(shares, 8).exp(), there, atol=0.01, rtol=0.0)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.integers(1, 100_000))
def test_the_correction_is_finite_and_grows_with_share_and_batch(share: float, draws: int) -> None:
    now, more = log_inclusion(torch.tensor([share]), draws), log_inclusion(torch.tensor([min(1.0, share * 1.1)]), draws + 1)
    assert torch.isfinite(now).all()
    assert now <= more <= 0


@pytest.mark.parametrize("share", [1e-9, 1e-6])
def test_rare_items_keep_their_precision(share: float) -> None:
    assert log_inclusion(torch.tensor([share]), 10).exp().item() == pytest.approx(10 * share, rel=1e-4)
