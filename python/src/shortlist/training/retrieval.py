"""What the frozen two-tower retrieves, for validation and for mining: exact scores of the whole catalog, seen items left out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.dataset import EncodedLog
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.mrr import reciprocal_rank
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.metrics.order import NOT_RANKED
from shortlist.models.two_tower import TwoTower
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
    user = log.user_columns(torch.from_numpy(histories.user[chosen]).to(log.device))
    return model.query(log.history(index), length, user, log.context_columns(torch.from_numpy(target[chosen]).to(log.device)))


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
    """Rank from 1 of each target row [B] in scores [B,I]: score descending, then row ascending. NOT_RANKED where it is masked."""
    own = scores.gather(1, row.unsqueeze(-1))
    better = (scores > own) | ((scores == own) & (torch.arange(scores.shape[1], device=scores.device) < row.unsqueeze(-1)))
    return torch.where(own.squeeze(-1) <= SEEN, NOT_RANKED, 1 + better.sum(dim=1))


@torch.no_grad()
def retrieval_ranks(model: TwoTower, log: LogTensors, target: Rows) -> Rows:
    """Full-ranking rank of each target event [n] under the two-tower, seen items left out."""
    model.eval()
    vectors = catalog_vectors(model, log)
    histories = target_histories(log.log, target)
    ranks = np.zeros(len(target), dtype=np.int64)
    for chosen in bucketed(histories.length + 1, 32768, (0,)):
        queries = query_at(model, log, histories, target, chosen)
        for begin in range(0, len(chosen), step := _score_rows(log)):
            part = chosen[begin : begin + step]
            scores = mask_seen(torch.matmul(queries[begin : begin + step], vectors.T), log, target[part])
            ranks[part] = target_ranks(scores, log.rows(torch.from_numpy(target[part]).to(log.device))).cpu().numpy()
    return ranks


def _score_rows(log: LogTensors) -> int:
    """How many rows of scores [B,I] are made at once: 64 MiB of them."""
    return max(1, (1 << 24) // log.item_count)


def score_ranks(log: LogTensors, target: Rows, score: Callable[[Rows], npt.NDArray[np.float32]]) -> Rows:
    """Full-ranking rank of each target [n] by scores [B,I] that `score` gives for target events [B], seen items left out."""
    ranks, batch = np.zeros(len(target), dtype=np.int64), _score_rows(log)
    for begin in range(0, len(target), batch):
        part = target[begin : begin + batch]
        scores = mask_seen(torch.from_numpy(score(part)).to(log.device), log, part)
        ranks[begin : begin + batch] = target_ranks(scores, log.rows(torch.from_numpy(part).to(log.device))).cpu().numpy()
    return ranks


def rank_metrics(ranks: Rows) -> dict[str, float]:
    """HR@3, HR@10, NDCG@10, recall@100 and MRR of one true item per request, by its rank."""
    return {
        "hr@3": float(hits_at_k(ranks, 3).mean()),
        "hr@10": float(hits_at_k(ranks, 10).mean()),
        "ndcg@10": float(ndcg_at_k(ranks, 10).mean()),
        "recall@100": float(hits_at_k(ranks, 100).mean()),
        "mrr": float(reciprocal_rank(ranks).mean()),
    }


def first_meetings(log: EncodedLog, target: Rows) -> Rows:
    """The targets [n] whose item their user had not met before: the only ones that a funnel without seen items can find."""
    pairs = np.repeat(np.arange(len(log.user_ids)), np.diff(log.ptr)) * len(log.item_ids) + log.item
    _, first = np.unique(pairs, return_index=True)  # of each user and item: the user's events are in time order
    is_first = np.zeros(len(pairs), dtype=bool)
    is_first[first] = True
    return target[is_first[target]]


def at_most(rows: Rows, count: int, seed: int) -> Rows:
    """A random `count` of the rows, in their order."""
    return rows if len(rows) <= count else np.sort(np.random.default_rng((seed, 4)).choice(rows, count, replace=False))


def final_targets(log: EncodedLog, target: Rows, most: int, seed: int) -> Rows:
    """The first meetings that final metrics are measured on: all, or for `most` above 0 at most so many, drawn at random."""
    found = first_meetings(log, target)
    return at_most(found, most, seed) if most else found
