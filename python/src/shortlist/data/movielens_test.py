"""MovieLens loaders on tiny copies of the file formats, and on the real files where they are."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from shortlist.data.encode import encode
from shortlist.data.movielens import load_ml_1m, load_ml_100k
from shortlist.data.splits import leave_one_out
from shortlist.errors import DataError

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
NEEDS_DATA = f"needs {{}} (real data is not distributed; looked in {DATA})"


@pytest.fixture
def ml_1m(tmp_path: Path) -> Path:
    with gzip.open(tmp_path / "interactions.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("user\titem\trating\n1\t2\t5\n1\t1\t3\n2\t9\t4\n1\t3\t1\n")
    (tmp_path / "users.tsv").write_text("user\tgender\tage\toccupation\tzip\n2\tM\t25\t15\t94022\n1\tF\t1\t10\t74114\n", encoding="utf-8")
    items = 'item\ttitle\tgenres\n1\tToy "Story" (1995)\tAnimation|Comedy\n2\tAmélie (2001)\tComedy\n3\tNo year\tDrama\n'
    (tmp_path / "items.tsv").write_text(items, encoding="utf-8")
    return tmp_path


def test_ml_1m_by_hand(ml_1m: Path) -> None:
    dataset = load_ml_1m(ml_1m)
    assert dataset.events.sort("user_id", "time").rows() == [
        (1, 2, "rated_high", 0),
        (1, 1, "rated_low", 1),
        (1, 3, "rated_low", 2),
        (2, 9, "rated_high", 0),
    ]
    assert dataset.report == {"users without features": 0, "items without features": 1, "items without year": 2}
    log = encode(dataset)
    assert log.item_ids.tolist() == [1, 2, 3, 9]
    assert log.items["year"].tolist() == [1995, 2001, 1995, 1995]
    assert dict(zip(dataset.schema.item[1].vocabulary, range(1, 9), strict=False)) == {"Comedy": 1, "Animation": 2, "Drama": 3}
    assert log.items["genres"][:, :3].tolist() == [[2, 1, 0], [1, 0, 0], [3, 0, 0], [0, 0, 0]]


def test_a_missing_or_malformed_file_is_named(ml_1m: Path) -> None:
    (ml_1m / "users.tsv").write_text("user\tsex\n1\tM\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"users\.tsv cannot be read"):
        load_ml_1m(ml_1m)
    (ml_1m / "users.tsv").unlink()
    with pytest.raises(DataError, match=r"users\.tsv does not exist"):
        load_ml_1m(ml_1m)


def test_ml_100k_keeps_the_files_order_at_equal_times(tmp_path: Path) -> None:
    ratings = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t5\t4\t20\n1\t3\t2\t10\n1\t4\t5\t20\n"
    (tmp_path / "ml-100k.inter").write_text(ratings, encoding="utf-8")
    users = "user_id:token\tage:token\tgender:token\toccupation:token\tzip_code:token\n1\t24\tM\twriter\t1\n"
    (tmp_path / "ml-100k.user").write_text(users, encoding="utf-8")
    items = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n3\tA\t1995\tDrama War\n4\tB\tV\tWar\n5\tC\t\tWar\n"
    (tmp_path / "ml-100k.item").write_text(items, encoding="utf-8")
    dataset = load_ml_100k(tmp_path)
    assert dataset.events.rows() == [(1, 3, "rated_low", 10), (1, 5, "rated_high", 20), (1, 4, "rated_high", 20)]
    assert dataset.users["age"].to_list() == [20]
    assert dataset.items["year"].to_list() == [1995, None, None]


@pytest.mark.skipif(not (DATA / "ml-1m").is_dir(), reason=NEEDS_DATA.format("ml-1m"))
def test_real_ml_1m() -> None:
    dataset = load_ml_1m(DATA / "ml-1m")
    log = encode(dataset)
    assert (len(log.user_ids), len(log.item_ids), len(log.item)) == (6_040, 3_416, 999_611)
    assert set(dataset.report.values()) == {0}
    split = leave_one_out(log)
    assert len(split.test) == 6_040
    # The first user's rows of the file, in its order.
    with gzip.open(DATA / "ml-1m" / "interactions.tsv.gz", "rt", encoding="utf-8") as file:
        rows = [line.split("\t") for line in file.read().splitlines()[1:]]
    assert log.item_ids[log.item[: log.ptr[1]]].tolist() == [int(item) for user, item, _ in rows if user == "1"]
    assert (log.items["genres"] > 0).sum(axis=1).min() >= 1


@pytest.mark.skipif(not (DATA / "ml-100k").is_dir(), reason=NEEDS_DATA.format("ml-100k"))
def test_real_ml_100k() -> None:
    dataset = load_ml_100k(DATA / "ml-100k")
    log = encode(dataset)
    assert (len(log.user_ids), len(log.item_ids), len(log.item)) == (943, 1_682, 100_000)
    assert dataset.events["time"].min() == 874_724_710
    assert isinstance(dataset.events["action"].dtype, pl.String)
    assert np.all(np.diff(log.time)[np.diff(np.repeat(np.arange(943), np.diff(log.ptr))) == 0] >= 0)
