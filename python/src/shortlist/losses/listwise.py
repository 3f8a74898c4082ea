"""Losses of a whole list of candidates."""

from __future__ import annotations

from torch import Tensor

from shortlist.models.blocks import MASKED


def listwise_softmax(logits: Tensor, gains: Tensor, valid: Tensor) -> Tensor:
    """Cross-entropy [S] between the softmax of logits [S,M] and the normalised gains [S,M], over valid candidates [S,M] only.

    A list without any gain has nothing to teach and gives 0.
    """
    masked = logits.masked_fill(~valid, MASKED)
    gains = gains * valid
    total = gains.sum(dim=-1)
    log_probability = masked.log_softmax(dim=-1)
    return -(gains * log_probability).sum(dim=-1) / total.clamp(min=1e-9) * (total > 0)
