"""Do a schema and the frames of a data set hold together? Everything that `encode` relies on is checked here or while encoding."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from shortlist import schema as names
from shortlist.data.dataset import Dataset
from shortlist.data.problems import Problems
from shortlist.errors import SchemaError
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

_SEGMENT_OPS = (Op.VOCABULARY, Op.HASH, Op.TOKENS)
_NEEDS_WIDTH = (Op.VOCABULARY_LIST, Op.TOKENS)


def source_name(column: Column) -> str:
    """The frame column that a feature column reads: the embedding row of an item comes from its id."""
    return names.ITEM_ID if column.op is Op.ITEM_ROW else column.name


def check_schema(schema: Schema) -> None:
    """Raises SchemaError that lists every contradiction within a schema."""
    found: list[str] = []
    for role, columns in (("user", schema.user), ("context", schema.context), ("item", schema.item)):
        repeated = {column.name for column in columns if sum(other.name == column.name for other in columns) > 1}
        found += [f"{role}.{name} is declared twice" for name in sorted(repeated)]
        for column in columns:
            found += [f"{role}.{column.name} {what}" for what in _column_faults(column, role)]
    if [column.op for column in schema.item].count(Op.ITEM_ROW) != 1:
        found.append("the item columns need exactly one of op item_row: Column(name='id', op=Op.ITEM_ROW, in_history=True)")
    for kind, listed in (("action", schema.actions), ("task", schema.tasks)):
        if not listed or len(set(listed)) != len(listed):
            found.append(f"{kind}s must be a non-empty list without repeats, not {list(listed)}")
    found += [f"cross {cross.name} {what}" for cross in schema.cross for what in _cross_faults(cross, schema)]
    if len({cross.name for cross in schema.cross}) != len(schema.cross):
        found.append("two cross features have one name")
    if not 1 <= schema.history_step <= schema.history_max_events:
        found.append(f"history_step {schema.history_step} must be between 1 and history_max_events {schema.history_max_events}")
    if found:
        raise SchemaError("the schema contradicts itself:\n- " + "\n- ".join(found))


def check_frames(dataset: Dataset, problems: Problems) -> None:
    """Adds missing columns and wrong types of ids, actions and times. Feature columns are judged by their ops later."""
    schema = dataset.schema
    user, context, item = ([source_name(column) for column in columns] for columns in (schema.user, schema.context, schema.item))
    _check_columns(problems, "users", dataset.users, [names.USER_ID, *user])
    _check_columns(problems, "items", dataset.items, [names.ITEM_ID, *item])
    _check_columns(problems, "events", dataset.events, [names.USER_ID, names.ITEM_ID, names.ACTION, names.TIME, *context])
    _check_types(problems, "users", dataset.users, {})
    _check_types(problems, "items", dataset.items, {names.ITEM_ID: schema.item_id})
    _check_types(problems, "events", dataset.events, {names.ITEM_ID: schema.item_id, names.ACTION: "string", names.VALUE: "number"})
    if dataset.impressions is not None:
        wanted = [names.REQUEST_ID, names.USER_ID, names.ITEM_ID, names.POSITION, names.TIME, *context, *schema.tasks]
        _check_columns(problems, "impressions", dataset.impressions, wanted)
        types = {names.ITEM_ID: schema.item_id, names.POSITION: "int64"} | {task: "number" for task in schema.tasks}
        _check_types(problems, "impressions", dataset.impressions, types)
    for frame, rows in (("events", dataset.events), ("impressions", dataset.impressions)):
        if rows is None or names.USER_ID not in rows.columns or names.USER_ID not in dataset.users.columns:
            continue
        if _is_text(rows.schema[names.USER_ID]) != _is_text(dataset.users.schema[names.USER_ID]):
            problems.add(f"{frame}.{names.USER_ID}", "has another type than users.user_id", fix="use integers or text in both")


def _column_faults(column: Column, role: str) -> Iterable[str]:
    if column.op in _NEEDS_WIDTH and column.width < 1:
        yield f"of op {column.op.value} needs a width"
    if column.op not in _NEEDS_WIDTH and column.width:
        yield f"of op {column.op.value} cannot have a width"
    if column.op in (Op.HASH, Op.TOKENS) and column.buckets < 1:
        yield f"of op {column.op.value} needs buckets"
    if len(set(column.vocabulary)) != len(column.vocabulary):
        yield "has a vocabulary with repeats"
    if "" in column.vocabulary:
        yield "has the empty text in its vocabulary, which catalogs cannot tell from a missing value"
    if column.in_history and role != "item":
        yield "cannot be in_history: only item columns are"
    if column.op is Op.ITEM_ROW and role != "item":
        yield "cannot be of op item_row: only an item column is"


def _cross_faults(cross: CrossFeature, schema: Schema) -> Iterable[str]:
    if cross.prior <= 0:
        yield f"has the prior {cross.prior}; it must be positive"
    if cross.window < 0:
        yield f"has the window {cross.window}; it is in seconds, or 0 for all times"
    if cross.segment == LAST_ITEM:
        return
    role, _, name = cross.segment.partition(".")
    columns = {"user": schema.user, "context": schema.context}.get(role, ())
    found = [column for column in columns if column.name == name]
    if not found:
        yield f"has the segment {cross.segment!r}, which is neither {LAST_ITEM!r} nor a user or context column"
    elif found[0].op not in _SEGMENT_OPS:
        yield f"has the segment {cross.segment!r} of op {found[0].op.value}; segments are vocabulary, hash or tokens columns"


def _check_columns(problems: Problems, frame: str, rows: pl.DataFrame, wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in rows.columns]
    if missing:
        problems.add(
            frame, f"lacks the columns {missing} (has {rows.columns})", fix="add them in the loader or take them out of the schema"
        )


def _check_types(problems: Problems, frame: str, rows: pl.DataFrame, kinds: dict[str, str]) -> None:
    for name in (names.USER_ID, names.ITEM_ID, names.REQUEST_ID):
        if name not in rows.columns:
            continue
        dtype = rows.schema[name]
        if not (_is_whole(dtype) or _is_text(dtype)):
            problems.add(f"{frame}.{name}", f"has the type {dtype}", fix="use integers or text")
        if dtype == pl.UInt64 and (rows[name] >= 1 << 63).any():
            problems.add(f"{frame}.{name}", "has ids of 2^63 and above", fix="use signed 64 bit integers or text")
        nulls = rows[name].null_count()
        if nulls:
            problems.add(
                f"{frame}.{name}", f"is missing in {nulls} of {len(rows)} rows", fix="drop these rows in the loader and count them"
            )
    for name, kind in kinds.items():
        if name not in rows.columns:
            continue
        dtype = rows.schema[name]
        allowed = {"int64": _is_whole(dtype), "string": _is_text(dtype), "number": dtype.is_numeric()}
        if not allowed[kind]:
            problems.add(f"{frame}.{name}", f"has the type {dtype}, not {kind}", fix="cast it in the loader")
    if names.TIME in rows.columns:
        _check_time(problems, frame, rows[names.TIME])


def _check_time(problems: Problems, frame: str, time: pl.Series) -> None:
    where = f"{frame}.{names.TIME}"
    if not _is_whole(time.dtype):
        problems.add(where, f"has the type {time.dtype}", fix="use whole unix seconds, e.g. dt.epoch('s')")
        return
    outside = int((time.is_null() | (time < 0) | (time >= 1 << 40)).fill_null(True).sum())
    if outside:
        problems.add(
            where, f"is missing, negative or past the year 36000 in {outside} of {len(time)} rows", fix="use seconds, not milliseconds"
        )


def _is_whole(dtype: pl.DataType) -> bool:
    return dtype.is_integer() and dtype not in (pl.Int128, pl.UInt128)


def _is_text(dtype: pl.DataType) -> bool:
    return dtype in (pl.String, pl.Categorical, pl.Enum)
