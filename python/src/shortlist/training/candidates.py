"""What the preranker and the ranker train on: lists of candidates with labels and counters, at positions of histories.

Lists come from two places: the next event among what the frozen retriever confuses with it, and the logged pages that were really shown.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.labels import event_labels
from shortlist.data.splits import split_requests
from shortlist.training.batches import LogTensors, Rows
from shortlist.training.config import CandidateSampling
from shortlist.training.cross import CrossCounters
from shortlist.training.mining import pools_of
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches


class NextEventLists:
    """The next event against hard and uniform negatives, at random positions of each stretch."""

    def __init__(
        self, retriever: FrozenRetriever, cross: CrossCounters, split: Split, fresh_start: Rows, config: CandidateSampling
    ) -> None:
        self.log, self.cross, self.config = retriever.log, cross, config
        self.pools = pools_of(retriever, fresh_start, split.train_end, config.pool)
        self.fresh_start = torch.from_numpy(fresh_start).to(self.log.device)
        labels = event_labels(self.log.schema, np.arange(len(self.log.schema.actions) + 1))
        self.labels = torch.from_numpy(labels).to(self.log.device)  # [A+1,T]

    @torch.no_grad()
    def __call__(self, batch: Stretches, old: int = 0) -> Lists:
        """Draw lists at `config.positions` fresh and `old` other positions.

        Hard negatives are uniform draws of the pool: choosing them by a later score would teach that a high score is bad.
        """
        log, config = self.log, self.config
        visible, used, fresh = self._positions(batch, old)
        event = torch.where(used, batch.start.unsqueeze(-1) + visible, 0)  # [B,P]
        context = log.context_columns(event)
        positive = log.rows(event).unsqueeze(-1)
        pool, holds = self.pools(batch, visible, used, fresh, context)
        used &= holds

        def lists(rows: Tensor) -> Lists:
            is_positive = rows == positive
            again = is_positive & (is_positive.cumsum(dim=2) > 1)  # the positive among the uniform draws: its first place counts
            labels = self.labels[log.actions(event)].unsqueeze(2) * is_positive.unsqueeze(-1)
            cross = self.cross.at_events(event, rows, training=True)
            return Lists(visible, fresh, context, rows, used.unsqueeze(-1) & ~again, labels, cross)

        drawn = min(config.hard, pool.shape[2])
        hard = pool.gather(2, torch.rand(pool.shape).topk(drawn, dim=2).indices.to(log.device))
        uniform = torch.randint(log.item_count, (*visible.shape, config.uniform)).to(log.device)
        return lists(torch.cat((positive, hard, uniform), dim=2))

    def _positions(self, batch: Stretches, old: int) -> tuple[Tensor, Tensor, Tensor]:
        """Distinct random positions [B,P] before events of each stretch, whether each exists, and whether it is fresh."""
        offset = torch.arange(batch.index.shape[1], device=self.log.device)
        exists = offset < batch.length.unsqueeze(-1)
        is_fresh = batch.start.unsqueeze(-1) + offset >= self.fresh_start[batch.user].unsqueeze(-1)
        keys = torch.rand(batch.index.shape).to(self.log.device)
        chosen, used, fresh = [], [], []
        for most, group in ((self.config.positions, exists & is_fresh), (old, exists & ~is_fresh)):
            count = min(most, int(group.sum(dim=1).max()))  # no work on positions that no stretch has
            place = keys.masked_fill(~group, -1.0).topk(count, dim=1).indices
            here = group.gather(1, place)
            chosen.append(torch.where(here, place, 0))
            used.append(here)
            fresh.append(here & is_fresh.gather(1, place))
        return torch.cat(chosen, dim=1), torch.cat(used, dim=1), torch.cat(fresh, dim=1)


class ShownLists:
    """Logged pages as lists: those of the training time inside each stretch, so that some training event follows each."""

    def __init__(self, log: LogTensors, cross: CrossCounters, split: Split, fresh_start: Rows, pages: int) -> None:
        impressions = log.log.impressions
        assert impressions is not None
        self.log, self.cross, self.impressions, self.pages, self.fresh_start = log, cross, impressions, pages, fresh_start
        training, _, _ = split_requests(impressions, split)
        usable = training[impressions.history_end[training] < split.train_end[impressions.user[training]]]
        order = usable[np.argsort(impressions.history_end[usable], kind="stable")]
        self.requests, self.ends = order, impressions.history_end[order]
        self.width = int(np.diff(impressions.ptr).max(initial=1))

    def __call__(self, batch: Stretches, *, fresh_only: bool) -> Lists | None:
        """Up to `pages` random pages of each stretch; None where the batch has none."""
        impressions, device = self.impressions, self.log.device
        start, length = batch.start.cpu().numpy(), batch.length.cpu().numpy()
        first_fresh = self.fresh_start[batch.user.cpu().numpy()]
        low = np.searchsorted(self.ends, np.maximum(start, first_fresh) if fresh_only else start)
        high = np.searchsorted(self.ends, start + length)
        pages = min(self.pages, int((high - low).max(initial=0)))
        if pages <= 0:
            return None
        chosen = low[:, None] + (torch.rand(len(start), pages).numpy() * (high - low)[:, None]).astype(np.int64)
        used = (np.arange(pages) < (high - low)[:, None]) & (chosen < high[:, None])
        request = self.requests[np.where(used, chosen, 0)]  # [B,P]
        begin, end = impressions.ptr[request], impressions.ptr[request + 1]
        place = begin[..., None] + np.arange(self.width)
        valid = (place < end[..., None]) & used[..., None]
        place = np.where(valid, place, 0)
        rows, labels = impressions.item[place], impressions.labels[place] * valid[..., None]
        visible = np.where(used, impressions.history_end[request] - start[:, None], 0)
        cross = self.cross.at_requests(request, rows)
        fresh = used & (impressions.history_end[request] >= first_fresh[:, None])
        arrays = (visible, fresh, rows, valid, labels, impressions.position[place])
        visible_t, fresh_t, rows_t, valid_t, labels_t, shown_at = (torch.from_numpy(x).to(device) for x in arrays)
        context = {name: torch.from_numpy(values[request]).to(device) for name, values in impressions.context.items()}
        return Lists(visible_t, fresh_t, context, rows_t, valid_t, labels_t, cross, shown_at)


def has_pages(log: EncodedLog, split: Split) -> bool:
    """Whether logged pages can be trained on: they need a split by time."""
    return log.impressions is not None and split.times is not None
