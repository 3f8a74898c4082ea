"""The smallest data set that has everything: worked out by hand in the tests that use it."""

from __future__ import annotations

import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

SCHEMA = Schema(
    item_id="int64",
    user=(Column(name="gender", op=Op.VOCABULARY, vocabulary=("F", "M")),),
    context=(Column(name="query", op=Op.HASH, buckets=100),),
    item=(
        Column(name="id", op=Op.ITEM_ROW, vocabulary=("3", "20", "100"), in_history=True),
        Column(name="price", op=Op.NUMBER, default=-1.0),
    ),
    actions=("click", "buy"),
    tasks=("click", "buy"),
    cross=(
        CrossFeature(name="query_item", segment="context.query"),
        CrossFeature(name="gender_item", segment="user.gender"),
        CrossFeature(name="last_item_item", segment=LAST_ITEM),
    ),
)


def small() -> Dataset:
    """Three users (one without events), three items, four events of which the last two share a time, and two pages."""
    return Dataset(
        name="small",
        schema=SCHEMA,
        users=pl.DataFrame({"user_id": [5, 2, 9], "gender": ["M", None, "F"]}),
        items=pl.DataFrame({"item_id": [100, 3, 20], "price": [1.5, None, 2.0]}),
        events=pl.DataFrame(
            {
                "user_id": [5, 2, 5, 5],
                "item_id": [100, 3, 3, 20],
                "action": ["click", "buy", "buy", "click"],
                "time": [10, 11, 12, 12],
                "value": [None, 7.0, 1.0, None],
                "query": ["Red  Sofa", None, "red-sofa", "lamp"],
            }
        ),
        impressions=pl.DataFrame(
            {
                "request_id": ["b", "a", "b"],
                "user_id": [5, 9, 5],
                "item_id": [20, 3, 100],
                "position": [0, 0, 1],
                "time": [12, 12, 12],
                "query": ["LAMP", "", "LAMP"],
                "click": [1, 0, 0],
                "buy": [0, 0, 0],
            }
        ),
    )
