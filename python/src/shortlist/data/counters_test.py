"""Counters against a table by hand and against a slow count; leaving an event out equals never having counted it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from shortlist.data.counters import CounterTable, count_crosses, cross_features, event_segments, request_cross_features
from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.errors import BundleError
from shortlist.testing.small_data import small

ITEMS, SEGMENTS = 6, 4
EVENTS = st.lists(st.tuples(st.integers(-1, SEGMENTS - 1), st.integers(0, ITEMS - 1)), max_size=40)


def _all_train(log: EncodedLog) -> Split:
    return Split(train_end=log.ptr[1:], validation=np.array([], np.int64), test=np.array([], np.int64))


def _count(events: list[tuple[int, int]], *, keys: tuple[str, ...] | None = ("a", "b", "c", "d")) -> CounterTable:
    segments, rows = np.array(events, dtype=np.int64).reshape(-1, 2).T
    return CounterTable.count(keys, segments, rows, items=ITEMS, prior=10.0)


def test_small_by_hand() -> None:
    # Events: user 2: item 3 without query; user 5 (M): 100 "red sofa", 3 "red sofa", 20 "lamp".
    log = encode(small())
    tables = count_crosses(log, _all_train(log))
    query = tables["query_item"]
    assert query.keys == ("lamp", "red sofa")
    assert query.indptr.tolist() == [0, 1, 3]
    assert query.rows.tolist() == [1, 0, 2]
    np.testing.assert_allclose(query.rate_values, [1 / 11, 1 / 12, 1 / 12])
    assert tables["gender_item"].indptr.tolist() == [0, 0, 3]
    np.testing.assert_allclose(tables["gender_item"].rate_values, [1 / 13] * 3)
    last = tables["last_item_item"]  # 100 -> 3 -> 20
    assert last.keys is None
    assert last.indptr.tolist() == [0, 1, 1, 2]
    assert last.rows.tolist() == [1, 0]


def test_cross_features_by_hand() -> None:
    log = encode(small())
    tables = count_crosses(log, _all_train(log))
    rows = np.array([[0, 1, 2]])
    np.testing.assert_allclose(
        cross_features(log, tables, np.array([2]), rows)[0], [[1 / 12, 1 / 13, 1 / 11], [0, 1 / 13, 0], [1 / 12, 1 / 13, 0]], rtol=1e-6
    )
    left_out = cross_features(log, tables, np.array([2]), rows, leave_out=np.array([True]))
    np.testing.assert_allclose(left_out[0], [[0, 0, 0], [0, 1 / 12, 0], [1 / 11, 1 / 12, 0]], rtol=1e-6)
    # Page "b" of user 5 came after one event, of item 100 (row 2).
    np.testing.assert_allclose(
        request_cross_features(log, tables, np.array([0]), rows)[0], [[0, 1 / 13, 1 / 11], [1 / 11, 1 / 13, 0], [0, 1 / 13, 0]], rtol=1e-6
    )


def test_last_items_stay_within_a_user() -> None:
    log = encode(small())
    assert event_segments(log, "history.last_item", np.arange(4)).tolist() == [-1, -1, 2, 0]


@settings(max_examples=60, deadline=None)
@given(EVENTS)
def test_rates_equal_a_slow_count(events: list[tuple[int, int]]) -> None:
    table = _count(events)
    segments, rows = np.arange(-1, SEGMENTS), np.tile(np.arange(-1, ITEMS), (SEGMENTS + 1, 1))
    wanted = [
        [
            sum(event == (segment, row) for event in events) / (sum(event[0] == segment for event in events) + 10.0)
            if segment >= 0 and row >= 0
            else 0.0
            for row in range(-1, ITEMS)
        ]
        for segment in range(-1, SEGMENTS)
    ]
    rates = table.rates(segments, rows)
    assert rates.dtype == np.float32
    np.testing.assert_array_equal(rates, np.array(wanted, dtype=np.float32))


@settings(max_examples=60, deadline=None)
@given(EVENTS.filter(bool), st.data())
def test_leaving_an_event_out_equals_not_counting_it(events: list[tuple[int, int]], data: st.DataObject) -> None:
    out = data.draw(st.integers(0, len(events) - 1))
    segment, row = np.array([events[out][0]]), np.arange(ITEMS)[None]
    wanted = _count(events[:out] + events[out + 1 :]).rates(segment, row)
    np.testing.assert_array_equal(_count(events).rates(segment, row, without=np.array([events[out][1]])), wanted)
    np.testing.assert_array_equal(_count(events).rates(segment, row, without=np.array([-1])), _count(events).rates(segment, row))


def test_leaving_out_what_was_not_counted_stays_finite() -> None:
    table = CounterTable.count(("a", "b"), np.array([0]), np.array([1]), items=ITEMS, prior=1.0)
    assert table.rates(np.array([1, 0]), np.array([[1], [1]]), without=np.array([1, 2])).tolist() == [[0.0], [1.0]]


@settings(max_examples=30, deadline=None)
@given(events=EVENTS, by_row=st.booleans())
def test_saved_counters_read_back(tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, int]], by_row: bool) -> None:
    table = _count(events, keys=None if by_row else ("a", "дом", "стол", "東"))
    path = tmp_path_factory.mktemp("counters") / "x.safetensors"
    table.save(path)
    read = CounterTable.load(path, items=ITEMS, prior=10.0)
    rows = np.arange(ITEMS)[None]
    for segment in range(SEGMENTS):
        value = segment if table.keys is None else table.keys[segment]
        np.testing.assert_array_equal(read.rates(np.array([read.segment(value)]), rows), table.rates(np.array([segment]), rows))
    assert read.segment("missing" if not by_row else ITEMS) == read.segment(None) == -1


def test_the_file_is_what_the_bundle_format_says(tmp_path: Path) -> None:
    _count([(0, 5), (0, 1), (0, 1), (3, 2), (-1, 4)], keys=("a", "b", "c", "я")).save(tmp_path / "x.safetensors")
    tensors = load_file(tmp_path / "x.safetensors")
    assert {name: str(tensor.dtype) for name, tensor in tensors.items()} == {
        "indptr": "int64",
        "rows": "int64",
        "rates": "float32",
        "keys.bytes": "uint8",
        "keys.offsets": "int64",
    }
    assert tensors["keys.bytes"].tobytes().decode() == "aя"  # segments without events are left out
    assert tensors["keys.offsets"].tolist() == [0, 1, 3]
    assert tensors["indptr"].tolist() == [0, 2, 3]
    assert tensors["rows"].tolist() == [1, 5, 2]
    np.testing.assert_allclose(tensors["rates"], [2 / 13, 1 / 13, 1 / 11])


def test_a_released_table_cannot_leave_out(tmp_path: Path) -> None:
    _count([(0, 1)]).save(tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no counts"):
        CounterTable.load(tmp_path / "x.safetensors", items=ITEMS, prior=10.0).rates(np.array([0]), np.array([[1]]), without=np.array([1]))


def test_broken_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    with pytest.raises(BundleError, match=r"x\.safetensors cannot be read"):
        CounterTable.load(path, items=ITEMS, prior=10.0)
    path.write_bytes(b"\x08")
    with pytest.raises(BundleError, match="cannot be read"):
        CounterTable.load(path, items=ITEMS, prior=10.0)
    _count([(0, 5)]).save(path)
    with pytest.raises(BundleError, match="inconsistent"):
        CounterTable.load(path, items=3, prior=10.0)
