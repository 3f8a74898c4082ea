"""The two forms of a data set: raw frames as loaders make them, and arrays as everything after encoding uses them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist.schema import Schema

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Dataset:
    """Raw frames, with the column names of `shortlist.schema`.

    users: `user_id` and the user columns. items: `item_id`, the item columns, optionally `title`, `available_from`, `available_until`
    (unix seconds, 0 open). events: `user_id`, `item_id`, `action`, `time` (unix seconds or a rank), optionally `value` (money), and the
    context columns; each user's events are in time order. impressions (optional): `request_id`, `user_id`, `item_id`, `position`
    (from 0), `time`, the context columns, and one 0/1 column per task. `report` counts what the loader dropped and why.
    """

    name: str
    schema: Schema
    users: pl.DataFrame
    items: pl.DataFrame
    events: pl.DataFrame
    impressions: pl.DataFrame | None = None
    report: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Segments:
    """The segment that every user, event and request has under one column, as a position in `keys`; -1 is none.

    Needed because counters count raw or normalised texts (docs/bundle.md), which encoded columns no longer hold.
    """

    keys: tuple[str, ...]  # ascending by UTF-8 bytes
    ids: npt.NDArray[np.int64]  # [U] for a user column, [E] for a context column
    requests: npt.NDArray[np.int64] | None = None  # [R] for a context column of a log with impressions


@dataclass(frozen=True)
class EncodedImpressions:
    """Requests R with N shown items. Items of request r are `ptr[r]:ptr[r+1]`."""

    ptr: npt.NDArray[np.int64]  # [R+1]
    user: npt.NDArray[np.int64]  # [R] user row
    history_end: npt.NDArray[np.int64]  # [R] absolute event index: the user's events below it are the history
    time: npt.NDArray[np.int64]  # [R]
    context: dict[str, Array]  # column -> [R] or [R,W]
    item: npt.NDArray[np.int64]  # [N] catalog row
    position: npt.NDArray[np.int64]  # [N]
    labels: npt.NDArray[np.float32]  # [N,T]


@dataclass(frozen=True)
class EncodedLog:
    """A data set as arrays. Item row r is the r-th smallest item id; the events of user u are `ptr[u]:ptr[u+1]`, oldest first.

    Encoded columns are int64 or float32 as the graphs take them.
    """

    name: str
    schema: Schema
    user_ids: Array  # [U]
    item_ids: Array  # [I], ascending
    users: dict[str, Array]  # column -> [U] or [U,W]
    items: dict[str, Array]  # column -> [I] or [I,W]
    ptr: npt.NDArray[np.int64]  # [U+1]
    item: npt.NDArray[np.int64]  # [E] catalog row
    action: npt.NDArray[np.int64]  # [E] 1 + index into schema.actions
    time: npt.NDArray[np.int64]  # [E]
    value: npt.NDArray[np.float32]  # [E]
    context: dict[str, Array]  # column -> [E] or [E,W]
    impressions: EncodedImpressions | None = None
    segments: dict[str, Segments] = field(default_factory=dict)  # "user.<column>" or "context.<column>" of the cross features


@dataclass(frozen=True)
class Split:
    """Which events train and which are predicted.

    Events of user u below `train_end[u]` train. `validation` and `test` are absolute event indices; the history of target e is all of
    its user's events below e. `times` (validation start, test start) is set when the split is by time; requests are split by it too.
    """

    train_end: npt.NDArray[np.int64]  # [U] absolute event index
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    times: tuple[int, int] | None = None
