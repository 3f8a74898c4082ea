"""A mapping over real files on disk: what it reads, what it converts, and how it reports faults."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from shortlist.data import frames
from shortlist.data.encode import encode
from shortlist.data.generic import load_generic
from shortlist.errors import DataError, SchemaError

MAPPING: dict[str, Any] = {
    "name": "shop",
    "frames": {
        "users": {"path": "users.csv", "rename": {"uid": "user_id"}},
        "items": {"path": "items.csv", "rename": {"sku": "item_id"}, "split": {"tags": "|"}},
        "events": {"path": "events.parquet", "rename": {"uid": "user_id", "sku": "item_id", "at": "time"}},
    },
    "user": [{"name": "plan", "op": "vocabulary"}],
    "context": [],
    "item": [{"name": "tags", "op": "vocabulary_list", "width": 2, "in_history": True}, {"name": "price", "op": "number", "default": 1.0}],
    "actions": ["view"],
    "tasks": ["view"],
    "cross": [{"name": "plan_item", "segment": "user.plan", "prior": 5}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "users.csv").write_text("uid,plan\nu2,free\nu1,paid\nu3,\n", encoding="utf-8")
    (tmp_path / "items.csv").write_text("sku,tags,price\nb,red|new,2.5\na,,\nc,red,1\n", encoding="utf-8")
    events = {"uid": ["u1", "u2", "u1"], "sku": ["b", "a", "c"], "at": [datetime(2025, 1, 2), datetime(2025, 1, 3), datetime(2025, 1, 1)]}
    pl.DataFrame(events).write_parquet(tmp_path / "events.parquet")
    return tmp_path


def _load(folder: Path, **changes: Any) -> Any:
    (folder / "mapping.json").write_text(json.dumps(MAPPING | changes), encoding="utf-8")
    return load_generic(folder / "mapping.json")


def test_frames_become_a_data_set(folder: Path) -> None:
    dataset = _load(folder)
    assert dataset.schema.item_id == "string"
    assert dataset.schema.item[0].vocabulary == ("a", "b", "c")
    assert dataset.schema.item[1].vocabulary == ("red", "new")
    assert dataset.schema.user[0].vocabulary == ("free", "paid")
    log = encode(dataset)
    assert log.user_ids.tolist() == ["u1", "u2", "u3"]
    assert log.users["plan"].tolist() == [2, 1, 0]
    assert log.items["tags"].tolist() == [[0, 0], [1, 2], [1, 0]]
    assert log.items["price"].tolist() == [1.0, 2.5, 1.0]
    assert log.item.tolist() == [2, 1, 0]  # sorted by time within users
    assert log.time.tolist() == [1_735_689_600, 1_735_776_000, 1_735_862_400]
    assert log.action.tolist() == [1, 1, 1]


def test_users_come_from_events_when_there_is_no_file(folder: Path) -> None:
    fewer = {name: entry for name, entry in MAPPING["frames"].items() if name != "users"}
    assert encode(_load(folder, frames=fewer, user=[], cross=[])).user_ids.tolist() == ["u1", "u2"]


def test_unknown_items_are_refused_or_dropped_and_counted(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,tags,price\nb,red|new,2.5\na,,\n", encoding="utf-8")
    with pytest.raises(DataError, match="names items that do not exist in 1 of 3 rows"):
        encode(_load(folder))
    dataset = _load(folder, drop_unknown=True)
    assert dataset.report | {"events of unknown items": 1, "events of unknown users": 0} == dataset.report
    assert len(encode(dataset).item) == 2


def test_all_faults_of_files_come_at_once(folder: Path) -> None:
    faulty = MAPPING["frames"] | {
        "users": {"path": "none.csv"},
        "items": {"path": "items.csv", "rename": {"code": "item_id"}},
        "impressions": {"path": "pages.xlsx"},
        "events": {"file": "events.parquet"},
    }
    with pytest.raises(DataError, match="4 problems") as caught:
        _load(folder, frames=faulty)
    for part in ("none.csv cannot be read", r"lacks the columns ['code']", "pages.xlsx is none of", "frames.events: must have `path`"):
        assert part in str(caught.value)


def test_missing_columns_are_named(folder: Path) -> None:
    with pytest.raises(DataError, match=r"users: lacks the columns \['age'\]"):
        _load(folder, user=[{"name": "age", "op": "vocabulary"}], cross=[])


def test_files_that_are_not_utf8_are_named(folder: Path) -> None:
    (folder / "users.csv").write_bytes(b"uid,plan\nu1,\xff\xfe\nu2,a\n")
    with pytest.raises(DataError, match=r"users\.csv cannot be read"):
        _load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"colour": 1}, "unknown key 'colour'"),
        ({"user": [{"name": "plan", "op": "vocab"}]}, r"user\[0\].op must be one of"),
        ({"user": [{"op": "hash", "buckets": "9"}]}, r"user\[0\] lacks 'name'\n- user\[0\].buckets must be int"),
        ({"item": {}}, "item must be a list"),
        ({"actions": [1]}, "actions must be texts"),
        ({"history_step": "5"}, "history_step must be an integer"),
    ],
)
def test_faults_of_the_schema_are_listed(folder: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(SchemaError, match=message):
        _load(folder, **change)


@pytest.mark.parametrize("entries", [None, [], {"events": {"path": "events.parquet"}}, MAPPING["frames"] | {"clicks": {"path": "x.csv"}}])
def test_frames_must_be_the_known_ones(folder: Path, entries: Any) -> None:
    with pytest.raises(DataError, match="frames: must be an object with"):
        _load(folder, frames=entries)


def test_a_mapping_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "mapping.json").write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"mapping\.json cannot be read"):
        load_generic(tmp_path / "mapping.json")


def test_the_mapping_of_the_guide_works(tmp_path: Path) -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "guides" / "data.md").read_text(encoding="utf-8")
    (tmp_path / "mapping.json").write_text(guide.split("```json\n")[1].split("```")[0], encoding="utf-8")
    (tmp_path / "users.csv").write_text("uid,plan\n1,free\n", encoding="utf-8")
    items = {"sku": ["a", "b"], "name": ["A", "B"], "tags": ["x|y", None], "price": [1.0, None], "seller": ["s", "t"]}
    pl.DataFrame(items).write_parquet(tmp_path / "items.parquet")
    events = {"uid": [1, 2, 1], "sku": ["b", "a", "z"], "kind": ["view", "order", "view"], "at": [1, 2, 3], "query": ["x y", None, ""]}
    pl.DataFrame(events | {"query_text": events["query"]}).write_parquet(tmp_path / "events.parquet")
    dataset = load_generic(tmp_path / "mapping.json")
    assert dataset.report | {"events of unknown items": 1, "events of unknown users": 1} == dataset.report
    assert len(encode(dataset).item) == 1


def test_unsorted_and_repeated_events_are_counted(folder: Path) -> None:
    days = [datetime(2025, 1, day) for day in (3, 1, 1, 2)]
    pl.DataFrame({"uid": ["u1", "u1", "u1", "u2"], "sku": ["b", "a", "a", "c"], "at": days}).write_parquet(folder / "events.parquet")
    dataset = _load(folder)
    assert dataset.report == {"events out of time order (sorted)": 1, "events that repeat another (kept)": 1}
    assert encode(dataset).item.tolist() == [0, 0, 1, 2]


def test_an_empty_file_and_a_file_with_a_header_alone_are_named(folder: Path) -> None:
    (folder / "users.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"users\.csv is empty: it has no header"):
        _load(folder)
    (folder / "users.csv").write_text("uid,plan\n", encoding="utf-8")
    with pytest.raises(DataError, match="names users that do not exist in 3 of 3 rows"):
        encode(_load(folder))


def test_a_number_that_is_not_one_is_refused(folder: Path) -> None:
    (folder / "items.csv").write_text("sku,tags,price\nb,,nan\na,,\nc,,1\n", encoding="utf-8")
    with pytest.raises(DataError, match="price"):
        encode(_load(folder))


def test_columns_that_nothing_needs_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text file's share of memory counts wanted columns alone, so a wide file fits where its few wanted columns do."""
    rows = 2000
    wide = {"sku": [str(i) for i in range(rows)], "tags": ["red"] * rows, "price": [1.0] * rows, "blurb": ["x" * 500] * rows}
    pl.DataFrame(wide).write_parquet(folder / "items.parquet", compression="uncompressed")
    events = {"uid": ["u1"], "sku": ["7"], "at": [datetime(2025, 1, 1)]}
    pl.DataFrame(events).write_parquet(folder / "events.parquet")
    frames_of = MAPPING["frames"] | {"items": MAPPING["frames"]["items"] | {"path": "items.parquet"}}
    monkeypatch.setattr(frames, "free_memory", lambda: 500_000.0)
    assert "blurb" not in _load(folder, frames=frames_of).items.columns


def test_a_file_larger_than_memory_is_refused_before_it_is_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten sparse gigabytes, and the memory of a small machine."""
    with (folder / "users.csv").open("r+b") as file:
        file.truncate(10 * 2**30)
    monkeypatch.setattr(frames, "free_memory", lambda: 2.0 * 2**30)
    with pytest.raises(DataError, match=r"users\.csv does not fit into memory(?s:.*)30\.0 GiB(?s:.*)2\.0 GiB are free"):
        _load(folder)


def test_free_memory_is_what_the_system_says() -> None:
    assert 2**20 < frames.free_memory() < 2**50
