"""What the preranker and the ranker train on: lists of candidates with labels and counters, at positions of histories.

Lists come from two places: the next event among what the frozen retriever confuses with it, and the logged pages that were really shown.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.labels import event_labels
from shortlist.data.splits import split_requests
from shortlist.training.batches import LogTensors
from shortlist.training.config import CandidateSampling
from shortlist.training.cross import CrossCounters
from shortlist.training.retrieval import SEEN
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches


class NextEventLists:
    """The next event against hard and uniform negatives, at random positions of each stretch."""

    def __init__(self, retriever: FrozenRetriever, cross: CrossCounters, config: CandidateSampling) -> None:
        self.retriever, self.log, self.cross, self.config = retriever, retriever.log, cross, config
        labels = event_labels(self.log.schema, np.arange(len(self.log.schema.actions) + 1))
        self.labels = torch.from_numpy(labels).to(self.log.device)  # [A+1,T]

    @torch.no_grad()
    def __call__(self, batch: Stretches, narrow: Callable[[Lists], Tensor] | None = None) -> Lists:
        """Draw lists. `narrow` scores [B,P,M] a wider draw of hard negatives, of which the best are kept."""
        log, config = self.log, self.config
        visible, used = self._positions(batch)
        event = torch.where(used, batch.start.unsqueeze(-1) + visible, 0)  # [B,P]
        context = log.context_columns(event)
        positive = log.rows(event)
        _, states = self.retriever.encode(batch)
        query = self.retriever.queries(batch, states, visible, context)
        scores = torch.matmul(query, self.retriever.vectors.T)  # [B,P,I]
        # Items met before the position, and the positive itself, are no negatives.
        met = log.rows(batch.index).unsqueeze(1).expand(-1, visible.shape[1], -1)  # [B,P,N]
        before = torch.arange(met.shape[2], device=log.device) <= visible.unsqueeze(-1)
        scores.scatter_(2, torch.where(before & (met < log.item_count), met, positive.unsqueeze(-1)), SEEN)
        pool = scores.topk(min(config.pool, scores.shape[2]), dim=2).indices
        drawn = config.hard if narrow is None else min(2 * config.hard, pool.shape[2])
        pick = torch.rand(pool.shape).topk(drawn, dim=2).indices.to(log.device)
        hard = pool.gather(2, pick)
        if narrow is not None:
            best = narrow(self._lists(visible, used, context, event, hard)).topk(config.hard, dim=2).indices
            hard = hard.gather(2, best)
        uniform = torch.randint(log.item_count, (*visible.shape, config.uniform)).to(log.device)
        return self._lists(visible, used, context, event, torch.cat((positive.unsqueeze(-1), hard, uniform), dim=2))

    def _positions(self, batch: Stretches) -> tuple[Tensor, Tensor]:
        """Distinct random positions [B,P], each before an event of its stretch, and whether each exists."""
        count = min(self.config.positions, batch.index.shape[1])
        keys = torch.rand(batch.index.shape).to(self.log.device)
        exists = torch.arange(batch.index.shape[1], device=self.log.device) < batch.length.unsqueeze(-1)
        chosen = keys.masked_fill(~exists, -1.0).topk(count, dim=1).indices
        used = exists.gather(1, chosen)
        return torch.where(used, chosen, 0), used

    def _lists(self, visible: Tensor, used: Tensor, context: dict[str, Tensor], event: Tensor, rows: Tensor) -> Lists:
        positive = self.log.rows(event).unsqueeze(-1)
        is_positive = rows == positive
        # The positive may come again among the uniform draws: its first place counts.
        again = is_positive & (is_positive.cumsum(dim=2) > 1)
        labels = self.labels[self.log.actions(event)].unsqueeze(2) * is_positive.unsqueeze(-1)
        cross = self.cross.at_events(event, rows, leave_out=True)
        return Lists(visible, context, rows, used.unsqueeze(-1) & ~again, labels, cross)


class ShownLists:
    """Logged pages as lists: those of the training time inside each stretch, so that some training event follows each."""

    def __init__(self, log: LogTensors, cross: CrossCounters, split: Split, pages: int) -> None:
        impressions = log.log.impressions
        assert impressions is not None
        self.log, self.cross, self.impressions, self.pages = log, cross, impressions, pages
        training, _, _ = split_requests(impressions, split)
        usable = training[impressions.history_end[training] < split.train_end[impressions.user[training]]]
        order = usable[np.argsort(impressions.history_end[usable], kind="stable")]
        self.requests, self.ends = order, impressions.history_end[order]
        self.width = int(np.diff(impressions.ptr).max(initial=1))

    def __call__(self, batch: Stretches) -> Lists | None:
        """Up to `pages` random pages of each stretch; None where the batch has none."""
        impressions, device = self.impressions, self.log.device
        start, length = batch.start.cpu().numpy(), batch.length.cpu().numpy()
        low, high = np.searchsorted(self.ends, start), np.searchsorted(self.ends, start + length)
        chosen = low[:, None] + (torch.rand(len(start), self.pages).numpy() * (high - low)[:, None]).astype(np.int64)
        used = (np.arange(self.pages) < (high - low)[:, None]) & (chosen < high[:, None])
        if not used.any():
            return None
        request = self.requests[np.where(used, chosen, low.clip(max=len(self.requests) - 1))]  # [B,P]
        begin, end = impressions.ptr[request], impressions.ptr[request + 1]
        place = begin[..., None] + np.arange(self.width)
        valid = (place < end[..., None]) & used[..., None]
        place = np.where(valid, place, 0)
        rows, labels = impressions.item[place], impressions.labels[place] * valid[..., None]
        visible = np.where(used, impressions.history_end[request] - start[:, None], 0)
        cross = self.cross.at_requests(request, rows, labels[..., 0] > 0)
        tensors = (torch.from_numpy(x).to(device) for x in (visible, rows, valid, labels, impressions.position[place]))
        visible_t, rows_t, valid_t, labels_t, shown_at = tensors
        context = {name: torch.from_numpy(values[request]).to(device) for name, values in impressions.context.items()}
        return Lists(visible_t, context, rows_t, valid_t, labels_t, cross, shown_at)


def has_pages(log: EncodedLog, split: Split) -> bool:
    """Whether logged pages can be trained on: they need a split by time."""
    return log.impressions is not None and split.times is not None
