"""Hard negatives mined by the model's own previous checkpoint: it learns to tell its picks of yesterday from what users really did.

The opponent of an epoch is a frozen copy of the model as the epoch began, as in self-play fine-tuning (arXiv 2401.01335), with the softmax
over its picks in place of a reward difference.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from shortlist.models.two_tower import TwoTower, logit_scale
from shortlist.training.batches import LogTensors
from shortlist.training.config import SelfPlay
from shortlist.training.retrieval import SEEN


class Opponent:
    """Picks of the frozen copy, and the loss against them."""

    def __init__(self, model: TwoTower, log: LogTensors, config: SelfPlay) -> None:
        self.model, self.log, self.config = model, log, config
        self.frozen: TwoTower | None = None

    def begin_epoch(self, epoch: int) -> None:
        """Copy the model as it is now; a resumed run copies the same weights, those of its checkpoint."""
        if self.config.weight and epoch >= self.config.after:
            self.frozen = copy.deepcopy(self.model).eval().requires_grad_(False)

    def loss(self, index: Tensor, length: Tensor, target: Tensor, valid: Tensor, query: Tensor) -> Tensor:
        """Mean softmax loss of real next events against picks, at random positions.

        index [B,N] input events, length [B], target [B,N+1] the event after each state, valid [B,N+1] states that teach, query [S,K]
        the model's queries of the valid states in order, scaled as logits.
        """
        chosen = torch.randperm(len(query))[: self.config.positions].to(query.device)
        row, place = (axis[chosen] for axis in valid.nonzero(as_tuple=True))
        positive = self.log.rows(target[row, place])
        picks = self._picks(index, length, row, place, positive, target[row, place])
        rows, where = torch.unique(torch.cat((positive.unsqueeze(-1), picks), dim=1), return_inverse=True)
        vectors = self.model.item_vectors(self.log.item_columns(rows))[where]  # [s,1+picks,K]
        logits = torch.matmul(vectors, query[chosen].unsqueeze(-1)).squeeze(-1)
        return -logits.log_softmax(dim=-1)[:, 0].mean()

    @torch.no_grad()
    def _picks(self, index: Tensor, length: Tensor, row: Tensor, place: Tensor, positive: Tensor, event: Tensor) -> Tensor:
        """Random `picks` of the opponent's `pool` best items [s,picks] at states (row, place), without what was seen and the positive."""
        assert self.frozen is not None
        log, config = self.log, self.config
        users, inverse = torch.unique(row, return_inverse=True)
        states = self.frozen.states(log.history(index[users]), length[users])[inverse, place]
        query = self.frozen.query_vector(states, log.user_columns(log.event_user[event]), log.context_columns(event))
        scores = torch.matmul(query * logit_scale(self.frozen.config.retrieval_width), self.frozen.item_vectors(log.items).T)  # [s,I]
        before = torch.arange(index.shape[1], device=index.device) < place.unsqueeze(-1)
        scores.scatter_(1, torch.where(before, log.rows(index[row]).clamp(max=log.item_count - 1), positive.unsqueeze(-1)), SEEN)
        scores.scatter_(1, positive.unsqueeze(-1), SEEN)
        best = scores.topk(min(config.pool, scores.shape[1]), dim=1).indices
        drawn = torch.rand(best.shape).topk(min(config.picks, best.shape[1]), dim=1).indices.to(best.device)
        return best.gather(1, drawn)
