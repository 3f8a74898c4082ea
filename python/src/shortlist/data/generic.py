"""Your own Parquet or CSV files, described by a JSON mapping: the schema, where each frame is, and what its columns are called.

The mapping is the schema's JSON (`schema_json`) with a key `frames`; vocabularies that it leaves out are taken from the data.
docs/guides/data.md shows one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from shortlist import schema as names
from shortlist.data.checks import check_frames, check_schema, source_name
from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary, infer_vocabulary
from shortlist.data.frames import read_table
from shortlist.data.problems import Problems
from shortlist.data.schema_json import schema_from_dict
from shortlist.errors import DataError
from shortlist.schema import Column, Op, Schema

_FRAMES = ("users", "items", "events", "impressions")
_REQUIRED = ("items", "events")
_VOCABULARIES = (Op.VOCABULARY, Op.VOCABULARY_LIST, Op.ITEM_ROW)


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameSource:
    """One file: `rename` maps its column names to ours, `split` splits texts of a column into lists at a separator."""

    path: Path
    rename: dict[str, str]
    split: dict[str, str]


def load_generic(mapping: Path) -> Dataset:
    """Reads the frames that a mapping names (paths relative to it) and sorts events by user and time.

    Rows of unknown users or items are refused, or dropped and counted when the mapping says `"drop_unknown": true`.
    Raises SchemaError, or DataError that lists all problems.
    """
    document = _document(mapping)
    problems = Problems(str(document.get("name", mapping.stem)))
    sources = _sources(problems, mapping.parent, document.pop("frames", None))
    name, drop_unknown = document.pop("name", mapping.stem), document.pop("drop_unknown", False)
    if not isinstance(name, str) or not isinstance(drop_unknown, bool):
        problems.add(str(mapping), "`name` must be a text and `drop_unknown` true or false", fix="correct them")
    document.setdefault("item_id", "int64")  # replaced by what the items say
    schema = schema_from_dict(document)
    frames = {frame: _read(problems, frame, source, schema) for frame, source in sources.items()}
    problems.raise_if_any()
    if "users" not in frames:
        frames["users"] = (
            frames["events"].select(pl.col(names.USER_ID).unique()) if names.USER_ID in frames["events"].columns else pl.DataFrame()
        )
    frames = {frame: _completed(rows, schema) for frame, rows in frames.items()}
    schema = _with_item_id(schema, frames["items"])
    dataset = Dataset(name=name, schema=schema, report={}, impressions=frames.pop("impressions", None), **frames)
    check_frames(dataset, problems)
    problems.raise_if_any()
    dataset = _without_unknown(dataset) if drop_unknown else dataset
    dataset = replace(_in_time_order(dataset), schema=_with_vocabularies(dataset))
    check_schema(dataset.schema)
    return dataset


def _document(mapping: Path) -> dict[str, Any]:
    try:
        document = json.loads(mapping.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"the mapping {mapping} cannot be read", why=str(error), fix="docs/guides/data.md shows one") from error
    if not isinstance(document, dict):
        raise DataError(f"the mapping {mapping} is not a JSON object", fix="docs/guides/data.md shows one")
    return document


def _sources(problems: Problems, folder: Path, entries: Any) -> dict[str, FrameSource]:
    if not isinstance(entries, dict) or not set(_REQUIRED) <= set(entries) <= set(_FRAMES):
        problems.add("frames", f"must be an object with {list(_REQUIRED)} and at most {list(_FRAMES)}", fix="name a file for each")
        return {}
    found = {}
    for frame, entry in entries.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("path"), str) or not set(entry) <= {"path", "rename", "split"}:
            problems.add(f"frames.{frame}", "must have `path`, and may have `rename` and `split`", fix="correct its keys")
            continue
        texts = [entry.get(key, {}) for key in ("rename", "split")]
        if not all(isinstance(pairs, dict) and all(isinstance(value, str) for value in pairs.values()) for pairs in texts):
            problems.add(f"frames.{frame}", "`rename` and `split` must be objects of texts", fix="correct them")
            continue
        found[frame] = FrameSource(path=folder / entry["path"], rename=texts[0], split=texts[1])
    return found


def _wanted(schema: Schema, source: FrameSource) -> set[str]:
    """The file's names of everything that a frame can need; other columns are not read."""
    ours = {
        *(source_name(column) for column in (*schema.user, *schema.context, *schema.item)),
        *schema.tasks,
        *(names.USER_ID, names.ITEM_ID, names.ACTION, names.TIME, names.VALUE, names.REQUEST_ID, names.POSITION),
        *(names.TITLE, names.AVAILABLE_FROM, names.AVAILABLE_UNTIL),
    }
    return ours | set(source.rename) | set(source.split)


def _read(problems: Problems, frame: str, source: FrameSource, schema: Schema) -> pl.DataFrame:
    where = f"frames.{frame}"
    try:
        rows = read_table(source.path, _wanted(schema, source))
    except DataError as error:
        problems.absorb(where, error)
        return pl.DataFrame()
    missing = [name for name in (*source.rename, *source.split) if name not in rows.columns and name not in source.rename.values()]
    if missing:
        problems.add(where, f"{source.path} lacks the columns {missing} (has {rows.columns})", fix="correct `rename` and `split`")
        return pl.DataFrame()
    rows = rows.rename(source.rename)
    texts = [name for name in source.split if rows.schema[name] != pl.String]
    if texts:
        problems.add(where, f"the columns {texts} cannot be split: they are no text", fix="take them out of `split`")
        return rows
    parts = (
        pl.col(name).str.split(separator).list.eval(pl.element().filter(pl.element() != "")) for name, separator in source.split.items()
    )
    return rows.with_columns(*parts)


def _completed(rows: pl.DataFrame, schema: Schema) -> pl.DataFrame:
    """Ids of one type, times as unix seconds, and the only action of a schema where events have no column for it."""
    integers = [name for name in (names.USER_ID, names.ITEM_ID) if name in rows.columns and rows.schema[name].is_integer()]
    rows = rows.with_columns(pl.col(name).cast(pl.Int64) for name in integers)
    times = [name for name in (names.TIME, names.AVAILABLE_FROM, names.AVAILABLE_UNTIL) if name in rows.columns]
    moments = [name for name in times if isinstance(rows.schema[name], pl.Datetime | pl.Date)]
    rows = rows.with_columns(pl.col(name).dt.epoch("s") for name in moments)
    is_events = names.ITEM_ID in rows.columns and names.USER_ID in rows.columns and names.REQUEST_ID not in rows.columns
    if is_events and names.ACTION not in rows.columns and len(schema.actions) == 1:
        rows = rows.with_columns(pl.lit(schema.actions[0]).alias(names.ACTION))
    return rows


def _with_item_id(schema: Schema, items: pl.DataFrame) -> Schema:
    """The kind of ids as the items have them, and the column of their embedding rows."""
    integers = names.ITEM_ID in items.columns and items.schema[names.ITEM_ID].is_integer()
    has_rows = any(column.op is Op.ITEM_ROW for column in schema.item)
    item = schema.item if has_rows else (Column(name="id", op=Op.ITEM_ROW, in_history=True), *schema.item)
    return replace(schema, item_id="int64" if integers else "string", item=item)


def _without_unknown(dataset: Dataset) -> Dataset:
    report, kept = dict(dataset.report), {}
    for frame in ("events", "impressions"):
        rows = getattr(dataset, frame)
        if rows is None:
            continue
        known = rows.join(dataset.items, on=names.ITEM_ID, how="semi", maintain_order="left")
        report[f"{frame} of unknown items"] = len(rows) - len(known)
        kept[frame] = known.join(dataset.users, on=names.USER_ID, how="semi", maintain_order="left")
        report[f"{frame} of unknown users"] = len(known) - len(kept[frame])
    return replace(dataset, report=report, **kept)


def _in_time_order(dataset: Dataset) -> Dataset:
    """Events by user and time, equal times as they came; the report counts those that were out of order, and exact repeats, which stay."""
    events, order = dataset.events, [names.USER_ID, names.TIME]
    backwards = events.select((pl.col(names.TIME).diff() < 0).over(names.USER_ID).sum()).item()
    distinct = events.select(names.USER_ID, names.ITEM_ID, names.ACTION, names.TIME).n_unique()
    report = {"events out of time order (sorted)": int(backwards), "events that repeat another (kept)": len(events) - distinct}
    return replace(dataset, events=events.sort(order, maintain_order=True), report=dataset.report | report)


def _with_vocabularies(dataset: Dataset) -> Schema:
    schema = dataset.schema
    found = {
        role: tuple(_with_vocabulary(column, rows) for column in columns)
        for role, columns, rows in (
            ("user", schema.user, dataset.users),
            ("context", schema.context, dataset.events),
            ("item", schema.item, dataset.items),
        )
    }
    return replace(schema, user=found["user"], context=found["context"], item=found["item"])


def _with_vocabulary(column: Column, rows: pl.DataFrame) -> Column:
    if column.op not in _VOCABULARIES or column.vocabulary:
        return column
    values = rows[source_name(column)]
    return replace(column, vocabulary=id_vocabulary(values) if column.op is Op.ITEM_ROW else infer_vocabulary(values))
