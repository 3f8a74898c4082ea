"""What the frozen retriever takes for the next event: pools of catalog rows, from which the later stages draw their hard negatives."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shortlist.training.batches import Rows
from shortlist.training.retrieval import SEEN
from shortlist.training.scoring import FrozenRetriever, Stretches

# Positions whose scores [BLOCK,I] are made at once. The shape is always the same, so that a pool does not depend on the positions beside
# it to the last bit, and memory does not on the batch.
_BLOCK = 64
_MOST_BYTES = 1 << 30  # of pools that are kept


def pools_of(retriever: FrozenRetriever, fresh_start: Rows, train_end: Rows, size: int) -> MinedPools:
    """The retriever's pools of a size, the same ones for every stage of a run."""
    if size not in retriever.pools:
        retriever.pools[size] = MinedPools(retriever, fresh_start, train_end, size)
    return retriever.pools[size]


class MinedPools:
    """The best unseen items of the retriever at positions of stretches.

    Those of fresh positions are mined once and kept, where they fit into 1 GiB: the later stages come back to them in every epoch, and
    nothing that they follow from changes.
    """

    def __init__(self, retriever: FrozenRetriever, fresh_start: Rows, train_end: Rows, size: int) -> None:
        """Fresh positions are before the events from `fresh_start` [U] up to `train_end` [U]; pools have `size` items, or all."""
        self.retriever, self.size, device = retriever, min(size, len(retriever.vectors)), retriever.log.device
        count = np.maximum(train_end - fresh_start, 0)
        self.slot = torch.from_numpy(np.cumsum(count) - count - fresh_start).to(device)  # [U]: what an event's index needs to be its place
        slots = int(count.sum())
        if 4 * slots * self.size > _MOST_BYTES:
            slots = 0
        self.rows = torch.empty((slots, self.size), dtype=torch.int32, device=device)
        self.holds = torch.zeros(slots, dtype=torch.bool, device=device)  # whether the next event scores above the pool's worst
        self.mined = torch.zeros(slots, dtype=torch.bool, device=device)

    @torch.no_grad()
    def __call__(self, batch: Stretches, visible: Tensor, used: Tensor, fresh: Tensor, context: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pools [B,P,size], best first, and whether the next event is in its pool [B,P]; zeros where a position is not `used`.

        Neither the next event itself nor what the history holds before it is in a pool.
        """
        event = batch.start.unsqueeze(-1) + visible
        keeps = used & fresh if len(self.rows) else torch.zeros_like(used)
        slot = torch.where(keeps, event + self.slot[batch.user].unsqueeze(-1), 0)
        known = keeps & self.mined[slot] if len(self.rows) else keeps
        rows = torch.zeros((*visible.shape, self.size), dtype=torch.int64, device=visible.device)
        holds = torch.zeros_like(used)
        rows[known], holds[known] = self.rows[slot[known]].long(), self.holds[slot[known]]
        missing = used & ~known
        if bool(missing.any()):
            rows[missing], holds[missing] = self._mine(batch, visible, missing, context)
            new = missing & keeps
            place = slot[new]
            self.rows[place], self.holds[place], self.mined[place] = rows[new].int(), holds[new], True
        return rows, holds

    def _mine(self, batch: Stretches, visible: Tensor, chosen: Tensor, context: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Pools [n,size] of the n chosen positions, in their order, and whether each holds the next event [n]."""
        log, vectors = self.retriever.log, self.retriever.vectors
        _, states = self.retriever.encode(batch)
        query = self.retriever.queries(batch, states, visible, context)[chosen]  # [n,K]
        stretch, _ = chosen.nonzero(as_tuple=True)
        seen = visible[chosen]
        positive = log.rows(batch.start[stretch] + seen).unsqueeze(-1)  # [n,1]
        met = log.rows(batch.index[stretch])  # [n,N]
        met = torch.where(torch.arange(met.shape[1], device=log.device) < seen.unsqueeze(-1), met, positive)
        rows, holds = [], []
        # Of the vectors' type: autocast makes queries of a lower one, and leaves products into given memory alone.
        block = vectors.new_zeros((_BLOCK, vectors.shape[1]))
        scores = vectors.new_empty((_BLOCK, len(vectors)))
        for begin in range(0, len(query), _BLOCK):
            part = slice(begin, begin + _BLOCK)
            count = len(query[part])
            block[:count] = query[part]
            torch.matmul(block, vectors.T, out=scores)
            own = scores[:count].gather(1, positive[part])
            scores[:count].scatter_(1, torch.cat((met[part], positive[part]), dim=1), SEEN)
            best = scores[:count].topk(self.size, dim=1)
            rows.append(best.indices)
            holds.append((own > best.values[:, -1:]).squeeze(-1))
        return torch.cat(rows), torch.cat(holds)
