"""The Amazon loader on a tiny copy of the file formats, and on the real files where they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.data.amazon import load_amazon
from shortlist.data.encode import encode
from shortlist.errors import DataError

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "amazon-beauty"


def _write(folder: Path, sequences: str, attributes: str) -> Path:
    (folder / "sequences.txt").write_text(sequences, encoding="utf-8")
    (folder / "item_attributes.json").write_text(attributes, encoding="utf-8")
    return folder


def test_by_hand(tmp_path: Path) -> None:
    dataset = load_amazon(_write(tmp_path, "7 30 4\n2 4 5 30\n", '{"4": [9, 1], "30": [9], "99": [2]}'))
    log = encode(dataset)
    assert log.user_ids.tolist() == [2, 7]
    assert log.item_ids[log.item].tolist() == [4, 5, 30, 30, 4]
    assert log.time.tolist() == [0, 1, 2, 0, 1]
    assert log.items["attributes"][:, :2].tolist() == [[1, 2], [0, 0], [1, 0]]
    assert dataset.report == {"items without attributes": 1, "attributes of items never reviewed": 1}


@pytest.mark.parametrize(
    ("sequences", "attributes", "message"),
    [
        ("1 2 x\n", "{}", "line 1 is not a user and items"),
        ("1 2\n\n", "{}", "line 2 is not"),
        ("1 2\n", "[]", "not an object of lists"),
        ("1 2\n", '{"2": ["a"]}', "not an object of lists"),
        ("1 2\n", "{", "not an object of lists"),
    ],
)
def test_malformed_files_are_named(tmp_path: Path, sequences: str, attributes: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_amazon(_write(tmp_path, sequences, attributes))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"sequences\.txt cannot be read"):
        load_amazon(tmp_path / "none")


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs amazon-beauty (real data is not distributed; looked in {DATA})")
def test_real_files() -> None:
    dataset = load_amazon(DATA)
    log = encode(dataset)
    assert (len(log.user_ids), len(log.item_ids), len(log.item)) == (22_363, 12_101, 198_502)
    assert set(dataset.report.values()) == {0}
    assert (log.items["attributes"] > 0).any(axis=1).all()
