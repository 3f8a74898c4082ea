"""In-batch softmax: every item that is the answer to some request of the batch is a negative of the others."""

from __future__ import annotations

import torch
from torch import Tensor

from shortlist.losses.shared_negatives import shared_negatives_loss


def in_batch_softmax(query: Tensor, vectors: Tensor, rows: Tensor, shares: Tensor) -> Tensor:
    """Mean cross-entropy of each request's item against the distinct other items of the batch.

    query and vectors [S,K], `rows` [S] the catalog rows of the vectors, `shares` [S] how often each item is an answer in the data. An
    item counts once however often it is there, so the correction is that of being there at all (InteractRank, arXiv 2504.06609).
    """
    distinct, place = torch.unique(rows, return_inverse=True)
    first = torch.zeros_like(distinct).scatter_(0, place, torch.arange(len(rows), device=rows.device))  # some place of each item
    shift, weight = -log_inclusion(shares[first], len(rows)), torch.full_like(query[:, 0], 1 / len(rows))
    return shared_negatives_loss(query, vectors, vectors[first], place, shift, weight)


def log_inclusion(shares: Tensor, draws: int) -> Tensor:
    """log(1 - (1 - p)^B): of the probability that an item of share p [...] is among B draws."""
    absent = draws * torch.log1p(-shares.double().clamp(1e-12, 1 - 1e-12))
    return torch.log(-torch.expm1(absent)).to(shares.dtype)
