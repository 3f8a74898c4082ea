"""A small random data set that uses every part of the format: all operations, text or integer ids, availability, all kinds of counters.

Nothing can be learned from it; `shortlist.data.marketplace` is the data set with structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

START = 1_750_000_000  # unix seconds of the first event
CATEGORIES = ("books", "garden", "music", "sport", "toys")
TAGS = ("green", "new", "sale", "used", "vintage")
CITIES = ("Århus", "Lyon", "Oslo", "Porto")
WORDS = ("blue", "camera", "chair", "guitar", "lamp", "old", "red", "table", "кошка", "自転車")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyDataConfig:
    items: int = 60
    users: int = 30
    events: int = 400
    item_id: Literal["int64", "string"] = "string"
    history_max_events: int = 8
    history_step: int = 3
    seed: int = 0


def toy_dataset(config: ToyDataConfig | None = None) -> Dataset:
    """Equal configs make equal data sets."""
    config = config or ToyDataConfig()
    rng = np.random.default_rng(config.seed)
    items = _items(config, rng)
    users = _users(config, rng)
    return Dataset(
        name="toy", schema=toy_schema(config, items), users=users, items=items, events=_events(config, rng, users, items), report={}
    )


def toy_schema(config: ToyDataConfig, items: pl.DataFrame) -> Schema:
    known = id_vocabulary(items["item_id"])
    return Schema(
        item_id=config.item_id,
        user=(
            Column(name="gender", op=Op.VOCABULARY, vocabulary=("female", "male")),
            Column(name="age", op=Op.NUMBER, default=30.0, minimum=0.0, maximum=120.0),
            Column(name="interests", op=Op.VOCABULARY_LIST, vocabulary=CATEGORIES, width=3),
        ),
        context=(
            Column(name="query", op=Op.TOKENS, buckets=16, width=4),
            Column(name="city", op=Op.HASH, buckets=8),
            Column(name="hour", op=Op.NUMBER, default=12.0, minimum=0.0, maximum=24.0),
        ),
        item=(
            Column(name="id", op=Op.ITEM_ROW, vocabulary=known[: max(1, len(known) - 3)], in_history=True),  # the last three are new
            Column(name="category", op=Op.VOCABULARY, vocabulary=CATEGORIES, in_history=True),
            Column(name="tags", op=Op.VOCABULARY_LIST, vocabulary=TAGS, width=3, in_history=True),
            Column(name="price", op=Op.NUMBER, default=10.0, minimum=0.0, in_history=True),
            Column(name="seller", op=Op.HASH, buckets=8),
            Column(name="words", op=Op.TOKENS, buckets=16, width=3),
        ),
        actions=("view", "purchase"),
        tasks=("click", "purchase"),
        cross=(
            CrossFeature(name="gender_item", segment="user.gender", prior=5.0),
            CrossFeature(name="query_item", segment="context.query", prior=1.0),
            CrossFeature(name="last_item", segment=LAST_ITEM, prior=2.0),
        ),
        history_max_events=config.history_max_events,
        history_step=config.history_step,
    )


def _items(config: ToyDataConfig, rng: np.random.Generator) -> pl.DataFrame:
    n = config.items
    numbers = np.sort(rng.choice(10 * n, size=n, replace=False)) + 1
    titles = [" ".join(rng.choice(WORDS, size=int(rng.integers(1, 4)), replace=False)) for _ in range(n)]
    price = np.round(np.exp(rng.normal(3.0, 1.0, n)), 2)
    day = 86_400
    return pl.DataFrame(
        {
            "item_id": numbers if config.item_id == "int64" else [_text_id(int(number)) for number in numbers],
            "category": rng.choice([*CATEGORIES, "not in the vocabulary"], size=n),
            "tags": [sorted(rng.choice(TAGS, size=int(rng.integers(0, 5)), replace=False)) for _ in range(n)],
            "price": [None if row % 17 == 5 else float(value) for row, value in enumerate(price)],
            "seller": [f"Seller {int(number)}" for number in rng.integers(0, max(2, n // 10), n)],
            "words": titles,
            "title": [f"{title} #{row}" for row, title in enumerate(titles)],
            "available_from": np.where(rng.random(n) < 0.2, START + rng.integers(0, 10, n) * day, 0),
            "available_until": np.where(rng.random(n) < 0.2, START + rng.integers(5, 15, n) * day, 0),
        },
        schema_overrides={"tags": pl.List(pl.String), "price": pl.Float64},
    )


def _text_id(number: int) -> str:
    """Ids whose order by bytes is neither numeric nor that of a locale."""
    return f"{('item', 'Item', 'é', '物')[number % 4]}-{number}"


def _users(config: ToyDataConfig, rng: np.random.Generator) -> pl.DataFrame:
    n = config.users
    return pl.DataFrame(
        {
            "user_id": [f"user-{number}" for number in range(n)],
            "gender": [("female", "male", None)[kind] for kind in rng.choice(3, size=n, p=[0.45, 0.45, 0.1])],
            "age": [None if value < 20 else float(value) for value in rng.integers(15, 80, n)],
            "interests": [sorted(rng.choice(CATEGORIES, size=int(rng.integers(0, 4)), replace=False)) for _ in range(n)],
        },
        schema_overrides={"gender": pl.String, "age": pl.Float64, "interests": pl.List(pl.String)},
    )


def _events(config: ToyDataConfig, rng: np.random.Generator, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    n = config.events
    popularity = 1.0 / np.arange(1, config.items + 1)
    chosen = rng.choice(rng.permutation(config.items), size=n, p=popularity / popularity.sum())
    queries = [" ".join(rng.choice(WORDS, size=int(rng.integers(0, 3)))).title() for _ in range(n)]
    return pl.DataFrame(
        {
            "user_id": rng.choice(users["user_id"].to_list(), size=n).tolist(),
            "item_id": items["item_id"].gather(chosen),
            "action": rng.choice(["view", "purchase"], size=n, p=[0.8, 0.2]).tolist(),
            "time": START + np.sort(rng.integers(0, 10 * 86_400, n)),
            "query": [query or None for query in queries],
            "city": rng.choice(CITIES, size=n).tolist(),
            "hour": rng.integers(0, 24, n).astype(np.float64),
        }
    ).sort("user_id", "time", maintain_order=True)
