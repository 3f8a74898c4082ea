"""Item-to-item co-occurrence: items that users took near each other, or at all; the family of item-based neighbourhood models.

A strong baseline and a source of candidates. docs/bundle.md, `sources/<cooccurrence>.safetensors`, fixes the table and the scores.
Formulas: Sarwar et al., 2001 (cosine), Deshpande and Karypis, 2004 (conditional probability and its popularity penalty).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file
from scipy import sparse

from shortlist.data.dataset import Array, EncodedLog, Split
from shortlist.errors import BundleError, ConfigError
from shortlist.models.content_similarity import blend_content
from shortlist.models.item_similarity import FORMS, weigh
from shortlist.models.pair_counts import PairCounts, count_pairs, merge_counts, shards

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class CooccurrenceConfig:
    """What is counted, how counts become weights, and how a history is scored. The defaults were tuned on the validation items of ml-1m.

    Counting. `pairs` "window": an event and one that comes `gap` events later, gap <= `window`, count `gap_decay^(gap-1)`; the other
    direction counts `backward` times as much (0: only what follows). "history": two items that a user took count 1, in any order. A
    pair's count halves with each `half_life` (in the log's time; 0: never) that its event lies before the newest training event. A user
    of n training events counts n^-`length_power`.

    Weighing. With c the count of (a, b), c(a) and c(b) the sums of the row and of the column (for histories: of the item's users), n
    that of all, the similarity is
        conditional  c / c(a)
        cosine       c / sqrt(c(a) c(b))
        jaccard      c / (c(a) + c(b) - c)
        pmi          max(0, log(c n / (c(a) c(b))))
    times c / (c + `shrinkage`), which distrusts few observations, and divided by c(b)^`popularity_power`: conditional with power 1 is
    lift. `content_share` of each item's total weight goes to items of like feature columns (`models.content_similarity`) instead. Each
    item keeps its `neighbours` heaviest.

    Scoring. A request uses its newest `history_events`, the one of age i counting `decay^i`.
    """

    pairs: Literal["window", "history"] = "window"
    window: int = 20
    gap_decay: float = 0.8
    backward: float = 0.15
    half_life: float = 0.0
    length_power: float = 0.0
    similarity: Literal["conditional", "cosine", "jaccard", "pmi"] = "conditional"
    shrinkage: float = 0.0
    popularity_power: float = 0.25
    content_share: float = 0.0
    neighbours: int = 200
    history_events: int = 20
    decay: float = 0.7

    def __post_init__(self) -> None:
        for name, choices in (("pairs", ("window", "history")), ("similarity", tuple(FORMS))):
            if getattr(self, name) not in choices:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)!r}", fix=f"use one of {', '.join(choices)}")
        for name in ("window", "neighbours", "history_events"):
            if getattr(self, name) < 1:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)}", why="it must be at least 1")
        for name in ("gap_decay", "backward", "length_power", "popularity_power", "content_share", "decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)}", why="it must be between 0 and 1")
        for name in ("half_life", "shrinkage"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ConfigError(f"CooccurrenceConfig.{name} is {getattr(self, name)}", why="it must be finite and not negative")


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
        """Count the training events of `split` and weigh. Raises DataError for a `half_life` over times that are only ranks."""
        config = config or CooccurrenceConfig()
        counts = merge_counts(count_pairs(log, split, config, users=users) for users in shards(log, split, config))
        return cls.from_counts(counts, log, config)

    @classmethod
    def from_counts(cls, counts: PairCounts, log: EncodedLog, config: CooccurrenceConfig) -> Self:
        """Weigh pairs that were counted with `config`. Of the log only the item columns are read."""
        table = weigh(counts, config)
        if config.content_share:
            table = blend_content(table, log, config.content_share, config.neighbours)
        return cls(*table, config.history_events, config.decay)

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
