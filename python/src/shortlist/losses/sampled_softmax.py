"""Sampled softmax over shared negatives, corrected for how they were drawn."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from shortlist.models.blocks import MASKED


def sampled_softmax(
    query: Tensor, positive: Tensor, negatives: Tensor, log_expected: Tensor, positive_rows: Tensor, negative_rows: Tensor
) -> Tensor:
    """Cross-entropy [S] of each positive against itself and the shared negatives.

    query and positive [S,K], negatives [n,K], rows are catalog rows [S] and [n]. Each negative's logit is lowered by `log_expected` [n],
    the log of how often it is expected among the draws, so that the sum over negatives estimates the sum over the catalog (LogQ
    correction). The positive is there for certain and keeps its logit. Negatives equal to the positive do not count.
    """
    target = (query * positive).sum(dim=-1)
    logits = torch.matmul(query, negatives.T) - log_expected
    logits = logits.masked_fill(positive_rows.unsqueeze(-1) == negative_rows, MASKED)
    return functional.softplus(logits.logsumexp(dim=-1) - target)


def draw_negatives(targets: Tensor, items: int, in_batch: int, uniform: int, popularity: Tensor) -> tuple[Tensor, Tensor]:
    """Draw rows [n] from the batch's `targets` [S] and from all `items`, with the log of their expected number of draws [n].

    `popularity` [I] is each item's share of the training events, which is how in-batch draws are distributed. All draws use the default
    generator of torch, so a restored generator state repeats them.
    """
    device = targets.device
    from_batch = targets[torch.randint(len(targets), (in_batch,)).to(device)]
    from_catalog = torch.randint(items, (uniform,)).to(device)
    rows = torch.cat((from_batch, from_catalog))
    expected = in_batch * popularity[rows] + uniform / items
    return rows, expected.log()
