"""Losses of one positive against negatives that all queries of a batch share, without ever holding the logits [S,n].

The forward pass walks over the queries in blocks that stay in the processor's cache, and makes the gradients as it goes, so the backward
pass only scales them. Time and memory are those of the matrix products.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from shortlist.models.blocks import MASKED

Form = Literal["softmax", "binary"]
_CELLS = 1 << 19  # logits in flight: a block of them fits into a core's cache
_LOW_PRECISION = torch.bfloat16


def shared_negatives_loss(
    query: Tensor,
    positive: Tensor,
    negatives: Tensor,
    own: Tensor,
    shift: Tensor,
    weight: Tensor,
    *,
    form: Form = "softmax",
    positive_power: float = 1.0,
    low_precision: bool = False,
) -> Tensor:
    """The weighted sum of the losses of S queries, a scalar.

    query and positive [S,K], negatives [n,K] (each item once), own [S] the place of the positive among the negatives or -1 (it does not
    count there), shift [n] added to the negatives' logits, weight [S]. With t the positive's logit and l those of the negatives:

    - softmax: log(exp t + sum exp l) - t. With the whole catalog as negatives and no shift this is the full cross-entropy; with minus the
      log of expected counts as shift it estimates it (LogQ correction).
    - binary: -`positive_power` log sigmoid(t) - sum exp(shift) log sigmoid(-l), the form of BCE and gBCE (arXiv 2308.07192).

    `low_precision` multiplies in bfloat16, as training on a GPU does; sums are fp32 in any case.
    """
    loss: Tensor = _SharedNegatives.apply(query, positive, negatives, own, shift, weight, form, positive_power, low_precision)
    return loss


class _SharedNegatives(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        positive: Tensor,
        negatives: Tensor,
        own: Tensor,
        shift: Tensor,
        weight: Tensor,
        form: Form,
        positive_power: float,
        low_precision: bool,
    ) -> Tensor:
        query, positive, negatives = query.float(), positive.float(), negatives.float()
        target = (query * positive).sum(dim=-1)
        kind = _LOW_PRECISION if low_precision else torch.float32
        narrow_query, narrow = query.to(kind), negatives.to(kind)
        step = max(1, _CELLS // max(1, len(negatives)))
        grad_query, grad_target = torch.empty_like(query), torch.empty_like(target)
        grad_negatives = torch.zeros_like(negatives)
        total = torch.zeros((), dtype=torch.float32, device=query.device)
        spread = shift.exp()
        for begin in range(0, len(query), step):
            block = slice(begin, begin + step)
            part, known = narrow_query[block], own[block]
            logits = torch.matmul(part, narrow.T).float()
            if form == "softmax":
                logits += shift
            hit = (known >= 0).nonzero().squeeze(-1)
            logits[hit, known[hit]] = MASKED
            if form == "softmax":
                losses, slope, pull = _softmax(logits, target[block])
            else:
                losses, slope, pull = _binary(logits, target[block], spread, positive_power)
            total += (losses * weight[block]).sum()
            slope *= weight[block].unsqueeze(-1)
            slope = slope.to(kind)
            grad_query[block] = torch.matmul(slope, narrow)
            grad_negatives += torch.matmul(slope.T, part)
            grad_target[block] = pull * weight[block]
        ctx.save_for_backward(query, positive, grad_query, grad_negatives, grad_target)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, positive, grad_query, grad_negatives, grad_target = ctx.saved_tensors
        pull = grad_target.unsqueeze(-1)
        return (grad_query + pull * positive) * grad, pull * query * grad, grad_negatives * grad, None, None, None, None, None, None


def _softmax(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Losses [s], slopes of the logits (in place of them) [s,n] and of the targets [s]."""
    highest = logits.amax(dim=-1, keepdim=True)
    odds = logits.sub_(highest).exp_()
    total = odds.sum(dim=-1)
    losses = functional.softplus(highest.squeeze(-1) + total.log() - target)
    missed = -torch.expm1(-losses)  # 1 - the probability of the positive
    return losses, odds.mul_((missed / total).unsqueeze(-1)), -missed


def _binary(logits: Tensor, target: Tensor, spread: Tensor, positive_power: float) -> tuple[Tensor, Tensor, Tensor]:
    losses = positive_power * functional.softplus(-target) + torch.mv(functional.softplus(logits), spread)
    return losses, logits.sigmoid_().mul_(spread), positive_power * (torch.sigmoid(target) - 1)
