"""Turns raw frames into the arrays that training, evaluation and export use. Refuses contradictions, drops nothing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist import schema as names
from shortlist.data.checks import check_frames, check_schema, source_name
from shortlist.data.dataset import Array, Dataset, EncodedImpressions, EncodedLog, Segments
from shortlist.data.problems import Problems
from shortlist.errors import DataError
from shortlist.features import encode_column, factorise, segment_value
from shortlist.schema import Column, Schema

Ints = npt.NDArray[np.int64]


def encode(dataset: Dataset) -> EncodedLog:
    """Encodes a data set. Users and items are sorted by id.

    Raises SchemaError when the schema contradicts itself, DataError that lists all problems of the frames.
    """
    schema = dataset.schema
    check_schema(schema)
    problems = Problems(dataset.name)
    check_frames(dataset, problems)
    problems.raise_if_any()

    users = _sorted_by_id(problems, "users", dataset.users, names.USER_ID)
    items = _sorted_by_id(problems, "items", dataset.items, names.ITEM_ID)
    user_ids, item_ids = users[names.USER_ID], items[names.ITEM_ID]
    event_user = _rows_of(problems, "events", dataset.events, user_ids, "users")
    order = np.argsort(event_user, kind="stable")
    already_grouped = bool((np.diff(event_user) >= 0).all())
    events, event_user = (dataset.events, event_user) if already_grouped else (dataset.events[order], event_user[order])
    time = events[names.TIME].to_numpy().astype(np.int64)
    _check_time_order(problems, event_user, time)

    log = EncodedLog(
        name=dataset.name,
        schema=schema,
        user_ids=_id_array(user_ids),
        item_ids=_id_array(item_ids),
        users=_columns(problems, "users", schema.user, users),
        items=_columns(problems, "items", schema.item, items),
        ptr=np.searchsorted(event_user, np.arange(len(users) + 1)).astype(np.int64),
        item=_rows_of(problems, "events", events, item_ids, "items"),
        action=_actions(problems, events[names.ACTION], schema),
        time=time,
        value=_values(problems, events),
        context=_columns(problems, "events", schema.context, events),
        impressions=_impressions(problems, dataset, user_ids, item_ids, event_user, time),
        segments=_segments(problems, dataset, users, events),
    )
    problems.raise_if_any()
    return log


def infer_vocabulary(values: pl.Series, *, min_count: int = 1, max_size: int | None = None) -> tuple[str, ...]:
    """Distinct non-empty texts of a column or of its lists, most frequent first, ties by text; integers become decimal text."""
    if isinstance(values.dtype, pl.List):
        values = values.filter(values.list.len() > 0).explode()
    texts = values.cast(pl.String).drop_nulls().rename("text")
    counts = texts.value_counts(name="count").filter((pl.col("count") >= min_count) & (pl.col("text") != ""))
    kept = counts.sort(["count", "text"], descending=[True, False])["text"]
    return tuple(kept.to_list() if max_size is None else kept.head(max_size).to_list())


def id_vocabulary(ids: pl.Series) -> tuple[str, ...]:
    """The vocabulary of an `item_row` column: distinct ids in catalog order (integers by value, text by UTF-8 bytes)."""
    return tuple(ids.unique().drop_nulls().sort().cast(pl.String).to_list())


def _sorted_by_id(problems: Problems, frame: str, rows: pl.DataFrame, key: str) -> pl.DataFrame:
    ids = rows[key].cast(pl.Int64 if rows.schema[key].is_integer() else pl.String)
    repeated = len(ids) - ids.n_unique()
    if repeated:
        first = ids.filter(ids.is_duplicated())[0]
        problems.add(f"{frame}.{key}", f"repeats in {repeated} of {len(ids)} rows (first: {first!r})", fix="keep one row for each id")
    return rows.with_columns(ids).sort(key)


def _id_array(ids: pl.Series) -> Array:
    """Integers as int64; text as objects, because fixed-width numpy text would drop trailing NULs."""
    return ids.to_numpy(writable=True) if ids.dtype == pl.Int64 else np.array(ids.to_list(), dtype=object)


def _rows_of(problems: Problems, frame: str, rows: pl.DataFrame, ids: pl.Series, target: str) -> Ints:
    """Row in `ids` of every value; unknown ones become -1 and a problem."""
    values = rows[ids.name].cast(ids.dtype)
    found = values.replace_strict(ids.unique(maintain_order=True), np.arange(ids.n_unique()), default=-1, return_dtype=pl.Int64).to_numpy(
        writable=True
    )
    unknown = found < 0
    if unknown.any():
        row = int(unknown.argmax())
        what = f"names {target} that do not exist in {int(unknown.sum())} of {len(found)} rows (first: row {row}, {values[row]!r})"
        problems.add(f"{frame}.{ids.name}", what, fix=f"add them to {target}, or drop the rows in the loader and count them in `report`")
    return found


def _check_time_order(problems: Problems, user: Ints, time: Ints) -> None:
    backwards = (np.diff(user) == 0) & (np.diff(time) < 0)
    if backwards.any():
        row = int(backwards.argmax()) + 1
        what = f"goes back within a user's events at {int(backwards.sum())} of {len(time)} rows (first: row {row} once grouped by user)"
        problems.add("events.time", what, fix="sort events by user and time, keeping the order of equal times")


def _columns(problems: Problems, frame: str, columns: Sequence[Column], rows: pl.DataFrame) -> dict[str, Array]:
    encoded: dict[str, Array] = {}
    for column in columns:
        try:
            encoded[column.name] = encode_column(column, rows[source_name(column)])
        except DataError as error:
            problems.absorb(frame, error)
    return encoded


def _actions(problems: Problems, values: pl.Series, schema: Schema) -> Ints:
    known = values.cast(pl.String).replace_strict(
        list(schema.actions), np.arange(1, len(schema.actions) + 1), default=0, return_dtype=pl.Int64
    )
    encoded = known.fill_null(0).to_numpy(writable=True)
    unknown = encoded == 0
    if unknown.any():
        row = int(unknown.argmax())
        what = f"is not among {list(schema.actions)} in {int(unknown.sum())} of {len(encoded)} rows (first: row {row}, {values[row]!r})"
        problems.add("events.action", what, fix="map it in the loader or add it to the schema's actions")
    return encoded


def _values(problems: Problems, events: pl.DataFrame) -> npt.NDArray[np.float32]:
    if names.VALUE not in events.columns:
        return np.zeros(len(events), dtype=np.float32)
    value = events[names.VALUE].cast(pl.Float32).fill_null(0.0).to_numpy(writable=True)
    bad = ~np.isfinite(value)
    if bad.any():
        problems.add("events.value", f"is not finite in {int(bad.sum())} of {len(value)} rows", fix="use null where no money changed hands")
    return value


def _impressions(
    problems: Problems, dataset: Dataset, user_ids: pl.Series, item_ids: pl.Series, event_user: Ints, event_time: Ints
) -> EncodedImpressions | None:
    rows = dataset.impressions
    if rows is None:
        return None
    request = rows[names.REQUEST_ID]
    ids = request.unique(maintain_order=True)
    number = request.replace_strict(ids, np.arange(len(ids)), return_dtype=pl.Int64).to_numpy()
    if (np.diff(number) < 0).any():
        order = np.argsort(number, kind="stable")
        rows, number = rows[order], number[order]
    ptr = np.searchsorted(number, np.arange(len(ids) + 1)).astype(np.int64)
    heads = rows[ptr[:-1]]
    for name in (names.USER_ID, names.TIME, *(column.name for column in dataset.schema.context)):
        differing = int(rows[name].ne_missing(heads[name][number]).sum())
        if differing:
            what = f"differs from its request's first row in {differing} of {len(rows)} rows"
            problems.add(f"impressions.{name}", what, fix="give every request its own request_id")
    labels = np.stack([rows[task].cast(pl.Float32).to_numpy() for task in dataset.schema.tasks], axis=1)
    bad = int(((labels != 0) & (labels != 1)).any(axis=1).sum())
    if bad:
        problems.add(
            "impressions", f"{bad} of {len(rows)} rows have task labels other than 0 and 1", fix=f"check {list(dataset.schema.tasks)}"
        )
    position = rows[names.POSITION].fill_null(-1).to_numpy().astype(np.int64)
    if (position < 0).any():
        problems.add("impressions.position", f"is missing or negative in {int((position < 0).sum())} rows", fix="count from 0")
    user = _rows_of(problems, "impressions", heads, user_ids, "users")
    time = heads[names.TIME].to_numpy().astype(np.int64)
    return EncodedImpressions(
        ptr=ptr,
        user=user,
        history_end=_events_before(event_user, event_time, user, time),
        time=time,
        context=_columns(problems, "impressions", dataset.schema.context, heads),
        item=_rows_of(problems, "impressions", rows, item_ids, "items"),
        position=position,
        labels=labels,
    )


def _events_before(event_user: Ints, event_time: Ints, user: Ints, time: Ints) -> Ints:
    """Absolute index of the first event of each (user, time) that is not earlier. Times are below 2^40, so the keys fit."""
    start = min(event_time.min(initial=0), time.min(initial=0))
    span = max(event_time.max(initial=0), time.max(initial=0)) - start + 1
    found: Ints = np.searchsorted(event_user * span + (event_time - start), user * span + (time - start), side="left").astype(np.int64)
    return found


def _segments(problems: Problems, dataset: Dataset, users: pl.DataFrame, events: pl.DataFrame) -> dict[str, Segments]:
    found: dict[str, Segments] = {}
    for segment in sorted({cross.segment for cross in dataset.schema.cross}):
        role, _, name = segment.partition(".")
        columns = {"user": dataset.schema.user, "context": dataset.schema.context}.get(role, ())
        for column in columns:
            if column.name != name:
                continue
            try:
                found[segment] = _segments_of(
                    column, users if role == "user" else events, dataset.impressions if role == "context" else None
                )
            except DataError as error:
                problems.absorb(f"segments of {role}", error)
    return found


def _segments_of(column: Column, rows: pl.DataFrame, impressions: pl.DataFrame | None) -> Segments:
    requests = None if impressions is None else impressions.unique(names.REQUEST_ID, keep="first", maintain_order=True)
    coded = [factorise(column, frame[column.name]) for frame in (rows, requests) if frame is not None]
    texts = [[segment_value(column, text) for text in distinct] for _, distinct in coded]
    keys = sorted({text for distinct in texts for text in distinct if text is not None})  # code points sort as UTF-8 bytes do
    position = {key: i for i, key in enumerate(keys)}
    ids = [
        np.array([-1 if text is None else position[text] for text in distinct] + [-1], dtype=np.int64)[codes]
        for (codes, _), distinct in zip(coded, texts, strict=True)
    ]
    return Segments(keys=tuple(keys), ids=ids[0], requests=ids[1] if requests is not None else None)
