"""The operations that happen outside the graphs, as docs/bundle.md specifies them; tests/cases/features.json holds both languages to it.

Each exists twice: for one raw value (requests) and for a whole column (training), which works on the distinct texts only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist.errors import DataError, SchemaError
from shortlist.schema import Column, Op

Raw = str | int | float | Sequence[str] | None

_LOWER_BELOW = 0x530
_SEPARATORS = [chr(code) for code in range(0x80) if not chr(code).isalnum()] + list("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000")
_SEPARATORS += [chr(code) for code in range(0x2000, 0x200B)]
# `str.lower` is Unicode's full mapping; it differs from the simple one in a single place below U+0530, where it gives two code points.
_TRANSLATION = {code: chr(code).lower() for code in range(_LOWER_BELOW)} | {0x130: "i"} | {ord(char): " " for char in _SEPARATORS}

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3
_MASK_64 = 0xFFFFFFFFFFFFFFFF

_TEXT_OPS = (Op.VOCABULARY, Op.HASH, Op.TOKENS, Op.ITEM_ROW)


def normalise(text: str) -> str:
    """Lower-cased text whose separators are single inner spaces."""
    return " ".join(piece for piece in text.translate(_TRANSLATION).split(" ") if piece)


def tokens(text: str) -> list[str]:
    """Pieces of the normalised text; none of an empty one."""
    return [piece for piece in text.translate(_TRANSLATION).split(" ") if piece]


def fnv1a64(data: bytes) -> int:
    """FNV-1a, 64 bit (draft-eastlake-fnv)."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & _MASK_64
    return value


def hash_id(text: str, buckets: int) -> int:
    """1 + hash of an already normalised text; 0 for an empty one."""
    return 1 + fnv1a64(text.encode()) % buckets if text else 0


def hash_ids(texts: Sequence[str], buckets: int) -> npt.NDArray[np.int64]:
    """`hash_id` of many texts: a step per byte position, over the texts that are long enough."""
    encoded = [text.encode() for text in texts]
    lengths = np.array([len(data) for data in encoded], dtype=np.int64)
    longest_first = np.argsort(-lengths, kind="stable")
    flat = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.uint64)
    starts = (np.cumsum(lengths) - lengths)[longest_first]
    active = np.searchsorted(-lengths[longest_first], -np.arange(lengths.max(initial=0)), side="left")  # texts longer than j
    hashes = np.full(len(encoded), _FNV_OFFSET, dtype=np.uint64)
    for j, count in enumerate(active):
        hashes[:count] = (hashes[:count] ^ flat[starts[:count] + j]) * np.uint64(_FNV_PRIME)
    ids = np.empty(len(encoded), dtype=np.int64)
    ids[longest_first] = (hashes % np.uint64(buckets)).astype(np.int64) + 1
    ids[lengths == 0] = 0
    return ids


def window_start(n: int, max_events: int, step: int) -> int:
    """First kept event of a history of n: the smallest multiple s of `step` with n - s <= max_events."""
    return max(0, -(-(n - max_events) // step)) * step


def window_starts(n: npt.NDArray[np.int64], max_events: int, step: int) -> npt.NDArray[np.int64]:
    """`window_start` of many lengths."""
    starts: npt.NDArray[np.int64] = np.maximum(0, -(-(n - max_events) // step)) * step
    return starts


def encode_value(column: Column, raw: Raw) -> npt.NDArray[np.generic]:
    """One raw value as its graph input without batch axis: int64 or float32, shape [] or [W].

    Raises DataError when the value is of another kind than the column takes, not finite or out of bounds.
    """
    if column.op is Op.NUMBER:
        return np.array(_number(column, raw), dtype=np.float32)
    if column.op is Op.VOCABULARY_LIST:
        return _padded([_position(column, value) for value in _texts(column, raw)[: column.width]], column.width)
    text = _text(column, raw)
    if column.op is Op.TOKENS:
        return _padded([hash_id(token, column.buckets) for token in tokens(text or "")[: column.width]], column.width)
    if column.op is Op.HASH:
        return np.array(hash_id(normalise(text or ""), column.buckets), dtype=np.int64)
    return np.array(0 if text is None else _position(column, text), dtype=np.int64)


def segment_value(column: Column, raw: Raw) -> str | None:
    """The text that names a counter's segment; None when there is none (missing or empty).

    Raises SchemaError for a column that cannot name segments.
    """
    if column.op not in _TEXT_OPS:
        raise SchemaError(
            f"column {column.name!r} cannot be the segment of a cross feature",
            why=f"its op is {column.op.value}, and segments are single texts",
            fix="use a vocabulary, hash or tokens column",
        )
    text = _text(column, raw)
    if text is not None and column.op in (Op.HASH, Op.TOKENS):
        text = normalise(text)
    return text or None


def encode_column(column: Column, values: pl.Series) -> npt.NDArray[np.generic]:
    """`encode_value` of a whole column: int64 or float32, shape [n] or [n,W]. Raises DataError that counts the offending rows."""
    if column.op is Op.NUMBER:
        return _encode_numbers(column, values)
    if column.op is Op.VOCABULARY_LIST:
        return _encode_lists(column, values)
    codes, texts = factorise(column, values)
    table: npt.NDArray[np.int64]
    if column.op is Op.TOKENS:
        table = np.zeros((len(texts) + 1, column.width), dtype=np.int64)
        pieces = [tokens(text)[: column.width] for text in texts]
        counts = np.array([len(found) for found in pieces], dtype=np.int64)
        flat = hash_ids([token for found in pieces for token in found], column.buckets)
        table[:-1][np.arange(column.width) < counts[:, None]] = flat
    elif column.op is Op.HASH:
        table = np.append(hash_ids([normalise(text) for text in texts], column.buckets), 0)
    else:
        positions = {text: 1 + i for i, text in enumerate(column.vocabulary)}
        table = np.array([positions.get(text, 0) for text in texts] + [0], dtype=np.int64)
    encoded: npt.NDArray[np.int64] = table[codes]  # a missing value's code -1 reads the last line, which is 0
    return encoded


def factorise(column: Column, values: pl.Series) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Codes [n] into the distinct raw texts; -1 is missing. Integers become decimal text."""
    if not (values.dtype.is_integer() or values.dtype in (pl.String, pl.Categorical, pl.Enum, pl.Null)):
        raise DataError(
            f"column {column.name!r} has the type {values.dtype}",
            why=f"op {column.op.value} takes text or integers",
            fix="cast the column to text (decode bytes as UTF-8)",
        )
    distinct = values.unique(maintain_order=True).drop_nulls()
    if len(distinct) == 0:
        return np.full(len(values), -1, dtype=np.int64), []
    codes = values.replace_strict(distinct, np.arange(len(distinct)), default=-1, return_dtype=pl.Int64)
    found: npt.NDArray[np.int64] = codes.fill_null(-1).to_numpy()
    return found, distinct.cast(pl.String).to_list()


def _encode_numbers(column: Column, values: pl.Series) -> npt.NDArray[np.float32]:
    if not (values.dtype.is_numeric() or values.dtype == pl.Null):
        raise DataError(f"column {column.name!r} has the type {values.dtype}", why="op number takes numbers", fix="cast it to a number")
    numbers = values.cast(pl.Float64).fill_null(column.default).to_numpy()
    with np.errstate(over="ignore"):
        encoded = numbers.astype(np.float32)
    bad = ~np.isfinite(encoded)
    if bad.any():
        raise DataError(
            f"column {column.name!r} has {int(bad.sum())} of {len(bad)} values not finite in float32 (first: row {int(bad.argmax())})",
            why="NaN and infinity would poison the model",
            fix="set them to null (the default stands in) or drop the rows",
        )
    low, high = _bounds(column)
    bad = (numbers < low) | (numbers > high)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"column {column.name!r} has {int(bad.sum())} of {len(bad)} values outside [{low}, {high}] (first: row {row}, {numbers[row]})",
            why="the server refuses such values",
            fix="clip or drop them in the loader, or widen minimum and maximum",
        )
    return encoded


def _encode_lists(column: Column, values: pl.Series) -> npt.NDArray[np.int64]:
    if values.dtype == pl.Null:
        return np.zeros((len(values), column.width), dtype=np.int64)
    if not isinstance(values.dtype, pl.List):
        raise DataError(
            f"column {column.name!r} has the type {values.dtype}", why="op vocabulary_list takes lists of texts", fix="split it"
        )
    cut = values.list.head(column.width)
    counts = cut.list.len().fill_null(0).to_numpy().astype(np.int64)
    inner = cut.filter(pl.Series(counts > 0)).explode()
    nulls = int(inner.null_count())
    if nulls:
        raise DataError(f"column {column.name!r} has {nulls} missing values inside its lists", fix="drop them from the lists")
    flat = Column(name=column.name, op=Op.VOCABULARY, vocabulary=column.vocabulary)
    encoded = np.zeros((len(values), column.width), dtype=np.int64)
    encoded[np.arange(column.width) < counts[:, None]] = encode_column(flat, inner)
    return encoded


def _number(column: Column, raw: Raw) -> float:
    if raw is None:
        return column.default
    if isinstance(raw, bool | np.bool_) or not isinstance(raw, int | float | np.integer | np.floating):
        raise _wrong_kind(column, raw, "a number")
    try:
        value = float(raw)
        with np.errstate(over="ignore"):
            finite = math.isfinite(np.float32(value))
    except OverflowError:
        finite = False
    if not finite:
        raise DataError(f"the value of {column.name!r} is not a finite float32", fix="leave it out: the default stands in")
    low, high = _bounds(column)
    if not low <= value <= high:
        raise DataError(f"the value {value} of {column.name!r} is outside [{low}, {high}]", fix="send a value within the bounds")
    return value


def _bounds(column: Column) -> tuple[float, float]:
    low = -math.inf if column.minimum is None else column.minimum
    return low, math.inf if column.maximum is None else column.maximum


def _text(column: Column, raw: Raw) -> str | None:
    if raw is None:
        return None
    if isinstance(raw, str):
        return _checked(column, raw)
    if isinstance(raw, int | np.integer) and not isinstance(raw, bool):
        return str(int(raw))
    raise _wrong_kind(column, raw, "a text or an integer")


def _texts(column: Column, raw: Raw) -> list[str]:
    if raw is None:
        return []
    if isinstance(raw, str | int | float | np.generic) or not all(isinstance(value, str) for value in raw):
        raise _wrong_kind(column, raw, "a list of texts")
    return [_checked(column, text) for text in raw]


def _position(column: Column, text: str) -> int:
    """Linear in the vocabulary: for single requests and small columns; `encode_column` indexes it once."""
    try:
        return 1 + column.vocabulary.index(text)
    except ValueError:
        return 0


def _padded(ids: list[int], width: int) -> npt.NDArray[np.int64]:
    return np.array(ids + [0] * (width - len(ids)), dtype=np.int64)


def _checked(column: Column, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"the value of {column.name!r} is not valid Unicode (a lone surrogate)", fix="decode its bytes as UTF-8") from None
    return text


def _wrong_kind(column: Column, raw: object, wanted: str) -> DataError:
    return DataError(
        f"the value of {column.name!r} is a {type(raw).__name__}", why=f"op {column.op.value} takes {wanted}", fix=f"send {wanted}"
    )
