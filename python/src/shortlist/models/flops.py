"""Floating-point operations of one request, counted from the shapes of the operators that really run."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from shortlist.models.preranker import Preranker, query_vectors
from shortlist.models.two_tower import TwoTower
from shortlist.schema import ACTION, Column, Op


@torch.no_grad()
def request_flops(two_tower: TwoTower, preranker: Preranker | None, *, events: int, candidates: int) -> int:
    """Operations to encode a request with N `events` and score M `candidates`, by the two-tower alone or with a preranker on it.

    Matrix products only (2 operations per multiply-add), which is all but a few percent; attention counts all N x N pairs. Item vectors are
    computed when a release is loaded and so cost nothing here.
    """
    schema, config = two_tower.schema, two_tower.config
    history = columns(schema.history, (1, events)) | {ACTION: torch.zeros(1, events, dtype=torch.int64)}
    length, user, context = torch.tensor([events]), columns(schema.user, (1,)), columns(schema.context, (1,))
    items = torch.zeros(1, candidates, config.retrieval_width)
    with FlopCounterMode(display=False) as counter:
        if preranker is None:
            query = two_tower.query(history, length, user, context)
            torch.matmul(items, query.unsqueeze(-1))
        else:
            queries = query_vectors(two_tower, preranker, history, length, user, context)
            preranker.score(queries, items, torch.zeros(1, candidates, len(schema.cross)))
    return int(counter.get_total_flops())


def columns(of: tuple[Column, ...], leading: tuple[int, ...]) -> dict[str, Tensor]:
    """Columns of zeros: shapes are all that counts."""
    return {
        column.name: torch.zeros((*leading, column.width) if column.width else leading).to(
            torch.float32 if column.op is Op.NUMBER else torch.int64
        )
        for column in of
    }
