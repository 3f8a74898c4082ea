"""The operations against hand-written values, against the vectors that Go runs too, and scalar forms against column forms."""

# ruff: noqa: RUF001  (look-alike letters are the point)
from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.errors import DataError, SchemaError
from shortlist.features import (
    Raw,
    encode_column,
    encode_value,
    fnv1a64,
    hash_id,
    hash_ids,
    normalise,
    segment_value,
    tokens,
    window_start,
    window_starts,
)
from shortlist.schema import Column, Op

FOLDER = Path(__file__).resolve().parents[3] / "tests" / "cases"
CASES: dict[str, list[dict[str, Any]]] = json.loads((FOLDER / "features.json").read_text(encoding="utf-8"))

CITY = Column(name="city", op=Op.VOCABULARY, vocabulary=("Moscow", "Пермь"))
GENRES = Column(name="genres", op=Op.VOCABULARY_LIST, vocabulary=("Drama", "War"), width=3)
SELLER = Column(name="seller", op=Op.HASH, buckets=1_000)
QUERY = Column(name="query", op=Op.TOKENS, buckets=1_000, width=3)
PRICE = Column(name="price", op=Op.NUMBER, default=7.0, minimum=0.0, maximum=100.0)

TEXT = st.one_of(st.text(), st.text(alphabet="aB -_İΣЯё\u00a0\u2003東", max_size=12))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", ""),
        ("  iPhone   13  ", "iphone 13"),
        ("iPhone-13/Pro_Max", "iphone 13 pro max"),
        ("Б/У Велосипед", "б у велосипед"),
        ("İstanbul", "istanbul"),
        ("ΣΊΣΥΦΟΣ", "σίσυφοσ"),
        ("e\u0301\u00c9", "e\u0301\u00e9"),
        ("\u00a0price\u00a0100\u3000", "price 100"),
        ("a\u200bb", "a\u200bb"),
        ("\u212a\uff21\u0531", "\u212a\uff21\u0531"),
        ("a—b", "a—b"),
        ("-5", "5"),
        ("\x00\x7f", ""),
    ],
)
def test_normalise_by_hand(text: str, wanted: str) -> None:
    assert normalise(text) == wanted


def test_published_hashes() -> None:
    # From the test suite of the FNV draft.
    assert fnv1a64(b"") == 0xCBF29CE484222325
    assert fnv1a64(b"a") == 0xAF63DC4C8601EC8C
    assert fnv1a64(b"foobar") == 0x85944171F73967E8
    assert hash_id("foobar", 1_000) == 1 + 0x85944171F73967E8 % 1_000
    assert hash_id("", 1_000) == 0


@pytest.mark.parametrize(
    ("column", "raw", "wanted"),
    [
        (CITY, "Moscow", 1),
        (CITY, "Пермь", 2),
        (CITY, "moscow", 0),
        (CITY, None, 0),
        (GENRES, ["War", "Drama"], [2, 1, 0]),
        (GENRES, ["x", "Drama", "War", "War"], [0, 1, 2]),
        (GENRES, None, [0, 0, 0]),
        (SELLER, "foobar", 1 + 0x85944171F73967E8 % 1_000),
        (SELLER, " FooBar! ", 1 + 0x85944171F73967E8 % 1_000),
        (SELLER, "!", 0),
        (QUERY, "foobar, x", [1 + 0x85944171F73967E8 % 1_000, hash_id("x", 1_000), 0]),
        (PRICE, None, 7.0),
        (PRICE, 5, 5.0),
    ],
)
def test_encode_by_hand(column: Column, raw: Raw, wanted: float | list[int]) -> None:
    assert encode_value(column, raw).tolist() == wanted


@pytest.mark.parametrize(
    ("column", "raw"),
    [
        (CITY, 1.5),
        (CITY, True),
        (CITY, ["Moscow"]),
        (GENRES, "War"),
        (GENRES, [1]),
        (SELLER, "\ud800"),
        (CITY, "\ud800"),
        (GENRES, ["War", "\ud800"]),
        (PRICE, "5"),
        (PRICE, True),
        (PRICE, float("nan")),
        (PRICE, float("inf")),
        (PRICE, 1e39),
        (PRICE, 10**400),
        (PRICE, -0.1),
        (PRICE, 100.1),
    ],
)
def test_refused_values_name_their_column(column: Column, raw: Raw) -> None:
    with pytest.raises(DataError, match=column.name):
        encode_value(column, raw)


def test_the_vectors_are_what_their_script_writes() -> None:
    written = runpy.run_path(str(FOLDER / "write_features.py"))["text"]()
    assert written == (FOLDER / "features.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("case", CASES["normalise"], ids=repr)
def test_normalise_vectors(case: dict[str, Any]) -> None:
    assert normalise(case["in"]) == case["out"]


@pytest.mark.parametrize("case", CASES["tokens"], ids=repr)
def test_token_vectors(case: dict[str, Any]) -> None:
    assert tokens(case["in"]) == case["out"]


@pytest.mark.parametrize("case", CASES["hash"], ids=repr)
def test_hash_vectors(case: dict[str, Any]) -> None:
    assert hash_id(case["in"], case["buckets"]) == case["id"]
    assert hash_ids([case["in"]], case["buckets"]).tolist() == [case["id"]]


@pytest.mark.parametrize("case", CASES["encode"], ids=repr)
def test_encode_vectors(case: dict[str, Any]) -> None:
    column = _column(case["column"])
    assert encode_value(column, case["raw"]).reshape(-1).tolist() == case["out"]
    assert encode_column(column, pl.Series([case["raw"]])).reshape(-1).tolist() == case["out"]


@pytest.mark.parametrize("case", CASES["segment"], ids=repr)
def test_segment_vectors(case: dict[str, Any]) -> None:
    assert segment_value(_column(case["column"]), case["raw"]) == case["out"]


@pytest.mark.parametrize("case", CASES["window"], ids=repr)
def test_window_vectors(case: dict[str, Any]) -> None:
    assert window_start(case["n"], case["max_events"], case["step"]) == case["start"]


@settings(deadline=None)
@given(TEXT)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert normalise(once) == once
    assert tokens(text) == ([] if once == "" else once.split(" "))


@settings(max_examples=50, deadline=None)
@given(st.lists(TEXT, max_size=20))
def test_many_hashes_equal_one_by_one(texts: list[str]) -> None:
    assert hash_ids(texts, 997).tolist() == [hash_id(text, 997) for text in texts]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | TEXT, max_size=20))
def test_text_columns_equal_their_values(texts: list[str | None]) -> None:
    values = pl.Series(texts, dtype=pl.String)
    for column in (CITY, SELLER, QUERY):
        wanted = np.array([encode_value(column, text) for text in texts], dtype=np.int64).reshape(
            -1, *([column.width] if column.width else [])
        )
        np.testing.assert_array_equal(encode_column(column, values), wanted)
        np.testing.assert_array_equal(encode_column(column, values.cast(pl.Categorical)), wanted)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.none() | st.lists(st.sampled_from(["Drama", "War", "", "x"]), max_size=5), max_size=20))
def test_list_columns_equal_their_values(lists: list[list[str] | None]) -> None:
    wanted = np.array([encode_value(GENRES, texts) for texts in lists], dtype=np.int64).reshape(-1, 3)
    np.testing.assert_array_equal(encode_column(GENRES, pl.Series(lists, dtype=pl.List(pl.String))), wanted)


@settings(deadline=None)
@given(st.lists(st.none() | st.floats(0, 100), max_size=20))
def test_number_columns_equal_their_values(numbers: list[float | None]) -> None:
    wanted = np.array([encode_value(PRICE, number) for number in numbers], dtype=np.float32)
    np.testing.assert_array_equal(encode_column(PRICE, pl.Series(numbers, dtype=pl.Float64)), wanted)


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 300), st.data())
def test_the_window_is_the_smallest_multiple_that_fits(n: int, most: int, data: st.DataObject) -> None:
    step = data.draw(st.integers(1, most))
    start = window_start(n, most, step)
    assert start == next(s for s in range(0, n + step + 1, step) if n - s <= most)
    assert n == 0 or start < n
    assert window_starts(np.array([n]), most, step).tolist() == [start]


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            PRICE,
            pl.Series([1.0, float("nan"), float("inf")]),
            r"'price' has 2 of 3 values not finite in float32",
        ),
        (PRICE, pl.Series([1.0, 101.0]), r"'price' has 1 of 2 values outside \[0.0, 100.0\] \(first: row 1, 101.0\)"),
        (PRICE, pl.Series(["1"]), "op number takes numbers"),
        (CITY, pl.Series([1.5]), "op vocabulary takes text or integers"),
        (SELLER, pl.Series([b"\xff"]), "decode bytes as UTF-8"),
        (GENRES, pl.Series(["War"]), "lists of texts"),
        (GENRES, pl.Series([["War", None]]), "1 missing values inside its lists"),
    ],
)
def test_bad_columns_are_refused_with_counts(column: Column, values: pl.Series, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode_column(column, values)


@pytest.mark.parametrize("column", [PRICE, GENRES])
def test_numbers_and_lists_name_no_segments(column: Column) -> None:
    with pytest.raises(SchemaError, match=column.name):
        segment_value(column, None)


def _column(fields: dict[str, Any]) -> Column:
    return Column(
        name=fields["name"],
        op=Op[fields["op"]],
        vocabulary=tuple(fields.get("vocabulary", ())),
        buckets=fields.get("buckets", 0),
        width=fields.get("width", 0),
        default=fields.get("defaultNumber", 0.0),
        minimum=fields.get("min"),
        maximum=fields.get("max"),
    )
