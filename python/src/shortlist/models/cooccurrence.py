"""Item-to-item co-occurrence: what users took within a window of events after (and before) an item, nearer events counting more.

A strong baseline and a source of candidates. docs/bundle.md, `sources/<cooccurrence>.safetensors`, fixes the table and the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse

from shortlist.data.dataset import Array, EncodedLog, Split
from shortlist.errors import BundleError, ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_PAIRS_AT_ONCE = 8_000_000  # 12 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class CooccurrenceConfig:
    """Counting and scoring.

    An event and one that comes `gap` events later, gap <= `window`, count `gap_decay^(gap-1)`; the other direction counts `backward`
    times as much. A weight is count(a, b) / (count(a) * count(b)^popularity_power): 0 ranks by what follows most often, 1 by lift.
    Each item keeps its `neighbours` heaviest. A request uses its newest `history_events`, the one of age i counting `decay^i`.
    The defaults were tuned on the validation items of ml-1m.
    """

    window: int = 20
    gap_decay: float = 0.8
    backward: float = 0.15
    popularity_power: float = 0.25
    neighbours: int = 200
    history_events: int = 20
    decay: float = 0.7

    def __post_init__(self) -> None:
        for name in ("window", "neighbours", "history_events"):
            if getattr(self, name) < 1:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)}", why="it must be at least 1")
        for name in ("gap_decay", "backward", "popularity_power", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)}", why="it must be between 0 and 1")


@dataclass(frozen=True)
class Cooccurrence:
    """Neighbours of item r are `rows[indptr[r]:indptr[r+1]]`, heaviest first, lower row first on ties."""

    indptr: Ints  # [I+1]
    rows: Ints  # [nnz]
    weights: Floats  # [nnz]
    history_events: int
    decay: float

    @classmethod
    def fit(cls, log: EncodedLog, split: Split, config: CooccurrenceConfig | None = None) -> Self:
        config = config or CooccurrenceConfig()
        counts = _count_pairs(log, split, config)
        counts = counts + config.backward * counts.T if config.backward else counts
        return cls(*_heaviest(_normalised(counts.tocsr(), config.popularity_power), config.neighbours), config.history_events, config.decay)

    def scores(self, history_rows: npt.ArrayLike) -> Floats:
        """Scores [I] for one history of catalog rows, oldest first; -1 is an unknown item, which takes an age and adds nothing."""
        history = np.asarray(history_rows, dtype=np.int64)
        return self._scores(history, np.array([0, len(history)])).reshape(-1)

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        """Scores [B,I] for the requests at `events`: a history is the user's events before."""
        starts = np.maximum(log.ptr[np.searchsorted(log.ptr, events, side="right") - 1], events - self.history_events)
        lengths = events - starts
        indptr = np.concatenate([[0], np.cumsum(lengths)])
        return self._scores(log.item[np.repeat(starts - indptr[:-1], lengths) + np.arange(indptr[-1])], indptr)

    def _scores(self, history: Ints, indptr: Ints) -> Floats:
        """Scores [B,I] of histories `history[indptr[b]:indptr[b+1]]`.

        The product of a row of ages and the table adds the table's rows in the order they are stored: newest event first, in float64, as
        the bundle asks. Repeated items must stay separate entries, so the matrix is never put into canonical form.
        """
        lengths = np.minimum(np.diff(indptr), self.history_events)
        kept = np.concatenate([[0], np.cumsum(lengths)])
        age = np.arange(kept[-1]) - np.repeat(kept[:-1], lengths)
        newest_first = history[np.repeat(indptr[1:] - 1, lengths) - age]
        known = newest_first >= 0
        ages = np.where(known, self.decay**age, 0.0)
        items = len(self.indptr) - 1
        requests = sparse.csr_array((ages, np.where(known, newest_first, 0), kept), shape=(len(lengths), items))
        table = sparse.csr_array((self.weights.astype(np.float64), self.rows, self.indptr), shape=(items, items))
        return np.asarray((requests @ table).toarray(), dtype=np.float32)

    def tensors(self) -> dict[str, Array]:
        return {"indptr": self.indptr, "rows": self.rows, "weights": self.weights}

    def save(self, path: Path) -> None:
        save_file(self.tensors(), path)

    @classmethod
    def load(cls, path: Path, *, history_events: int, decay: float) -> Self:
        """Read a table. Raises BundleError when it contradicts itself."""
        tensors = load_file(path)
        missing = {"indptr", "rows", "weights"} - set(tensors)
        if missing:
            raise BundleError(f"{path.name} lacks {', '.join(sorted(missing))}", why="it is no co-occurrence table", fix="train it again")
        indptr, rows, weights = tensors["indptr"], tensors["rows"], tensors["weights"]
        types = indptr.dtype == rows.dtype == np.int64 and weights.dtype == np.float32
        whole = (
            types and len(indptr) > 1 and indptr[0] == 0 and indptr[-1] == len(rows) == len(weights) and bool((np.diff(indptr) >= 0).all())
        )
        if not whole or (len(rows) and not (rows.min() >= 0 and rows.max() < len(indptr) - 1)) or not np.isfinite(weights).all():
            raise BundleError(f"{path.name} contradicts itself", why="indptr, rows and weights do not make a table", fix="train it again")
        return cls(indptr, rows, weights, history_events, decay)


def _count_pairs(log: EncodedLog, split: Split, config: CooccurrenceConfig) -> Any:
    """Sparse decayed counts [I,I] of (item, later item) over the training events.

    With X [E,I] the one-hot events and Y [E,I] the decayed sum of each event's followers, the counts are X^T Y. It is summed over slices
    of events to bound memory.
    """
    items = len(log.item_ids)
    end_of_event = np.repeat(split.train_end, np.diff(log.ptr))
    gaps = np.arange(1, config.window + 1)
    decays = config.gap_decay ** (gaps - 1.0)
    counts = sparse.csr_array((items, items), dtype=np.float64)
    step = max(1, _PAIRS_AT_ONCE // config.window)
    for begin in range(0, len(log.item), step):
        events = np.arange(begin, min(begin + step, len(log.item)))
        followers = events[:, None] + gaps  # [e,window]
        counted = followers < end_of_event[events, None]
        indptr = np.concatenate([[0], np.cumsum(counted.sum(axis=1))])
        after = sparse.csr_array(
            (np.broadcast_to(decays, counted.shape)[counted], log.item[followers[counted]], indptr), shape=(len(events), items)
        )
        here = sparse.csc_array((np.ones(len(events)), log.item[events], np.arange(len(events) + 1)), shape=(items, len(events)))
        counts = counts + here.tocsr() @ after
    return counts


def _normalised(counts: Any, popularity_power: float) -> Any:
    """Pair counts [I,I] divided by the row's sum and a power of the column's sum; an item is no neighbour of itself."""
    row_sum = counts.sum(axis=1)
    column_sum = counts.sum(axis=0)
    pairs = counts.tocoo()
    keep = (pairs.row != pairs.col) & (pairs.data > 0)
    row, column, data = pairs.row[keep], pairs.col[keep], pairs.data[keep]
    data = data / (row_sum[row] * column_sum[column] ** popularity_power)
    return sparse.csr_array((data, (row, column)), shape=counts.shape)


def _heaviest(weights: Any, neighbours: int) -> tuple[Ints, Ints, Floats]:
    """The `neighbours` heaviest entries of each row: (indptr, rows, weights), heaviest first, lower row first on ties."""
    row = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
    stored = weights.data.astype(np.float32)
    order = np.lexsort((weights.indices, -stored, row))
    rank = np.arange(len(order)) - np.repeat(weights.indptr[:-1], np.diff(weights.indptr))
    kept = order[rank < neighbours]
    lengths = np.minimum(np.diff(weights.indptr), neighbours)
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return indptr, weights.indices[kept].astype(np.int64), stored[kept]
