"""Requests as the reference funnel reads them: checked, with raw values in place of wire messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.errors import DataError
from shortlist.export.catalog import Catalog
from shortlist.features import Raw, window_start
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import Column, Op, Schema

ItemId = int | str
Keep = Callable[[int], bool]


@dataclass(frozen=True)
class Query:
    """One request. `candidates` of None means: retrieve."""

    history: list[ItemId]  # oldest first
    actions: list[int]  # 1 + index into the schema's actions, parallel to history
    times: list[int]  # unix seconds, parallel to history; empty where the schema asks for none
    user: dict[str, Raw]
    context: dict[str, Raw]
    limit: int
    time: int  # unix seconds
    keep_seen: bool
    keep_unavailable: bool
    filters: tuple[wire.ColumnFilter, ...]
    candidates: list[ItemId] | None


def decode(request: wire.RecommendRequest, schema: Schema) -> Query:
    """Checks a request. Raises DataError that names the field. `time` must be set: an answer must not depend on the clock."""
    if request.time <= 0:
        raise DataError("time is not set", why="availability depends on it", fix="set it to unix seconds")
    if request.limit < 0:
        raise DataError(f"limit is {request.limit}", fix="send 0 (the release's default) or more")
    history = item_ids(request.user.history.items, schema, "user.history.items")
    names = list(request.user.history.actions) or [schema.actions[0]] * len(history)
    if len(names) != len(history):
        raise DataError(f"user.history.actions has {len(names)} values for {len(history)} items", fix="send one per item, or none")
    if unknown := [name for name in names if name not in schema.actions]:
        raise DataError(f"user.history.actions names {unknown[0]!r}", why=f"actions are {list(schema.actions)}")
    return Query(
        history=history,
        actions=[1 + schema.actions.index(name) for name in names],
        times=_times(list(request.user.history.times), len(history), schema) if schema.event_times else [],
        user=_values(request.user.features, schema.user, "user.features"),
        context=_values(request.context, schema.context, "context"),
        limit=request.limit,
        time=request.time,
        keep_seen=request.filters.keep_seen,
        keep_unavailable=request.filters.keep_unavailable,
        filters=tuple(request.filters.columns),
        candidates=item_ids(request.candidates, schema, "candidates") if request.HasField("candidates") else None,
    )


def _times(times: list[int], events: int, schema: Schema) -> list[int]:
    """The times of all events. Raises DataError where one is missing: a made-up time would say when the user was last here."""
    if len(times) != events:
        what = f"user.history.times has {len(times)} values for {events} items"
        raise DataError(what, why="the release's models read the times of events", fix="send one per item")
    start = window_start(events, schema.history_max_events, schema.history_step)
    for place, time in enumerate(times):
        least = max(times[place - 1] if place else time, int(place >= start))
        if time < least:
            raise DataError(f"user.history.times[{place}] is {time}", why=f"it is below {least}", fix="send unix seconds, oldest first")
    return times


def item_ids(ids: wire.ItemIds, schema: Schema, field: str) -> list[ItemId]:
    """The ids of the schema's kind. Raises DataError when ids of the other kind were sent."""
    kept, other = (ids.ints, ids.strings) if schema.item_id == "int64" else (ids.strings, ids.ints)
    if other:
        raise DataError(f"{field} holds ids of the wrong kind", why=f"item ids are {schema.item_id}", fix="fill the other list")
    return list(kept)


def raw_value(value: wire.Value) -> Raw:
    match value.WhichOneof("kind"):
        case "integer":
            return value.integer
        case "number":
            return value.number
        case "text":
            return value.text
        case "texts":
            return list(value.texts.values)
    return None


def to_value(raw: Raw) -> wire.Value:
    """The wire form of a raw value; of None an empty one."""
    if raw is None:
        return wire.Value()
    if isinstance(raw, str):
        return wire.Value(text=raw)
    if isinstance(raw, int):
        return wire.Value(integer=raw)
    if isinstance(raw, float):
        return wire.Value(number=raw)
    return wire.Value(texts=wire.TextList(values=raw))


def _values(values: Mapping[str, wire.Value], columns: Sequence[Column], field: str) -> dict[str, Raw]:
    known = {column.name for column in columns}
    if unknown := sorted(set(values) - known):
        raise DataError(f"{field} names the unknown column {unknown[0]!r}", why=f"columns are {sorted(known)}", fix="leave it out")
    return {name: raw_value(value) for name, value in values.items()}


def column_filters(filters: Iterable[wire.ColumnFilter], catalog: Catalog, schema: Schema) -> Keep:
    """Whether a catalog row passes all filters. Raises DataError for a column or value that cannot be compared."""
    columns = {column.name: column for column in schema.item}
    tests: list[Keep] = []
    for part in filters:
        if part.column not in columns:
            raise DataError(f"filters.columns names the unknown column {part.column!r}", why=f"item columns are {sorted(columns)}")
        tests.append(_filter(part, columns[part.column], catalog))
    return lambda row: all(test(row) for test in tests)


def _filter(part: wire.ColumnFilter, column: Column, catalog: Catalog) -> Keep:
    """Numbers and bounds compare as float32, texts exactly; of a list column any value may match."""
    raw = catalog.raw[column.name]
    any_of, none_of = ({one for value in values for one in _comparable(raw_value(value), column)} for values in (part.any_of, part.none_of))
    if column.op is not Op.NUMBER and (part.HasField("min") or part.HasField("max")):
        raise DataError(f"filters.columns: {column.name!r} has a min or max", why="the column holds no numbers", fix="use any_of")
    low = np.float32(part.min) if part.HasField("min") else None
    high = np.float32(part.max) if part.HasField("max") else None

    def keep(row: int) -> bool:
        value = raw[row]
        values = set(value) if isinstance(value, list) else {value}
        if part.any_of and not values & any_of:
            return False
        if values & none_of:
            return False
        return (low is None or bool(value >= low)) and (high is None or bool(value <= high))

    return keep


def _comparable(raw: Raw, column: Column) -> list[str | np.float32]:
    if column.op is Op.NUMBER and isinstance(raw, int | float):
        return [np.float32(raw)]
    if column.op is not Op.NUMBER and isinstance(raw, str | int):
        return [str(raw)]
    if column.op is not Op.NUMBER and isinstance(raw, list):
        return list(raw)
    raise DataError(f"filters.columns: a value of {column.name!r} has the wrong kind", why=f"its op is {column.op.value}")
