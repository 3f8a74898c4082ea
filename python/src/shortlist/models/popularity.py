"""Popular items: overall, recent, or per segment of users or requests. The first baseline to beat and the last resort of a server.

docs/bundle.md, `sources/<popular>.safetensors`, fixes the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

from shortlist.data.dataset import Array, EncodedLog, Split
from shortlist.errors import BundleError, ConfigError, SchemaError
from shortlist.schema import Column, Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityConfig:
    """`half_life` and `window` are in units of the log's time, back from the newest training event; 0 switches them off.

    `segment` ("user.<column>" or "context.<column>", a VOCABULARY column) makes a list for each value. A segment's count of an item is
    smoothed with `prior` events that are shared like all events, so a small segment falls back on the whole.
    """

    half_life: float = 0.0
    window: float = 0.0
    segment: str = ""
    prior: float = 1000.0

    def __post_init__(self) -> None:
        for name in ("half_life", "window", "prior"):
            if not getattr(self, name) >= 0 or not np.isfinite(getattr(self, name)):
                raise ConfigError(f"PopularityConfig.{name} is {getattr(self, name)}", why="it must be finite and not negative")


@dataclass(frozen=True)
class Popularity:
    """Scores [I] of all items; with a segment also [S,I], one row for each of the sorted `keys`."""

    scores: Floats
    segment: str = ""
    keys: tuple[str, ...] = ()
    segment_scores: Floats | None = None

    @classmethod
    def fit(cls, log: EncodedLog, split: Split, config: PopularityConfig | None = None) -> Self:
        """Counts of training events per item, weighted by age."""
        config = config or PopularityConfig()
        events = training_events(log, split)
        weights = _age_weights(log.time[events], config)
        items = len(log.item_ids)
        counts = np.bincount(log.item[events], weights=weights, minlength=items)
        if not config.segment:
            return cls(counts.astype(np.float32))
        column = segment_column(log, config.segment)
        ids = segment_ids(log, config.segment, events)
        shape = (column.cardinality, items)
        by_segment = np.bincount(ids * items + log.item[events], weights=weights, minlength=shape[0] * items).reshape(shape)
        by_segment += config.prior * counts / max(counts.sum(), 1.0)
        order = sorted(range(len(column.vocabulary)), key=lambda index: column.vocabulary[index].encode())
        keys = tuple(column.vocabulary[index] for index in order)
        return cls(counts.astype(np.float32), config.segment, keys, by_segment[1:][order].astype(np.float32))

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        """Scores [B,I] for the requests at `events`; unknown segment values get the overall list."""
        if self.segment_scores is None:
            return np.broadcast_to(self.scores, (len(events), len(self.scores))).copy()
        vocabulary = segment_column(log, self.segment).vocabulary
        position = {key: 1 + index for index, key in enumerate(self.keys)}
        table = np.concatenate([self.scores[None], self.segment_scores])
        list_of_id = np.array([0, *(position.get(value, 0) for value in vocabulary)])
        return np.asarray(table[list_of_id[segment_ids(log, self.segment, events)]])

    def top(self, limit: int, key: str | None = None) -> tuple[Ints, Floats]:
        """The `limit` best rows with their scores, best first, lower row first on ties."""
        known = self.segment_scores is not None and key in self.keys
        scores = self.segment_scores[self.keys.index(str(key))] if known and self.segment_scores is not None else self.scores
        rows = np.lexsort((np.arange(len(scores)), -scores))[:limit].astype(np.int64)
        return rows, scores[rows]

    def tensors(self, limit: int) -> dict[str, Array]:
        """The table of the bundle: lists of at most `limit` items."""
        rows, scores = self.top(limit)
        if self.segment_scores is None:
            return {"rows": rows, "scores": scores}
        lists = [self.top(limit, key) for key in self.keys]
        texts = [key.encode() for key in self.keys]
        return {
            "keys.bytes": np.frombuffer(b"".join(texts), dtype=np.uint8),
            "keys.offsets": np.cumsum([0, *map(len, texts)], dtype=np.int64),
            "indptr": np.cumsum([0, *(len(part) for part, _ in lists)], dtype=np.int64),
            "rows": np.concatenate([part for part, _ in lists]),
            "scores": np.concatenate([part for _, part in lists]),
            "default.rows": rows,
            "default.scores": scores,
        }

    def save(self, path: Path, limit: int | None = None) -> None:
        save_file(self.tensors(limit or len(self.scores)), path)

    @classmethod
    def load(cls, path: Path, items: int, segment: str = "") -> Self:
        """Read a table of a catalog of `items`; items that are not listed score 0. Raises BundleError when it does not fit."""
        tensors = load_file(path)
        try:
            prefix = "default." if segment else ""
            overall = _dense(tensors[f"{prefix}rows"], tensors[f"{prefix}scores"], items)
            if not segment:
                return cls(overall)
            data, offsets, indptr = tensors["keys.bytes"].tobytes(), tensors["keys.offsets"].tolist(), tensors["indptr"].tolist()
            keys = tuple(data[begin:end].decode() for begin, end in pairwise(offsets))
            parts = [slice(begin, end) for begin, end in pairwise(indptr)]
            if len(keys) != len(parts):
                raise ValueError(f"{len(keys)} keys have {len(parts)} lists")
            lists = [_dense(tensors["rows"][part], tensors["scores"][part], items) for part in parts]
            return cls(overall, segment, keys, np.stack(lists))
        except (KeyError, IndexError, ValueError) as error:
            raise BundleError(
                f"{path.name} is no table of popular items for {items} items", why=str(error), fix="train it again"
            ) from error


def training_events(log: EncodedLog, split: Split) -> Ints:
    """Absolute indices of all training events, users in order, oldest first."""
    lengths = split.train_end - log.ptr[:-1]
    starts = np.repeat(log.ptr[:-1] - (np.cumsum(lengths) - lengths), lengths)
    return starts + np.arange(len(starts))


def segment_column(log: EncodedLog, segment: str) -> Column:
    """The column behind "user.<column>" or "context.<column>". Raises SchemaError unless its values are a vocabulary."""
    role, _, name = segment.partition(".")
    columns = {"user": log.schema.user, "context": log.schema.context}.get(role, ())
    for column in columns:
        if column.name == name:
            if column.op is not Op.VOCABULARY:
                raise SchemaError(
                    f"segment {segment!r} is a {column.op} column", why="lists are kept by raw value", fix="use a VOCABULARY column"
                )
            return column
    known = [f"user.{column.name}" for column in log.schema.user] + [f"context.{column.name}" for column in log.schema.context]
    raise SchemaError(f"segment {segment!r} is not in the schema", why=f"it has {', '.join(known) or 'none'}", fix="name one of them")


def segment_ids(log: EncodedLog, segment: str, events: Ints) -> Ints:
    """The vocabulary id (0 unknown) of the segment at each event."""
    role, _, name = segment.partition(".")
    if role == "context":
        return log.context[name][events].astype(np.int64)
    return log.users[name][np.searchsorted(log.ptr, events, side="right") - 1].astype(np.int64)


def _age_weights(time: Ints, config: PopularityConfig) -> npt.NDArray[np.float64]:
    age = (time.max(initial=0) - time).astype(np.float64)
    weights = np.exp2(-age / config.half_life) if config.half_life else np.ones(len(time))
    return np.where(age <= config.window, weights, 0.0) if config.window else weights


def _dense(rows: Array, scores: Array, items: int) -> Floats:
    if rows.dtype != np.int64 or scores.dtype != np.float32 or rows.shape != scores.shape:
        raise ValueError(f"rows are {rows.dtype} {list(rows.shape)}, scores {scores.dtype} {list(scores.shape)}")
    if len(rows) and (rows.min() < 0 or rows.max() >= items):
        raise ValueError("a row is outside of the catalog")
    dense = np.zeros(items, dtype=np.float32)
    dense[rows] = scores
    return dense
