"""Specs, saved folders and descriptions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data import store
from shortlist.data.dataset import Dataset
from shortlist.data.describe import describe
from shortlist.data.load import load
from shortlist.data.schema_json import schema_from_dict, schema_to_dict
from shortlist.errors import ConfigError, DataError, SchemaError
from shortlist.schema import Column, CrossFeature, Op
from shortlist.testing.small_data import SCHEMA, small

MARKET = "marketplace:users=50,items=100,events=500,seed=1"


def test_settings_reach_the_marketplace() -> None:
    dataset = load(MARKET)
    assert (len(dataset.users), len(dataset.items)) == (50, 100)


@pytest.mark.parametrize("spec", ["", "nothing", "marketplace:user=5", "marketplace:users=-5", "marketplace:users", "ml-1m", "ml-20m:x"])
def test_other_specs_are_refused_with_a_fix(spec: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(spec)
    assert caught.value.fix


@pytest.mark.parametrize("make", [small, lambda: load(MARKET), lambda: replace(small(), impressions=None)])
def test_a_saved_data_set_reads_back(tmp_path: Path, make: object) -> None:
    dataset: Dataset = make()  # type: ignore[operator]
    store.save(dataset, tmp_path / "saved")
    read = load(str(tmp_path / "saved"))
    assert (read.name, read.schema, read.report) == (dataset.name, dataset.schema, dataset.report)
    for name in ("users", "items", "events", "impressions"):
        left, right = getattr(read, name), getattr(dataset, name)
        assert (left is None and right is None) or (left.equals(right) and left.schema == right.schema)
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def test_a_folder_is_never_overwritten(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="exists"):
        store.save(small(), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["schema.json", "report.json", "events.parquet"])
def test_damaged_folders_are_named(tmp_path: Path, name: str) -> None:
    store.save(small(), tmp_path / "saved")
    (tmp_path / "saved" / name).write_bytes(b"\x00")
    with pytest.raises((DataError, SchemaError), match=name):
        store.read(tmp_path / "saved")


def test_describe_by_hand() -> None:
    told = describe(small())
    assert json.loads(json.dumps(told)) == told
    assert (told["users"], told["items"], told["events"], told["users with events"]) == (3, 3, 4, 2)
    assert told["time"] == [10, 12]
    assert told["actions"] == {"click": 2, "buy": 2}
    assert told["value"] == 8.0
    assert told["columns"]["user.gender"] == {"op": "vocabulary", "missing": 1 / 3, "distinct": 3}
    assert told["impressions"] == {"requests": 2, "items shown": 3, "rates": {"click": 1 / 3, "buy": 0.0}}


COLUMNS = st.builds(
    Column,
    name=st.text(),
    op=st.sampled_from(list(Op)),
    vocabulary=st.lists(st.text(), max_size=3).map(tuple),
    buckets=st.integers(0, 2**31),
    width=st.integers(0, 9),
    default=st.floats(allow_nan=False, allow_infinity=False),
    minimum=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    in_history=st.booleans(),
)
CROSSES = st.builds(CrossFeature, name=st.text(), segment=st.text(), prior=st.floats(0.1, 100))


@settings(deadline=None)
@given(st.lists(COLUMNS, max_size=3).map(tuple), st.lists(CROSSES, max_size=2).map(tuple))
def test_schemas_survive_json(columns: tuple[Column, ...], cross: tuple[CrossFeature, ...]) -> None:
    schema = replace(SCHEMA, user=columns, cross=cross)
    assert schema_from_dict(json.loads(json.dumps(schema_to_dict(schema)))) == schema
