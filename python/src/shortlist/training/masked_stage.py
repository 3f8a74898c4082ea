"""Stage 1 of BERT4Rec: fill in masked events of every history."""

from __future__ import annotations

import torch
from torch import Tensor

from shortlist.models.bert4rec import Bert4Rec
from shortlist.models.two_tower import logit_scale
from shortlist.training.batches import Rows
from shortlist.training.two_tower_stage import TwoTowerStage


class MaskedStage(TwoTowerStage):
    """Hides `mask_share` of the events, and at least one of each history: the newest, where chance would have hidden none."""

    parallel = False  # masks are drawn for a whole batch

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        log, model, sequences = self.log, self.model, self.sequences
        assert isinstance(model, Bert4Rec)
        with self.making:
            # A training stretch holds a window and one event more; the window's newest events are the whole of what the model can see.
            kept = torch.from_numpy(sequences.length[batch]).clamp(max=log.schema.history_max_events).to(log.device)
            start = torch.from_numpy(sequences.start[batch] + sequences.length[batch]).to(log.device) - kept
            index, valid = log.event_index(start, kept, int(kept.max()))
            masked = (torch.rand(index.shape) < self.config.mask_share).to(log.device) & valid
            newest = torch.arange(index.shape[1], device=log.device) == (kept - 1).unsqueeze(-1)
            masked |= newest & ~masked.any(dim=1, keepdim=True)
        states = model.masked_states(self._events(index), masked, kept)[masked]  # [S,D]
        event = index[masked]
        query = model.query_vector(states, log.user_columns(log.event_user[event]), log.context_columns(event))
        weight = self.action_weights[log.actions(event)]
        query = query * logit_scale(model.config.retrieval_width)
        return {"loss": self._loss(query, log.rows(event), weight / weight.sum().clamp(min=1e-9))}
