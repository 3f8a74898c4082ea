"""What the frozen two-tower retrieves, for validation and for mining: exact scores of the whole catalog, seen items left out."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from shortlist.models.two_tower import TwoTower, state_at
from shortlist.training.batches import LogTensors, Rows, Sequences, bucketed, target_histories

SEEN = -3.0e38


@torch.no_grad()
def catalog_vectors(model: TwoTower, log: LogTensors) -> Tensor:
    """Item vectors of the catalog [I,K]."""
    return model.item_vectors(log.items)


@torch.no_grad()
def query_at(model: TwoTower, log: LogTensors, histories: Sequences, target: Rows, chosen: Rows) -> Tensor:
    """Retrieval query vectors [B,K] for the targets `chosen`, each from its own history."""
    start, length = (torch.from_numpy(x[chosen]).to(log.device) for x in (histories.start, histories.length))
    index, _ = log.event_index(start, length, max(1, int(histories.length[chosen].max())))
    state = state_at(model.states(log.history(index), length), length)
    user = log.user_columns(torch.from_numpy(histories.user[chosen]).to(log.device))
    return model.query_vector(state, user, log.context_columns(torch.from_numpy(target[chosen]).to(log.device)))


def mask_seen(scores: Tensor, log: LogTensors, target: Rows) -> Tensor:
    """Set the scores [B,I] of items that each target's user met before it (the whole history, before any window) to `SEEN`."""
    ptr = log.log.ptr
    user = np.searchsorted(ptr, target, side="right") - 1
    count = target - ptr[user]
    event = np.repeat(target - np.cumsum(count), count) + np.arange(int(count.sum()))
    row = np.repeat(np.arange(len(target)), count)
    scores[torch.from_numpy(row).to(log.device), log.rows(torch.from_numpy(event).to(log.device))] = SEEN
    return scores


def target_ranks(scores: Tensor, row: Tensor) -> Tensor:
    """Rank from 0 of each target row [B] in scores [B,I]; equal scores rank the lower row first."""
    own = scores.gather(1, row.unsqueeze(-1))
    better = (scores > own) | ((scores == own) & (torch.arange(scores.shape[1], device=scores.device) < row.unsqueeze(-1)))
    return better.sum(dim=1)


@torch.no_grad()
def retrieval_ranks(model: TwoTower, log: LogTensors, target: Rows) -> Rows:
    """Full-ranking rank of each target event [n] under the two-tower, seen items left out.

    A target that its user met before keeps its own score: a repeat can be ranked.
    """
    model.eval()
    vectors = catalog_vectors(model, log)
    histories = target_histories(log.log, target)
    ranks = np.zeros(len(target), dtype=np.int64)
    for chosen in bucketed(histories.length + 1, 32768, (0,)):
        scores = torch.matmul(query_at(model, log, histories, target, chosen), vectors.T)
        row = log.rows(torch.from_numpy(target[chosen]).to(log.device))
        own = scores.gather(1, row.unsqueeze(-1))
        scores = mask_seen(scores, log, target[chosen]).scatter(1, row.unsqueeze(-1), own)
        ranks[chosen] = target_ranks(scores, row).cpu().numpy()
    return ranks


def rank_metrics(ranks: Rows, cut: int = 10) -> dict[str, float]:
    """HR@cut, NDCG@cut, recall@100 and MRR of single targets by rank from 0; rank -1 means not in the list."""
    listed = ranks >= 0
    hit = listed & (ranks < cut)
    gain = np.where(hit, 1.0 / np.log2(np.maximum(ranks, 0) + 2.0), 0.0)
    return {
        f"hr@{cut}": float(hit.mean()),
        f"ndcg@{cut}": float(gain.mean()),
        "recall@100": float((listed & (ranks < 100)).mean()),
        "mrr": float(np.where(listed, 1.0 / (np.maximum(ranks, 0) + 1.0), 0.0).mean()),
    }
