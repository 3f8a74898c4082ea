"""The funnel offline: retrieve, prerank, rank. What does each stage find, and what does each cut lose?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog
from shortlist.errors import DataError
from shortlist.evaluation.full_ranking import Ranked
from shortlist.evaluation.scorer import Reranker, Retriever, in_chunks
from shortlist.metrics.order import order_rows, ranks_in_lists

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class StageCut:
    """How many of the targets' items are left after a stage."""

    stage: str
    width: int  # items that the stage passes on
    recall: float  # share of targets still in
    kept: float  # share of those that came in; 1 when none came


@dataclass(frozen=True)
class CascadeRanked:
    """The order after each stage: retrieval [T,R], preranking [T,R] reordered, ranking [T,P], and the cuts between them."""

    retrieval: Ranked
    preranking: Ranked
    ranking: Ranked
    cuts: list[StageCut]


def rank_cascade(
    log: EncodedLog,
    retriever: Retriever,
    preranker: Reranker,
    ranker: Reranker,
    targets: Ints,
    *,
    retrieve: int = 500,
    prerank_keep: int = 200,
    limit: int = 10,
    chunk: int = 256,
) -> CascadeRanked:
    """Run the funnel for every target. Evaluate each stage with `evaluate_ranked`; `cuts` say where targets are lost.

    The preranker orders all that was retrieved and passes `prerank_keep` on; the ranker's answer is the first `limit`.
    """
    if not retrieve >= prerank_keep >= limit >= 1:
        raise DataError(
            f"stage sizes are {retrieve}, {prerank_keep}, {limit}", why="a stage cannot pass on more than it gets", fix="make them decrease"
        )
    if len(targets) == 0:
        raise DataError("there are no targets", why="the split holds out no event", fix="check the split")
    stages: tuple[list[Ints], list[Ints], list[Ints]] = ([], [], [])
    for part in in_chunks(len(targets), 1, chunk):
        events = targets[part]
        retrieved = _checked(retriever.retrieve(log, events, retrieve), len(events), retrieve)
        preranked = order_rows(retrieved, preranker.score_rows(log, events, retrieved))
        kept = preranked[:, :prerank_keep]
        ranked = order_rows(kept, ranker.score_rows(log, events, kept))
        for lists, rows in zip(stages, (retrieved, preranked, ranked), strict=True):
            lists.append(rows)
    items = log.item[targets]
    retrieval, preranking, ranking = (Ranked(targets, ranks_in_lists(rows, items), rows) for rows in map(np.concatenate, stages))
    cuts = stage_cuts([retrieval.ranks, preranking.ranks, ranking.ranks], (retrieve, prerank_keep, limit))
    return CascadeRanked(retrieval, preranking, ranking, cuts)


def stage_cuts(ranks: Sequence[Ints], widths: Sequence[int]) -> list[StageCut]:
    """Cuts from the ranks [T] of the targets after retrieval, preranking and ranking, and how many items each passes on."""
    cuts, came = [], 1.0
    for name, found, width in zip(("retrieval", "preranking", "ranking"), ranks, widths, strict=True):
        recall = float((found <= width).mean())
        cuts.append(StageCut(name, width, recall, recall / came if came else 1.0))
        came = recall
    return cuts


def _checked(rows: Ints, requests: int, width: int) -> Ints:
    """Retrieved rows padded to `width`. Raises DataError on a row that is retrieved twice or a list of another shape."""
    if rows.ndim != 2 or len(rows) != requests or rows.shape[1] > width:
        raise DataError(f"the retriever gave rows {list(rows.shape)}", why=f"at most [{requests}, {width}] were asked for")
    ordered = np.sort(rows, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        raise DataError("the retriever gave an item twice in one list", why="a merged list keeps the first occurrence only")
    return np.concatenate([rows, np.full((requests, width - rows.shape[1]), -1, dtype=np.int64)], axis=1)
