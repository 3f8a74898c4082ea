"""Losses of one prediction at a time."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, labels: Tensor, focus: float = 0.0) -> Tensor:
    """Elementwise cross-entropy of logits and 0/1 labels of one shape; `focus` > 0 is the focal loss's gamma (arXiv 1708.02002).

    Focal loss multiplies by (1 - probability of the true class)^gamma, so that easy examples count less.
    """
    loss = functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    if focus == 0.0:
        return loss
    # exp(-loss) is the probability of the true class.
    result: Tensor = loss * (1.0 - (-loss).exp()) ** focus
    return result
