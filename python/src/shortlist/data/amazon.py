"""Amazon Beauty, 5-core, as S3-Rec (Zhou et al. 2020) prepared it: one sequence a user and the attributes of items."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary, infer_vocabulary
from shortlist.errors import DataError
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

_ATTRIBUTES = 6  # no item has more


def load_amazon(folder: Path) -> Dataset:
    """Reads `sequences.txt` (a line: user item item ...) and `item_attributes.json`. `time` is the rank in the user's sequence.

    Raises DataError when a file is missing or malformed.
    """
    sequences = _sequences(folder / "sequences.txt")
    attributes = _attributes(folder / "item_attributes.json")
    events = sequences.explode("item_id").with_columns(action=pl.lit("review"), time=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))
    described = pl.DataFrame(
        {"item_id": list(attributes), "attributes": list(attributes.values())},
        schema={"item_id": pl.Int64, "attributes": pl.List(pl.String)},
    )
    bought = events.select(pl.col("item_id").unique())
    items = bought.join(described, on="item_id", how="left").sort("item_id")
    schema = Schema(
        item_id="int64",
        user=(),
        context=(),
        item=(
            Column(name="id", op=Op.ITEM_ROW, vocabulary=id_vocabulary(items["item_id"]), in_history=True),
            Column(
                name="attributes",
                op=Op.VOCABULARY_LIST,
                width=_ATTRIBUTES,
                vocabulary=infer_vocabulary(items["attributes"]),
                in_history=True,
            ),
        ),
        actions=("review",),
        tasks=("review",),
        cross=(CrossFeature(name="last_item_item", segment=LAST_ITEM),),
        history_max_events=50,
        history_step=10,
    )
    report = {
        "items without attributes": items["attributes"].null_count(),
        "attributes of items never reviewed": len(described.join(items, on="item_id", how="anti")),
    }
    return Dataset(name="amazon-beauty", schema=schema, users=sequences.select("user_id"), items=items, events=events, report=report)


def _sequences(path: Path) -> pl.DataFrame:
    rows = []
    for number, line in enumerate(_text(path).splitlines(), start=1):
        try:
            user, *items = map(int, line.split())
        except ValueError:
            raise DataError(f"{path}: line {number} is not a user and items as integers", fix="use the file of the data set") from None
        rows.append((user, items))
    return pl.DataFrame(rows, schema={"user_id": pl.Int64, "item_id": pl.List(pl.Int64)}, orient="row")


def _attributes(path: Path) -> dict[int, list[str]]:
    try:
        document = json.loads(_text(path))
        return {int(item): [str(int(attribute)) for attribute in attributes] for item, attributes in document.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is not an object of lists of integers", why=str(error), fix="use the file of the data set") from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read", why=str(error), fix="give the folder that holds the Amazon files") from error
