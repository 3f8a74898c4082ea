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

from shortlist.data.dataset import Array, EncodedLog, Segments, Split
from shortlist.data.splits import newest_training_time, training_mask
from shortlist.errors import BundleError, ConfigError, SchemaError
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_MOST_CELLS = 100_000_000  # segments x items, 12 bytes each while counting


@dataclass(frozen=True, slots=True, kw_only=True)
class PopularityConfig:
    """`half_life` and `window` are in units of the log's time, back from the newest training event; 0 switches them off.

    `segment` ("user.<column>" or "context.<column>") makes a list for each of its values, so it suits columns with few. A segment's count
    of an item is smoothed with `prior` events that are shared like all events, so a small segment falls back on the whole.
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
        """Counts of training events per item, weighted by age. Raises DataError when an age is asked for and times are only ranks."""
        config = config or PopularityConfig()
        events = np.flatnonzero(training_mask(log, split))
        weights = _age_weights(log, split, events, config)
        items = len(log.item_ids)
        counts = np.bincount(log.item[events], weights=weights, minlength=items)
        if not config.segment:
            return cls(counts.astype(np.float32))
        segments = segments_of(log, config.segment)
        ids = event_segments(log, config.segment, segments, events)
        named, shape = ids >= 0, (len(segments.keys), items)
        if shape[0] * shape[1] > _MOST_CELLS:
            raise ConfigError(
                f"segment {config.segment!r} has {shape[0]} values over {items} items",
                why="a list is kept for each, and so fine a segment knows little about most items",
                fix="use a column with fewer values, or a cross feature of the schema",
            )
        cell = ids[named] * items + log.item[events][named]
        by_segment = np.bincount(cell, weights=weights[named], minlength=shape[0] * shape[1]).reshape(shape)
        by_segment += config.prior * counts / max(counts.sum(), 1.0)
        return cls(counts.astype(np.float32), config.segment, segments.keys, by_segment.astype(np.float32))

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        """Scores [B,I] for the requests at `events`; unknown segment values get the overall list."""
        if self.segment_scores is None:
            return np.broadcast_to(self.scores, (len(events), len(self.scores))).copy()
        segments = segments_of(log, self.segment)
        position = {key: index for index, key in enumerate(self.keys)}
        list_of_id = np.array([*(position.get(key, len(self.keys)) for key in segments.keys), len(self.keys)])  # -1: the overall list
        table = np.concatenate([self.segment_scores, self.scores[None]])
        return np.asarray(table[list_of_id[event_segments(log, self.segment, segments, events)]])

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


def segments_of(log: EncodedLog, segment: str) -> Segments:
    """The values of "user.<column>" or "context.<column>". Raises SchemaError unless the log recorded them or they are a vocabulary."""
    if segment in log.segments:
        return log.segments[segment]
    role, _, name = segment.partition(".")
    columns = {"user": log.schema.user, "context": log.schema.context}.get(role, ())
    found = [column for column in columns if column.name == name]
    if not found:
        known = [f"user.{column.name}" for column in log.schema.user] + [f"context.{column.name}" for column in log.schema.context]
        raise SchemaError(f"segment {segment!r} is not in the schema", why=f"it has {', '.join(known) or 'none'}", fix="name one of them")
    if found[0].op is not Op.VOCABULARY:
        raise SchemaError(
            f"segment {segment!r} is a {found[0].op} column",
            why="lists are kept by raw value, which its encoding no longer holds",
            fix="use a VOCABULARY column, or one that is the segment of a cross feature",
        )
    vocabulary = found[0].vocabulary
    keys = tuple(sorted(vocabulary, key=str.encode))
    id_of = np.array([-1, *(keys.index(value) for value in vocabulary)], dtype=np.int64)
    encoded = (log.users if role == "user" else log.context)[name]
    return Segments(keys, id_of[encoded])


def event_segments(log: EncodedLog, segment: str, segments: Segments, events: Ints) -> Ints:
    """Index into `segments.keys` at each event [B]; -1 where it has none."""
    if segment.startswith("context."):
        return segments.ids[events]
    return segments.ids[np.searchsorted(log.ptr, events, side="right") - 1]


def _age_weights(log: EncodedLog, split: Split, events: Ints, config: PopularityConfig) -> npt.NDArray[np.float64]:
    if not config.half_life and not config.window:
        return np.ones(len(events))
    age = (newest_training_time(log, split) - log.time[events]).astype(np.float64)
    weights = np.exp2(-age / config.half_life) if config.half_life else np.ones(len(events))
    return np.where(age <= config.window, weights, 0.0) if config.window else weights


def _dense(rows: Array, scores: Array, items: int) -> Floats:
    if rows.dtype != np.int64 or scores.dtype != np.float32 or rows.shape != scores.shape:
        raise ValueError(f"rows are {rows.dtype} {list(rows.shape)}, scores {scores.dtype} {list(scores.shape)}")
    if len(rows) and (rows.min() < 0 or rows.max() >= items):
        raise ValueError("a row is outside of the catalog")
    dense = np.zeros(items, dtype=np.float32)
    dense[rows] = scores
    return dense
