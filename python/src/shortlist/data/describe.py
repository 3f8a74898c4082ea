"""What is in a data set, in numbers: for the command line and for the model card."""

from __future__ import annotations

from typing import Any

import polars as pl

from shortlist import schema as names
from shortlist.data.checks import source_name
from shortlist.data.dataset import Dataset


def describe(dataset: Dataset) -> dict[str, Any]:
    """Plain JSON values: sizes, time span, events per user, actions, columns with missing share, impressions, loader's report."""
    events, users = dataset.events, len(dataset.users)
    per_user = events.group_by(names.USER_ID).len()["len"]
    pairs = events.select(names.USER_ID, names.ITEM_ID).n_unique()
    return {
        "name": dataset.name,
        "users": users,
        "items": len(dataset.items),
        "events": len(events),
        "users with events": len(per_user),
        "items with events": events[names.ITEM_ID].n_unique(),
        "share of user-item pairs seen": pairs / max(1, users * len(dataset.items)),
        "events per user": {f"p{level}": per_user.quantile(level / 100, "lower") for level in (10, 50, 90, 100)},
        "time": [events[names.TIME].min(), events[names.TIME].max()],
        "actions": dict(events[names.ACTION].cast(pl.String).value_counts(sort=True).iter_rows()),
        "value": float(events[names.VALUE].sum()) if names.VALUE in events.columns else 0.0,
        "columns": _columns(dataset),
        "impressions": _impressions(dataset),
        "report": dict(dataset.report),
    }


def _columns(dataset: Dataset) -> dict[str, dict[str, Any]]:
    roles = (
        ("user", dataset.schema.user, dataset.users),
        ("context", dataset.schema.context, dataset.events),
        ("item", dataset.schema.item, dataset.items),
    )
    return {
        f"{role}.{column.name}": {
            "op": column.op.value,
            "missing": rows[source_name(column)].null_count() / max(1, len(rows)),
            "distinct": rows[source_name(column)].n_unique(),
        }
        for role, columns, rows in roles
        for column in columns
    }


def _impressions(dataset: Dataset) -> dict[str, Any] | None:
    shown = dataset.impressions
    if shown is None:
        return None
    return {
        "requests": shown[names.REQUEST_ID].n_unique(),
        "items shown": len(shown),
        "rates": {task: shown[task].mean() for task in dataset.schema.tasks},
    }
