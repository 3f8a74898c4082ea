"""Encoding against a small table by hand, refusals, and what must not depend on the order of rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.dataset import Dataset
from shortlist.data.encode import encode, id_vocabulary, infer_vocabulary
from shortlist.data.labels import event_labels
from shortlist.errors import DataError, SchemaError
from shortlist.schema import Column, CrossFeature, Op
from shortlist.testing.small_data import SCHEMA, small


def test_small_by_hand() -> None:
    log = encode(small())
    assert log.user_ids.tolist() == [2, 5, 9]
    assert log.item_ids.tolist() == [3, 20, 100]
    assert log.users["gender"].tolist() == [0, 2, 1]
    assert log.items["id"].tolist() == [1, 2, 3]
    assert log.items["price"].tolist() == [-1.0, 2.0, 1.5]
    assert log.ptr.tolist() == [0, 1, 4, 4]
    assert log.item.tolist() == [0, 2, 0, 1]
    assert log.action.tolist() == [2, 1, 2, 1]
    assert log.time.tolist() == [11, 10, 12, 12]
    assert log.value.tolist() == [7.0, 0.0, 1.0, 0.0]
    assert log.context["query"][0] == 0
    assert log.context["query"][1] == log.context["query"][2] != 0
    assert event_labels(SCHEMA, log.action).tolist() == [[1, 1], [1, 0], [1, 1], [1, 0]]


def test_pages_keep_their_order_and_end_their_history_before_their_time() -> None:
    pages = encode(small()).impressions
    assert pages is not None
    assert pages.ptr.tolist() == [0, 2, 3]
    assert pages.user.tolist() == [1, 2]
    assert pages.item.tolist() == [1, 2, 0]
    assert pages.position.tolist() == [0, 1, 0]
    assert pages.labels.tolist() == [[1, 0], [0, 0], [0, 0]]
    assert pages.history_end.tolist() == [2, 4]  # user 5: the event at 10, not those at 12


def test_segments_are_normalised_texts() -> None:
    log = encode(small())
    query, gender = log.segments["context.query"], log.segments["user.gender"]
    assert query.keys == ("lamp", "red sofa")
    assert query.ids.tolist() == [-1, 1, 1, 0]
    assert query.requests is not None
    assert query.requests.tolist() == [0, -1]
    assert gender.keys == ("F", "M")
    assert gender.ids.tolist() == [-1, 1, 0]
    assert gender.requests is None


def _edit(frame: str, **columns: Any) -> Dataset:
    dataset = small()
    rows = getattr(dataset, frame)
    return replace(dataset, **{frame: rows.with_columns(**{name: pl.Series(values) for name, values in columns.items()})})


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (replace(small(), users=small().users.drop("gender")), r"users: lacks the columns \['gender'\]"),
        (_edit("events", time=[10, 11, 12, 11]), r"events.time: goes back within a user's events at 1 of 4 rows"),
        (_edit("events", time=[10.0, 11.0, 12.0, 12.0]), "use whole unix seconds"),
        (_edit("events", time=[1_700_000_000_000] * 4), "use seconds, not milliseconds"),
        (_edit("events", item_id=[100, 3, 4, 4]), r"events.item_id: names items that do not exist in 2 of 4 rows \(first: row \d, 4\)"),
        (_edit("events", user_id=[5, 2, 5, 7]), r"events.user_id: names users that do not exist in 1 of 4 rows"),
        (_edit("events", user_id=["5", "2", "5", "5"]), "another type than users.user_id"),
        (_edit("events", item_id=["3"] * 4), "events.item_id: has the type String, not int64"),
        (_edit("events", action=["click", "view", "buy", None]), r"events.action: is not among \['click', 'buy'\] in 2 of 4 rows"),
        (_edit("events", value=[1.0, float("nan"), 1.0, 1.0]), "events.value: is not finite in 1 of 4 rows"),
        (_edit("events", query=[b"\xff", b"", b"", b""]), "decode bytes as UTF-8"),
        (_edit("users", user_id=[5, 2, 5]), r"users.user_id: repeats in 1 of 3 rows \(first: 5\)"),
        (_edit("users", user_id=[5, 2, None]), "users.user_id: is missing in 1 of 3 rows"),
        (_edit("items", price=[1.0, float("inf"), 2.0]), "'price' has 1 of 3 values not finite"),
        (_edit("impressions", time=[12, 12, 13]), "impressions.time: differs from its request's first row in 1 of 3 rows"),
        (_edit("impressions", query=["a", "", "b"]), "impressions.query: differs from its request's first row in 1 of 3 rows"),
        (_edit("impressions", click=[2, 0, 0]), "1 of 3 rows have task labels other than 0 and 1"),
        (_edit("impressions", position=[0, 0, -1]), "impressions.position: is missing or negative in 1 rows"),
    ],
)
def test_bad_frames_are_refused_with_counts(dataset: Dataset, message: str) -> None:
    with pytest.raises(DataError, match=message):
        encode(dataset)


def test_all_problems_come_at_once() -> None:
    dataset = _edit("events", item_id=[100, 3, 4, 4], action=["x", "click", "click", "click"])
    with pytest.raises(DataError, match=r"2 problems:\n- events.item_id: .*\n- events.action: ") as caught:
        encode(dataset)
    assert "report" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"actions": ()}, "actions must be a non-empty list"),
        ({"item": ()}, "exactly one of op item_row"),
        ({"history_step": 300}, "history_step 300"),
        ({"user": (SCHEMA.user[0], SCHEMA.user[0])}, "user.gender is declared twice"),
        ({"context": (Column(name="query", op=Op.TOKENS, buckets=9),)}, "needs a width"),
        ({"cross": (CrossFeature(name="x", segment="user.age"),)}, "neither 'history.last_item' nor a user or context column"),
        ({"cross": (CrossFeature(name="x", segment="user.gender", prior=0.0),)}, "must be positive"),
        ({"cross": (CrossFeature(name="x", segment="user.gender", window=-1),)}, "in seconds, or 0"),
    ],
)
def test_contradicting_schemas_are_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        encode(replace(small(), schema=replace(SCHEMA, **change)))


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_order_of_users_items_and_of_different_users_events_does_not_matter(data: st.DataObject) -> None:
    dataset = small()
    users = dataset.users[data.draw(st.permutations(range(3)))]
    items = dataset.items[data.draw(st.permutations(range(3)))]
    order = [0, 2, 3]  # the events of user 5
    order.insert(data.draw(st.integers(0, 3)), 1)
    events = dataset.events[order]
    wanted, got = encode(dataset), encode(replace(dataset, users=users, items=items, events=events))
    for name in ("user_ids", "item_ids", "ptr", "item", "action", "time", "value"):
        np.testing.assert_array_equal(getattr(wanted, name), getattr(got, name))
    np.testing.assert_array_equal(wanted.context["query"], got.context["query"])
    np.testing.assert_array_equal(wanted.users["gender"], got.users["gender"])


@settings(deadline=None)
@given(st.lists(st.text(max_size=3), unique=True, min_size=1, max_size=30))
def test_text_ids_sort_by_utf8_bytes(ids: list[str]) -> None:
    assert list(id_vocabulary(pl.Series(ids))) == sorted(ids, key=str.encode)


def test_vocabularies() -> None:
    values = pl.Series(["b", "a", "b", None, "c", "", ""])
    assert infer_vocabulary(values) == ("b", "a", "c")
    assert infer_vocabulary(values, min_count=2) == ("b",)
    assert infer_vocabulary(values, max_size=2) == ("b", "a")
    assert infer_vocabulary(pl.Series([["x", "y"], [], None, ["y"]])) == ("y", "x")
    assert infer_vocabulary(pl.Series([10, 9, 10])) == ("10", "9")
    assert id_vocabulary(pl.Series([10, 9, 100])) == ("9", "10", "100")


VALUES: st.SearchStrategy[pl.Series] = st.one_of(
    st.lists(st.none() | st.integers(-(2**63), 2**64 - 1), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Int128)),
    st.lists(st.none() | st.integers(0, 2**64 - 1), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.UInt64)),
    st.lists(st.none() | st.integers(-(2**63), 2**63 - 1), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Int64)),
    st.lists(st.none() | st.floats(), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Float64)),
    st.lists(st.none() | st.text(max_size=3), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.String)),
    st.lists(st.none() | st.binary(max_size=3), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Binary)),
    st.lists(st.none() | st.booleans(), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Boolean)),
    st.lists(st.none() | st.dates(), min_size=3, max_size=3).map(lambda v: pl.Series(v, dtype=pl.Date)),
    st.lists(st.none() | st.lists(st.text(max_size=2), max_size=2), min_size=3, max_size=3).map(
        lambda v: pl.Series(v, dtype=pl.List(pl.String))
    ),
)


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(["users", "items", "events", "impressions"]), VALUES, st.data())
def test_any_garbage_in_a_column_is_encoded_or_refused_but_never_crashes(frame: str, values: pl.Series, data: st.DataObject) -> None:
    dataset = replace(small(), events=small().events.head(3))
    rows = getattr(dataset, frame)
    name = data.draw(st.sampled_from(rows.columns))
    rows = data.draw(st.sampled_from([rows.with_columns(values.alias(name)), rows.drop(name), rows.head(0)]))
    try:
        log = encode(replace(dataset, **{frame: rows}))
    except DataError:
        return
    assert (log.item >= 0).all()
    assert np.isfinite(log.items["price"]).all()
    assert np.isfinite(log.value).all()


def test_arrays_can_be_written_to() -> None:
    log = encode(small())
    pages = log.impressions
    assert pages is not None
    own = [getattr(log, name) for name in ("user_ids", "item_ids", "ptr", "item", "action", "time", "value")]
    own += [pages.ptr, pages.user, pages.history_end, pages.time, pages.item, pages.position, pages.labels]
    for array in (*own, *log.users.values(), *log.items.values(), *log.context.values(), *pages.context.values()):
        assert array.flags.writeable  # torch.from_numpy warns otherwise
        assert array.flags.c_contiguous
