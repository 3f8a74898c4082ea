"""Cross counters C(q,p) / (C(q) + prior): how often item p was engaged among the training events of segment q.

A segment's own event is part of its count, so training on it would leak the label; `without` takes it out again (leave-one-out).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from shortlist.data.counter_history import CounterHistory
from shortlist.data.dataset import EncodedLog, Segments, Split
from shortlist.data.splits import event_users, times_are_ranks, training_mask
from shortlist.errors import BundleError, SchemaError
from shortlist.schema import LAST_ITEM, CrossFeature

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CounterTable:
    """Rates of S segments over I items: segment s has `rows[indptr[s]:indptr[s+1]]`, ascending, and absent rows have rate 0.

    Segment ids are positions in `keys`, or catalog rows when `keys` is None. Ids of a log's `Segments` fit the table counted from it.
    `totals` are the C(q); a table read from a release has none and cannot leave events out.
    """

    keys: tuple[str, ...] | None
    indptr: Ints  # [S+1]
    rows: Ints  # [nnz]
    rate_values: Floats  # [nnz]
    items: int
    prior: float
    totals: Ints | None = None  # [S]
    counts: Ints | None = None  # [nnz]
    _pairs: Ints = field(init=False, repr=False)  # segment * items + row, ascending, and a sentinel

    def __post_init__(self) -> None:
        owner = np.repeat(np.arange(len(self.indptr) - 1), np.diff(self.indptr))
        object.__setattr__(self, "_pairs", np.append(owner * self.items + self.rows, np.iinfo(np.int64).max))

    @classmethod
    def count(cls, keys: tuple[str, ...] | None, segments: Ints, rows: Ints, *, items: int, prior: float) -> Self:
        """Counts events given as parallel segment ids [E] (-1: none) and catalog rows [E]."""
        named = segments >= 0
        pairs, counts = np.unique(segments[named] * items + rows[named], return_counts=True)
        totals = np.bincount(segments[named], minlength=items if keys is None else len(keys)).astype(np.int64)
        return cls.of_counts(keys, pairs, counts, totals, items=items, prior=prior)

    @classmethod
    def of_counts(cls, keys: tuple[str, ...] | None, pairs: Ints, counts: Ints, totals: Ints, *, items: int, prior: float) -> Self:
        """From ascending pairs segment * items + row [nnz] with their counts C(q,p) [nnz], and the C(q) [S]."""
        owner = pairs // items
        return cls(
            keys=keys,
            indptr=np.searchsorted(owner, np.arange(len(totals) + 1)).astype(np.int64),
            rows=pairs % items,
            rate_values=(counts / (totals[owner] + prior)).astype(np.float32),
            items=items,
            prior=prior,
            totals=totals,
            counts=counts.astype(np.int64),
        )

    def rates(self, segments: Ints, rows: Ints, *, without: Ints | None = None) -> Floats:
        """Rates [..,M] of rows [..,M] (-1: no item, rate 0) for segment ids [..] (-1: no segment, rate 0).

        `without` [..] are catalog rows of events that the table counted in their segments (-1: none); the result is what a
        table without that one event would give, for all M. Counts stop at 0 if it was counted in another segment.
        """
        if without is not None and (self.counts is None or self.totals is None):
            raise ValueError("this table was read from a release: it has rates but no counts to leave events out of")
        if len(self.rows) == 0:
            return np.zeros(np.broadcast_shapes((*segments.shape, 1), rows.shape), dtype=np.float32)
        wanted = segments[..., None] * self.items + rows
        at = np.searchsorted(self._pairs, wanted)
        found = (segments[..., None] >= 0) & (rows >= 0) & (self._pairs[at] == wanted)
        if without is None or self.counts is None or self.totals is None:
            return np.where(found, self.rate_values.take(at, mode="clip"), np.float32(0))
        left_out = (without >= 0) & (segments >= 0)
        counts = np.where(found, self.counts.take(at, mode="clip"), 0) - (found & (rows == np.where(left_out, without, -1)[..., None]))
        totals = np.maximum(np.where(segments >= 0, self.totals[segments], 0) - left_out, 0)
        rates: Floats = (counts / (totals[..., None] + self.prior)).astype(np.float32)
        return rates

    def segment(self, value: str | int | None) -> int:
        """Segment id of a value as `features.segment_value` gives it, or of a catalog row; -1 when it has no counts."""
        if value is None:
            return -1
        if self.keys is None:
            return int(value) if 0 <= int(value) < self.items else -1
        at = bisect_left(self.keys, str(value))
        return at if at < len(self.keys) and self.keys[at] == value else -1

    def compact(self) -> CounterTable:
        """The released form: without counts and, where segments have keys, without empty segments."""
        sizes = np.diff(self.indptr)
        kept = np.ones(len(sizes), dtype=bool) if self.keys is None else sizes > 0
        return CounterTable(
            keys=None if self.keys is None else tuple(key for key, keep in zip(self.keys, kept, strict=True) if keep),
            indptr=np.concatenate([[0], np.cumsum(sizes[kept])]).astype(np.int64),
            rows=self.rows,
            rate_values=self.rate_values,
            items=self.items,
            prior=self.prior,
        )

    def save(self, path: Path) -> None:
        """Writes the compact form as docs/bundle.md lays out `counters/<cross column>.safetensors`."""
        table = self.compact()
        tensors: dict[str, npt.NDArray[np.generic]] = {"indptr": table.indptr, "rows": table.rows, "rates": table.rate_values}
        if table.keys is not None:
            encoded = [key.encode() for key in table.keys]
            tensors["keys.bytes"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
            tensors["keys.offsets"] = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        save_file({name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}, path)

    @classmethod
    def load(cls, path: Path, *, items: int, prior: float) -> Self:
        """Reads what `save` wrote. Raises BundleError."""
        try:
            tensors = load_file(path)
            keys = None
            if "keys.offsets" in tensors:
                data, offsets = tensors["keys.bytes"].tobytes(), tensors["keys.offsets"].tolist()
                keys = tuple(data[begin:end].decode() for begin, end in pairwise(offsets))
            indptr, rows, rates = tensors["indptr"], tensors["rows"], tensors["rates"]
        except (OSError, SafetensorError, KeyError, UnicodeDecodeError) as error:
            raise BundleError(f"the counters {path} cannot be read", why=str(error), fix="count and save them again") from error
        segments = items if keys is None else len(keys)
        whole = len(indptr) == segments + 1 and indptr[0] == 0 and indptr[-1] == len(rows) == len(rates) and (np.diff(indptr) >= 0).all()
        if not whole or (len(rows) and not 0 <= rows.min() <= rows.max() < items):
            why = f"{len(indptr) - 1} segments and {len(rows)} rows do not fit {segments} segments of {items} items"
            raise BundleError(f"the counters {path} are inconsistent", why=why, fix="count and save them again")
        return cls(keys=keys, indptr=indptr, rows=rows, rate_values=rates, items=items, prior=prior)


def count_crosses(log: EncodedLog, split: Split) -> dict[str, CounterTable]:
    """The table of every cross feature of the schema, by name, counted from training events alone. Windows end at the newest of them."""
    training = np.flatnonzero(training_mask(log, split))
    newest = int(log.time[training].max(initial=0))  # of a log whose times are ranks: not used
    tables = {}
    for cross in log.schema.cross:
        check_clock(log, cross)
        events = training[log.time[training] > newest - cross.window] if cross.window else training
        keys = None if cross.segment == LAST_ITEM else _named(log, cross.segment).keys
        segments = event_segments(log, cross.segment, events)
        tables[cross.name] = CounterTable.count(keys, segments, log.item[events], items=len(log.item_ids), prior=cross.prior)
    return tables


def count_histories(log: EncodedLog, split: Split, crosses: Iterable[CrossFeature]) -> dict[str, CounterHistory]:
    """As `count_crosses`, for some cross features, at any moment."""
    events = np.flatnonzero(training_mask(log, split))
    histories = {}
    for cross in crosses:
        check_clock(log, cross)
        segments = event_segments(log, cross.segment, events)
        histories[cross.name] = CounterHistory.count(
            segments, log.item[events], log.time[events], items=len(log.item_ids), prior=cross.prior, window=cross.window
        )
    return histories


def check_clock(log: EncodedLog, cross: CrossFeature) -> None:
    """Raises SchemaError for a window on times that are ranks in each user's sequence (ml-1m): those are no common clock."""
    if cross.window and times_are_ranks(log):
        raise SchemaError(
            f"the cross feature {cross.name!r} has a window of {cross.window} s",
            why=f"the times of {log.name} are ranks in each user's sequence",
            fix="set its window to 0",
        )


def event_segments(log: EncodedLog, segment: str, events: Ints) -> Ints:
    """Segment ids of events (absolute indices), of the same shape; -1 is none. For `LAST_ITEM` the item of the user's event before."""
    if segment == LAST_ITEM:
        return _items_before(log, events, event_users(log, events))
    named = _named(log, segment)
    return named.ids[events if segment.startswith("context.") else event_users(log, events)]


def request_segments(log: EncodedLog, segment: str, requests: Ints) -> Ints:
    """Segment ids of logged requests; -1 is none. For `LAST_ITEM` the newest item of the request's history."""
    if log.impressions is None:
        raise SchemaError(f"{log.name} has no impressions", fix="use event_segments")
    user = log.impressions.user[requests]
    if segment == LAST_ITEM:
        return _items_before(log, log.impressions.history_end[requests], user)
    named = _named(log, segment)
    return named.ids[user] if named.requests is None else named.requests[requests]


def cross_features(
    log: EncodedLog, tables: dict[str, CounterTable], events: Ints, rows: Ints, *, leave_out: npt.NDArray[np.bool_] | None = None
) -> Floats:
    """The `cross` input [B,M,C] of events [B] and rows [B,M]. `leave_out` [B] marks training events: they do not count themselves."""
    without = None if leave_out is None else np.where(leave_out, log.item[events], -1)
    columns = [tables[cross.name].rates(event_segments(log, cross.segment, events), rows, without=without) for cross in log.schema.cross]
    return np.stack(columns, axis=-1) if columns else np.zeros((*rows.shape, 0), dtype=np.float32)


def request_cross_features(log: EncodedLog, tables: dict[str, CounterTable], requests: Ints, rows: Ints) -> Floats:
    """The `cross` input [B,M,C] of logged requests [B] and rows [B,M]. Nothing is left out: for requests after the counted events."""
    columns = [tables[cross.name].rates(request_segments(log, cross.segment, requests), rows) for cross in log.schema.cross]
    return np.stack(columns, axis=-1) if columns else np.zeros((*rows.shape, 0), dtype=np.float32)


def _items_before(log: EncodedLog, events: Ints, user: Ints) -> Ints:
    """Item of the event before each index of its user; -1 when there is none."""
    return np.where(events > log.ptr[user], log.item[np.maximum(events - 1, 0)], -1)


def _named(log: EncodedLog, segment: str) -> Segments:
    if segment not in log.segments:
        raise SchemaError(
            f"{log.name} has no segments {segment!r}", why=f"it has {sorted(log.segments)}", fix="encode the log with this schema"
        )
    return log.segments[segment]
