"""Writes features.json: vectors of the operations outside the graphs, run by both languages.

    python tests/cases/write_features.py            # fails when the file is not what this script writes
    python tests/cases/write_features.py --rewrite  # then read the diff: a changed value breaks every released model

Inputs are here, values come from shortlist.features; the ones that are easy to get wrong are also written by hand in features_test.py.
"""

# ruff: noqa: RUF001  (look-alike letters are the point)
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from shortlist.features import encode_value, hash_id, normalise, segment_value, tokens, window_start
from shortlist.schema import Column, Op

TARGET = Path(__file__).with_name("features.json")

TEXTS = [
    "",
    " ",
    "iPhone",
    "  iPhone   13  ",
    "iPhone-13/Pro_Max",
    "a.b,c;d",
    "100%",
    "-5",
    "C++ & C#",
    "!?",
    "\t\n\r\x00\x1f\x7fx",
    "Б/У Велосипед",
    "ЁЛКА ёлка",
    "Їжак Ґанок",
    "Ѐ Џ Ӂ Ӏ Ԁ Ԯ",  # Cyrillic capitals up to U+052E, the last below U+0530
    "ԱՐԵՒ",  # Armenian, from U+0531 on: kept
    "ΣΊΣΥΦΟΣ",  # the simple mapping knows no final sigma
    "İstanbul",  # U+0130
    "ISTANBUL ısparta",
    "ß ẞ",  # U+1E9E is above U+0530
    "Ǆ ǅ ǆ",
    "Ⱥ Ⱦ",  # U+023A, U+023E lower to above U+0530
    "ϴ",  # U+03F4
    "\u00c5 \u212b A\u030a",  # A with a ring; the Angstrom sign is kept; a combining ring is kept
    "e\u0301É",
    "\u0345x",
    "\u212a",  # Kelvin sign: kept
    "ＡＢＣ",  # full width: kept
    "\u00a0price\u00a0100\u00a0",
    "a\u1680b\u2003c\u2028d\u2029e\u202ff\u205fg\u3000h\u0085i",
    "a\u200bb\u200dc\ufeffd",  # zero width: no separators
    "a\u180eb",
    "a—b–c…«d»",  # punctuation beyond ASCII is kept
    "東京タワー　２０２５",
    "中文 搜索",
    "한국어",
    "👩‍👩‍👧 Family 🇫🇷",
    "😀😀",
    "שלום עולם",
    "مرحبا",
    "\U00010400",  # Deseret capital: kept
    "x" * 300,
    "Слово " * 60,
]

VOCABULARY = Column(name="city", op=Op.VOCABULARY, vocabulary=("Moscow", "москва", "10", "e\u0301", "\u00e9"))
GENRES = Column(name="genres", op=Op.VOCABULARY_LIST, vocabulary=("Drama", "Sci-Fi", "драма"), width=3)
ITEM = Column(name="id", op=Op.ITEM_ROW, vocabulary=("7", "10", "300"))
ITEM_TEXT = Column(name="id", op=Op.ITEM_ROW, vocabulary=("B00A", "b00a", "я"))
HASH = Column(name="seller", op=Op.HASH, buckets=1_000_003)
TOKENS = Column(name="query", op=Op.TOKENS, buckets=4_096, width=4)
NUMBER = Column(name="price", op=Op.NUMBER, default=-1.5, minimum=-100.0, maximum=1e30)

ENCODE: list[tuple[Column, Any]] = [
    *((VOCABULARY, raw) for raw in ("Moscow", "moscow", " Moscow", "москва", "Москва", 10, "010", "", None, "e\u0301", "\u00e9", "Kazan")),
    *((GENRES, raw) for raw in (None, [], ["Drama"], ["sci-fi", "Sci-Fi"], ["драма", "x", "Drama", "Sci-Fi"], ["Drama", "Drama"])),
    *((ITEM, raw) for raw in (7, 10, 300, 8, "7", "07", None)),
    *((ITEM_TEXT, raw) for raw in ("B00A", "b00a", "я", "B00B")),
    *(
        (HASH, raw)
        for raw in ("Shop-24", "shop 24", "SHOP_24!", "Магазин", 24, "24", -5, 5, "", "!!", None, "İ", "i", 9_223_372_036_854_775_807)
    ),
    *((TOKENS, raw) for raw in ("", None, "iPhone", "iPhone 13 Pro Max 256GB", "б/у велосипед!", "東京 タワー", "a a a", "—", 2025)),
    *((NUMBER, raw) for raw in (None, 0, 1, -100, 0.1, 16_777_217, 1e30, -0.5, 1e-40, 1e-50, 3.141592653589793)),
]

SEGMENTS: list[tuple[Column, Any]] = [
    *((VOCABULARY, raw) for raw in ("Moscow", "moscow", "Perm!", " ", "", None, 10)),
    *((HASH, raw) for raw in ("Shop-24", "  ", "İ", -5, None)),
    *((TOKENS, raw) for raw in ("Б/У  Велосипед!", "one two three four five six", "")),
]

WINDOWS = [(n, 200, 50) for n in (0, 1, 200, 201, 250, 251, 300, 301, 1_000, 1_001)]
WINDOWS += [(n, 7, 3) for n in range(6, 16)] + [(5, 1, 1), (9, 4, 4), (0, 1, 1)]

_RAW = {Op.NUMBER: "FLOAT32"}


def manifest_column(column: Column, raw: str) -> dict[str, Any]:
    """A column as manifest.json holds it: protobuf JSON, absent where default."""
    fields: dict[str, Any] = {"name": column.name, "op": column.op.name, "raw": raw}
    fields |= {"vocabulary": list(column.vocabulary)} if column.vocabulary else {}
    fields |= {name: getattr(column, name) for name in ("buckets", "width") if getattr(column, name)}
    fields |= {"defaultNumber": column.default} if column.default else {}
    fields |= {key: value for key, value in (("min", column.minimum), ("max", column.maximum)) if value is not None}
    return fields


def column_of(column: Column, raw: Any) -> dict[str, Any]:
    kind = "INT64" if isinstance(raw, int) and column.op is not Op.NUMBER else _RAW.get(column.op, "STRING")
    return manifest_column(column, kind)


def flat(values: Any) -> list[float]:
    """Values as a list; a scalar is a list of one. Float32 is written so that reading gives the same bits."""
    listed: list[float] = values.reshape(-1).tolist()
    return listed


def vectors() -> dict[str, list[dict[str, Any]]]:
    buckets = [(text, (1, 2, 1_000, 65_536, 2**32 - 1)[i % 5]) for i, text in enumerate(TEXTS)]
    return {
        "normalise": [{"in": text, "out": normalise(text)} for text in TEXTS],
        "tokens": [{"in": text, "out": tokens(text)} for text in TEXTS],
        "hash": [{"in": text, "buckets": count, "id": hash_id(text, count)} for text, count in buckets],
        "encode": [{"column": column_of(column, raw), "raw": raw, "out": flat(encode_value(column, raw))} for column, raw in ENCODE],
        "segment": [{"column": column_of(column, raw), "raw": raw, "out": segment_value(column, raw)} for column, raw in SEGMENTS],
        "window": [{"n": n, "max_events": most, "step": step, "start": window_start(n, most, step)} for n, most, step in WINDOWS],
    }


def text() -> str:
    """One vector a line, ASCII only, so that diffs show code points."""
    parts = [f'"{name}": [\n' + ",\n".join(json.dumps(case) for case in cases) + "\n]" for name, cases in vectors().items()]
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rewrite", action="store_true")
    if parser.parse_args().rewrite:
        TARGET.write_text(text(), encoding="ascii")
    elif not TARGET.is_file() or TARGET.read_text(encoding="ascii") != text():
        sys.exit(f"{TARGET} is stale: the operations or their inputs changed. Run with --rewrite and read the diff")


if __name__ == "__main__":
    main()
