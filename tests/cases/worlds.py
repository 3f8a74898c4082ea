"""The two data sets that parity cases speak of, and cases as the suite reads them.

"small" names items by strings and uses every operation; "medium" names them by integers and has more items than one request may rank.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from google.protobuf import json_format

from shortlist.data.dataset import Dataset
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset

PATH = Path(__file__).resolve().parent / "parity.jsonl"
WORLDS = {
    "small": ToyDataConfig(),
    "medium": ToyDataConfig(items=3200, users=200, events=20_000, item_id="int64", history_max_events=60, history_step=20, seed=1),
}


@cache
def dataset(world: str) -> Dataset:
    return toy_dataset(WORLDS[world])


@cache
def item_ids(world: str) -> tuple[int | str, ...]:
    """Ids in the order of catalog rows."""
    ids = dataset(world).items["item_id"].to_list()
    return tuple(sorted(ids, key=lambda item: item.encode() if isinstance(item, str) else item))


@dataclass(frozen=True)
class Case:
    """One request. `method` is Recommend, Retrieve or Rank."""

    name: str
    world: str
    method: str
    request: wire.RecommendRequest


def load_cases() -> list[Case]:
    return [parse(json.loads(line)) for line in PATH.read_text().splitlines()]


def parse(line: dict[str, Any]) -> Case:
    """A line of parity.jsonl. Long lists of ids are spans, {"start", "count", "stride"} over the catalog's rows, wrapping around; the
    `actions` of such a history are repeated in turn."""
    request = json_format.ParseDict(line["request"], wire.RecommendRequest())
    for field, ids in (("history", request.user.history.items), ("candidates", request.candidates)):
        if field in line:
            actions = line[field].pop("actions", [])
            items = span(item_ids(line["world"]), **line[field])
            (ids.strings if isinstance(items[0], str) else ids.ints).extend(items)
            request.user.history.actions.extend(actions[position % len(actions)] for position in range(len(items) if actions else 0))
    return Case(line["name"], line["world"], line["method"], request)


def span(ids: Sequence[int | str], start: int, count: int, stride: int = 1) -> list[Any]:
    return [ids[(start + position * stride) % len(ids)] for position in range(count)]
