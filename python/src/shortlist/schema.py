"""What a data set looks like: columns, actions and tasks. Everything after the loaders is driven by it.

Shape legend, used in names, comments and docs: B requests, N history events, P encoded past events, M candidates, I catalog items,
D model width, L layers, H heads, K retrieval width, Q query heads, C cross features, T tasks, W width of a list column, U users, E events.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

# Names of columns that every frame of a data set uses.
USER_ID = "user_id"
ITEM_ID = "item_id"
ACTION = "action"
TIME = "time"
VALUE = "value"
REQUEST_ID = "request_id"
POSITION = "position"
TITLE = "title"
AVAILABLE_FROM = "available_from"
AVAILABLE_UNTIL = "available_until"

# The segment of a cross column that is not a feature column: the catalog row of the newest history event.
LAST_ITEM = "history.last_item"


class Op(StrEnum):
    """What happens to a raw value outside the graphs; a closed set, specified in docs/bundle.md."""

    NUMBER = "number"
    VOCABULARY = "vocabulary"
    VOCABULARY_LIST = "vocabulary_list"
    HASH = "hash"
    TOKENS = "tokens"
    ITEM_ROW = "item_row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature column.

    `vocabulary` lists the known values (ids are 1 + position), `buckets` sizes hashes, `width` > 0 makes a list column of that many
    ids, `default` stands for a missing number, `minimum` and `maximum` bound numbers on the wire, and `in_history` (item columns)
    gathers the column for every event of a history.
    """

    name: str
    op: Op
    vocabulary: tuple[str, ...] = ()
    buckets: int = 0
    width: int = 0
    default: float = 0.0
    minimum: float | None = None
    maximum: float | None = None
    in_history: bool = False

    @property
    def cardinality(self) -> int:
        """Number of ids with the unknown id 0; 0 for numbers."""
        if self.op in (Op.VOCABULARY, Op.VOCABULARY_LIST, Op.ITEM_ROW):
            return len(self.vocabulary) + 1
        return self.buckets + 1 if self.op in (Op.HASH, Op.TOKENS) else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFeature:
    """A counter C(q,p)/(C(q)+prior) between a segment of the request and an item.

    `segment` is "user.<column>", "context.<column>" or `LAST_ITEM`. `window` > 0 counts only the newest so many seconds; several
    windows of a segment are several cross features. A release holds the counted rates alone, so servers know of no window.
    """

    name: str
    segment: str
    prior: float = 10.0
    window: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Schema:
    """Columns by role, actions of events, tasks to predict, and the window of history that models see.

    The item columns include `Column(name="id", op=Op.ITEM_ROW, in_history=True)`: its vocabulary is the ids known at training.
    `event_times` is of releases alone: their graphs take the times of events (`history_time`), and requests must have them.
    """

    item_id: Literal["int64", "string"]
    user: tuple[Column, ...]
    context: tuple[Column, ...]
    item: tuple[Column, ...]
    actions: tuple[str, ...]
    tasks: tuple[str, ...]
    cross: tuple[CrossFeature, ...] = ()
    history_max_events: int = 200
    history_step: int = 50
    event_times: bool = False

    @property
    def history(self) -> tuple[Column, ...]:
        """Item columns that are gathered for every event of a history."""
        return tuple(column for column in self.item if column.in_history)
