"""What the evaluation asks of a model. A request is named by its target event e: history is the user's events before e, context is e's."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog
from shortlist.errors import DataError
from shortlist.metrics.order import order_keys, top_k

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]


class Scorer(Protocol):
    """Scores the whole catalog. It must not look at events from `events` on."""

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        """Scores [B,I], higher is better; seen items need not be left out."""
        ...


class Retriever(Protocol):
    """Gives the best items only, for catalogs whose scores do not fit."""

    def retrieve(self, log: EncodedLog, events: Ints, k: int) -> Ints:
        """At most k rows [B,k], best first, without items seen before the event; -1 is padding."""
        ...


class Reranker(Protocol):
    """Scores given candidates."""

    def score_rows(self, log: EncodedLog, events: Ints, rows_BM: Ints) -> Floats:
        """Scores [B,M] of candidates [B,M]; -1 is padding, whose score is ignored."""
        ...


class ExactRetriever:
    """The k best of a scorer's whole catalog."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def retrieve(self, log: EncodedLog, events: Ints, k: int) -> Ints:
        return top_k(order_keys(score_catalog(self.scorer, log, events), seen_items(log, events)), k)


def score_catalog(scorer: Scorer, log: EncodedLog, events: Ints) -> Floats:
    """`score_events`, with its shape checked."""
    scores = scorer.score_events(log, events)
    if scores.shape != (len(events), len(log.item_ids)):
        raise DataError(
            f"{type(scorer).__name__} gave scores {list(scores.shape)}",
            why=f"{len(events)} requests over {len(log.item_ids)} items were asked for",
            fix="return one row of catalog scores per event",
        )
    return scores


def seen_items(log: EncodedLog, events: Ints) -> Mask:
    """Items [B,I] that the user of each event met before it."""
    start = log.ptr[users_of(log, events)]
    lengths = events - start
    request = np.repeat(np.arange(len(events)), lengths)
    event = np.arange(len(request)) + np.repeat(start - (np.cumsum(lengths) - lengths), lengths)
    seen = np.zeros((len(events), len(log.item_ids)), dtype=np.bool_)
    seen[request, log.item[event]] = True
    return seen


def users_of(log: EncodedLog, events: Ints) -> Ints:
    """User row [B] of each event."""
    return np.searchsorted(log.ptr, events, side="right") - 1


def in_chunks(count: int, width: int, cells: int = 4_000_000) -> list[slice]:
    """Slices of `count` rows of `width`, each of at most `cells` cells (at least one row)."""
    step = max(1, cells // max(1, width))
    return [slice(begin, min(begin + step, count)) for begin in range(0, count, step)]
