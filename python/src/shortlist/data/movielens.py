"""MovieLens-1M (as SASRec uses it: ordered, without timestamps) and MovieLens-100K (with them).

GroupLens; F. M. Harper and J. A. Konstan, "The MovieLens Datasets: History and Context", 2015. The data may not be redistributed.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary, infer_vocabulary
from shortlist.errors import DataError
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

ACTIONS = ("rated_low", "rated_high")  # 1-3 stars, 4-5 stars
TASKS = ("watch", "like")  # any rating, rated_high
_LIKED = 4
_GENRES = 6  # no film has more
_YEAR = 1995.0  # of films without one; about the median


def load_ml_1m(folder: Path) -> Dataset:
    """Reads `interactions.tsv.gz`, `users.tsv` and `items.tsv`. `time` is the event's rank in its user's sequence.

    Raises DataError when a file is missing or malformed.
    """
    ratings = _read(folder / "interactions.tsv.gz", {"user": pl.Int64, "item": pl.Int64, "rating": pl.Int64})
    users = _read(folder / "users.tsv", {"user": pl.Int64, "gender": pl.String, "age": pl.Int64, "occupation": pl.Int64, "zip": pl.String})
    items = _read(folder / "items.tsv", {"item": pl.Int64, "title": pl.String, "genres": pl.String})
    events = ratings.rename({"user": "user_id", "item": "item_id"}).with_columns(
        _action(), time=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id")
    )
    return _dataset(
        "ml-1m",
        users=users.rename({"user": "user_id"}).select("user_id", "gender", "age", "occupation"),
        items=items.rename({"item": "item_id"}).with_columns(
            pl.col("genres").str.split("|"), year=pl.col("title").str.extract(r"\((\d{4})\)\s*$").cast(pl.Float32)
        ),
        events=events.select("user_id", "item_id", "action", "time"),
    )


def load_ml_100k(folder: Path) -> Dataset:
    """Reads `ml-100k.inter`, `ml-100k.user` and `ml-100k.item`. Events with equal times keep the file's order.

    Raises DataError when a file is missing or malformed.
    """
    ratings = _read(
        folder / "ml-100k.inter",
        {"user_id:token": pl.Int64, "item_id:token": pl.Int64, "rating:float": pl.Float64, "timestamp:float": pl.Int64},
    )
    users = _read(
        folder / "ml-100k.user",
        {"user_id:token": pl.Int64, "age:token": pl.Int64, "gender:token": pl.String, "occupation:token": pl.String},
    )
    items = _read(
        folder / "ml-100k.item",
        {
            "item_id:token": pl.Int64,
            "movie_title:token_seq": pl.String,
            "release_year:token": pl.String,
            "class:token_seq": pl.String,
        },
    )
    users, items, ratings = (frame.rename(lambda name: name.split(":")[0]) for frame in (users, items, ratings))
    return _dataset(
        "ml-100k",
        users=users.select("user_id", "gender", pl.col("age") // 10 * 10, "occupation"),  # decades, as ml-1m has bands
        items=items.select(
            "item_id",
            title=pl.col("movie_title"),
            genres=pl.col("class").str.split(" "),
            year=pl.col("release_year").str.extract(r"^(\d{4})$").cast(pl.Float32),
        ),
        events=ratings.with_columns(_action())
        .sort("user_id", "timestamp", maintain_order=True)
        .select("user_id", "item_id", "action", time=pl.col("timestamp")),
    )


def _action() -> pl.Expr:
    return pl.when(pl.col("rating") >= _LIKED).then(pl.lit(ACTIONS[1])).otherwise(pl.lit(ACTIONS[0])).alias("action")


def _dataset(name: str, *, users: pl.DataFrame, items: pl.DataFrame, events: pl.DataFrame) -> Dataset:
    """Adds the schema, and stubs for users and items that only the events know (counted in the report)."""
    users, lost_users = _complete(users, events, "user_id")
    items, lost_items = _complete(items, events, "item_id")
    schema = Schema(
        item_id="int64",
        user=tuple(
            Column(name=column, op=Op.VOCABULARY, vocabulary=infer_vocabulary(users[column])) for column in ("gender", "age", "occupation")
        ),
        context=(),
        item=(
            Column(name="id", op=Op.ITEM_ROW, vocabulary=id_vocabulary(items["item_id"]), in_history=True),
            Column(name="genres", op=Op.VOCABULARY_LIST, width=_GENRES, vocabulary=infer_vocabulary(items["genres"]), in_history=True),
            Column(name="year", op=Op.NUMBER, default=_YEAR),
        ),
        actions=ACTIONS,
        tasks=TASKS,
        cross=(
            CrossFeature(name="gender_item", segment="user.gender"),
            CrossFeature(name="age_item", segment="user.age"),
            CrossFeature(name="last_item_item", segment=LAST_ITEM),
        ),
    )
    report = {"users without features": lost_users, "items without features": lost_items, "items without year": items["year"].null_count()}
    return Dataset(name=name, schema=schema, users=users, items=items, events=events, report=report)


def _complete(rows: pl.DataFrame, events: pl.DataFrame, key: str) -> tuple[pl.DataFrame, int]:
    lost = events.select(key).unique().join(rows, on=key, how="anti")
    return pl.concat([rows, lost], how="diagonal"), len(lost)


def _read(path: Path, columns: dict[str, pl.DataType | type[pl.DataType]]) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"{path} does not exist", fix="give the folder that holds the MovieLens files (docs/guides/data.md)")
    try:
        return pl.read_csv(path, separator="\t", quote_char=None, columns=list(columns), schema_overrides=columns)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path} cannot be read", why=str(error).splitlines()[0], fix=f"it must be a UTF-8 table with {list(columns)}"
        ) from error
