"""Tables of a release in memory and as safetensors: counters and sources. docs/bundle.md fixes the layout.

Rows are catalog rows: items in ascending id order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from shortlist.errors import BundleError

Array = npt.NDArray[Any]  # of the type that its name promises
Tensors = dict[str, Array]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def text_tensors(name: str, texts: Sequence[str]) -> Tensors:
    """A list of texts as two tensors: all UTF-8 bytes, and where each text begins."""
    encoded = [text.encode() for text in texts]
    offsets = np.cumsum([0, *(len(data) for data in encoded)], dtype=np.int64)
    return {f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8), f"{name}.offsets": offsets}


def take(tensors: Mapping[str, Array], name: str, kind: type[np.generic], shape: tuple[int | None, ...]) -> Array:
    """The tensor `name`, checked for type and shape (None: any size). Raises BundleError."""
    if name not in tensors:
        raise BundleError(f"tensor {name!r} is missing", why=f"the file holds {sorted(tensors)}", fix="export the release again")
    tensor = tensors[name]
    fits = tensor.ndim == len(shape) and all(want in (None, got) for want, got in zip(shape, tensor.shape, strict=True))
    if tensor.dtype != kind or not fits:
        wanted = ["any" if size is None else size for size in shape]
        raise BundleError(
            f"tensor {name!r} is {tensor.dtype} {list(tensor.shape)}",
            why=f"the format asks for {np.dtype(kind)} {wanted}",
            fix="export the release again",
        )
    return tensor


def take_texts(tensors: Mapping[str, Array], name: str) -> list[str]:
    """The list of texts `name`. Raises BundleError."""
    data = take(tensors, f"{name}.bytes", np.uint8, (None,)).tobytes()
    offsets = take_offsets(tensors, f"{name}.offsets", end=len(data))
    try:
        return [data[begin:end].decode() for begin, end in pairwise(offsets)]
    except UnicodeDecodeError as error:
        raise BundleError(f"texts {name!r} are not UTF-8", why=str(error), fix="export the release again") from error


def take_offsets(tensors: Mapping[str, Array], name: str, *, end: int, count: int | None = None) -> Ints:
    """Offsets [count+1] that rise from 0 to `end`. Raises BundleError."""
    offsets = take(tensors, name, np.int64, (None if count is None else count + 1,)).astype(np.int64)
    if len(offsets) == 0 or offsets[0] != 0 or offsets[-1] != end or np.any(np.diff(offsets) < 0):
        raise BundleError(f"offsets {name!r} are wrong", why=f"they must rise from 0 to {end}", fix="export the release again")
    return offsets


@dataclass(frozen=True)
class Ragged:
    """Lists of (row, value), one list for each of S segments: list s is `indptr[s]:indptr[s+1]`."""

    indptr: Ints  # [S+1]
    rows: Ints  # [nnz]
    values: Floats  # [nnz]

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def of(self, segment: int) -> tuple[Ints, Floats]:
        part = slice(self.indptr[segment], self.indptr[segment + 1])
        return self.rows[part], self.values[part]

    def tensors(self, values_name: str) -> Tensors:
        return {"indptr": self.indptr.astype(np.int64), "rows": self.rows.astype(np.int64), values_name: self.values.astype(np.float32)}

    @classmethod
    def read(cls, tensors: Mapping[str, Array], values_name: str, *, segments: int, items: int) -> Ragged:
        rows = take_rows(tensors, "rows", items)
        values = take(tensors, values_name, np.float32, (len(rows),)).astype(np.float32)
        if not np.isfinite(values).all():
            raise BundleError(f"tensor {values_name!r} holds NaN or infinity", fix="train and export the release again")
        return cls(take_offsets(tensors, "indptr", end=len(rows), count=segments), rows, values)


def take_rows(tensors: Mapping[str, Array], name: str, items: int) -> Ints:
    """Catalog rows. Raises BundleError when one is outside of the catalog."""
    rows = take(tensors, name, np.int64, (None,)).astype(np.int64)
    if len(rows) and (rows.min() < 0 or rows.max() >= items):
        raise BundleError(f"tensor {name!r} names a row outside of the catalog of {items} items", fix="export the release again")
    return rows


@dataclass(frozen=True)
class Counter:
    """Rates C(q,p)/(C(q)+prior) of one cross column. `keys` are sorted; None when segments are catalog rows."""

    keys: list[str] | None
    table: Ragged

    def rates(self, segment: str | int | None, rows: Ints) -> Floats:
        """Rates [M] of catalog rows [M]; 0 where nothing was counted."""
        rates = np.zeros(len(rows), dtype=np.float32)
        index = _segment_index(self.keys, segment)
        if index is not None:
            known, values = self.table.of(index)
            rate_of = dict(zip(known.tolist(), values.tolist(), strict=True))
            rates[:] = [rate_of.get(row, 0.0) for row in rows.tolist()]
        return rates

    def tensors(self) -> Tensors:
        return (text_tensors("keys", self.keys) if self.keys is not None else {}) | self.table.tensors("rates")

    @classmethod
    def read(cls, tensors: Mapping[str, Array], *, by_row: bool, items: int) -> Counter:
        keys = None if by_row else take_sorted_texts(tensors, "keys")
        return cls(keys, Ragged.read(tensors, "rates", segments=items if keys is None else len(keys), items=items))


@dataclass(frozen=True)
class Neighbours:
    """Co-occurring items of each item, heaviest first."""

    table: Ragged

    def tensors(self) -> Tensors:
        return self.table.tensors("weights")

    @classmethod
    def read(cls, tensors: Mapping[str, Array], *, items: int) -> Neighbours:
        return cls(Ragged.read(tensors, "weights", segments=items, items=items))


@dataclass(frozen=True)
class PopularLists:
    """One list of items, best first; with `keys` (sorted) a list for each segment value as well."""

    rows: Ints
    scores: Floats
    keys: list[str] | None = None
    table: Ragged | None = None

    def of(self, segment: str | int | None) -> tuple[Ints, Floats]:
        index = _segment_index(self.keys, segment) if self.keys is not None else None
        return (self.rows, self.scores) if index is None or self.table is None else self.table.of(index)

    def tensors(self) -> Tensors:
        if self.keys is None or self.table is None:
            return {"rows": self.rows, "scores": self.scores}
        return text_tensors("keys", self.keys) | self.table.tensors("scores") | {"default.rows": self.rows, "default.scores": self.scores}

    @classmethod
    def read(cls, tensors: Mapping[str, Array], *, segmented: bool, items: int) -> PopularLists:
        prefix = "default." if segmented else ""
        rows = take_rows(tensors, f"{prefix}rows", items)
        scores = take(tensors, f"{prefix}scores", np.float32, (len(rows),)).astype(np.float32)
        if not segmented:
            return cls(rows, scores)
        keys = take_sorted_texts(tensors, "keys")
        return cls(rows, scores, keys, Ragged.read(tensors, "scores", segments=len(keys), items=items))


def take_sorted_texts(tensors: Mapping[str, Array], name: str) -> list[str]:
    """Texts in strictly ascending order of their UTF-8 bytes. Raises BundleError."""
    texts = take_texts(tensors, name)
    encoded = [text.encode() for text in texts]
    if any(left >= right for left, right in pairwise(encoded)):
        raise BundleError(f"texts {name!r} are not in ascending order", why="readers search them", fix="export the release again")
    return texts


def _segment_index(keys: list[str] | None, segment: str | int | None) -> int | None:
    if segment is None or isinstance(segment, int):
        return segment
    if keys is None:
        raise BundleError("a table by catalog row was asked for a text segment", why="its file has no keys")
    try:
        return keys.index(segment)
    except ValueError:
        return None
