"""The catalog of a release: items in ascending id order, as safetensors and from raw frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from shortlist.data.dataset import Dataset, EncodedLog
from shortlist.errors import BundleError
from shortlist.export.tables import Array, Floats, Ints, Tensors, take, take_offsets, take_sorted_texts, take_texts, text_tensors
from shortlist.schema import AVAILABLE_FROM, AVAILABLE_UNTIL, ITEM_ID, TITLE, Column, Op, Schema

# A column's raw values: numbers [I], a text per item, or a list of texts per item.
Raw = Floats | list[str] | list[list[str]]


@dataclass(frozen=True)
class Catalog:
    """Items in ascending id order: encoded graph inputs, raw values, and optional titles and availability."""

    ids: list[int] | list[str]
    inputs: dict[str, Array]  # column -> [I] or [I,W]
    raw: dict[str, Raw]
    titles: list[str] | None = None
    available_from: Ints | None = None  # [I] unix seconds, 0 open
    available_until: Ints | None = None  # [I] unix seconds, exclusive, 0 open

    def __len__(self) -> int:
        return len(self.ids)

    def tensors(self) -> Tensors:
        tensors = text_tensors("id", [str(item) for item in self.ids])
        if all(isinstance(item, int) for item in self.ids):
            tensors = {"id": np.array(self.ids, dtype=np.int64)}
        for name, values in self.inputs.items():
            tensors[f"input.{name}"] = values
        for name, raw in self.raw.items():
            tensors |= _raw_tensors(f"raw.{name}", raw)
        if self.titles is not None:
            tensors |= text_tensors("title", self.titles)
        for name, times in (("available_from", self.available_from), ("available_until", self.available_until)):
            if times is not None:
                tensors[name] = times.astype(np.int64)
        return tensors

    @classmethod
    def read(cls, tensors: Mapping[str, Array], schema: Schema) -> Catalog:
        ids: list[int] | list[str]
        if schema.item_id == "int64":
            numbers = take(tensors, "id", np.int64, (None,))
            ids = numbers.tolist()
            if np.any(np.diff(numbers) <= 0):
                raise BundleError("item ids are not in ascending order", why="rows are the tie rule", fix="export the release again")
        else:
            ids = take_sorted_texts(tensors, "id")
        inputs: dict[str, Array] = {}
        raw: dict[str, Raw] = {}
        for column in schema.item:
            kind = np.float32 if column.op is Op.NUMBER else np.int64
            inputs[column.name] = take(tensors, f"input.{column.name}", kind, (len(ids), column.width) if column.width else (len(ids),))
            raw[column.name] = _read_raw(tensors, column, len(ids))

        def times(name: str) -> Ints | None:
            return take(tensors, name, np.int64, (len(ids),)).astype(np.int64) if name in tensors else None

        titles = take_texts(tensors, "title") if "title.bytes" in tensors else None
        return cls(ids, inputs, raw, titles, times("available_from"), times("available_until"))


def _raw_tensors(name: str, raw: Raw) -> Tensors:
    if isinstance(raw, np.ndarray):
        return {name: raw.astype(np.float32)}
    if all(isinstance(value, str) for value in raw):
        return text_tensors(name, [str(value) for value in raw])
    offsets = np.cumsum([0, *(len(values) for values in raw)], dtype=np.int64)
    return text_tensors(name, [value for values in raw for value in values]) | {f"{name}.rows": offsets}


def _read_raw(tensors: Mapping[str, Array], column: Column, items: int) -> Raw:
    name = f"raw.{column.name}"
    if column.op is Op.NUMBER:
        return take(tensors, name, np.float32, (items,)).astype(np.float32)
    texts = take_texts(tensors, name)
    if column.op is Op.VOCABULARY_LIST:
        offsets = take_offsets(tensors, f"{name}.rows", end=len(texts), count=items)
        return [texts[begin:end] for begin, end in pairwise(offsets)]
    if len(texts) != items:
        raise BundleError(f"texts {name!r} have {len(texts)} values", why=f"the catalog has {items} items", fix="export the release again")
    return texts


def catalog_of(dataset: Dataset, log: EncodedLog) -> Catalog:
    """The catalog of an encoded data set: encoded columns from the log, raw ones from the frame of items."""
    by_row = dataset.items.sort(ITEM_ID)
    ids = [int(item) if dataset.schema.item_id == "int64" else str(item) for item in log.item_ids.tolist()]

    def texts(name: str) -> list[str]:
        return by_row[name].cast(pl.String).fill_null("").to_list()

    def times(name: str) -> Ints | None:
        return by_row[name].cast(pl.Int64).fill_null(0).to_numpy().astype(np.int64) if name in by_row.columns else None

    raw: dict[str, Raw] = {}
    for column in dataset.schema.item:
        name = ITEM_ID if column.op is Op.ITEM_ROW else column.name
        if column.op is Op.NUMBER:
            raw[column.name] = log.items[column.name].astype(np.float32)  # a missing number is its default, for filters too
        elif column.op is Op.VOCABULARY_LIST:
            raw[column.name] = [list(values or ()) for values in by_row[name].to_list()]
        else:
            raw[column.name] = texts(name)
    return Catalog(
        ids=ids,  # type: ignore[arg-type]  # one kind of id by the schema
        inputs={column.name: log.items[column.name] for column in dataset.schema.item},
        raw=raw,
        titles=texts(TITLE) if TITLE in by_row.columns else None,
        available_from=times(AVAILABLE_FROM),
        available_until=times(AVAILABLE_UNTIL),
    )
