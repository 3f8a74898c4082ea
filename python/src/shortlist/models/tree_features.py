"""The features of the tree ranker: what a team computes for boosted trees, from what a release's ranker graph is given.

Trees jump at their thresholds, so a feature must come out bit for bit alike in every runtime. All features here are gathers, casts,
comparisons, counts and single float32 operations, which are exact or correctly rounded everywhere; sums of fractions are left out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from shortlist.models.embedding import Columns
from shortlist.schema import ACTION, Column, Op, Schema

LARGEST_VOCABULARY = 64  # id columns up to this size are features themselves; larger ones are known by their frequency alone
RECENT = 5  # events that make the short-term counts


class TreeFeatures(nn.Module):
    """F features per candidate, named by `names`.

    `frequency_<column>` [cardinality] counts the training events with each id of a large vocabulary; `task_rate` [ids,T-1] is how often
    an item's training events reached each deeper task. `fit` sets both.
    """

    task_rate: Tensor

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        self.schema = schema
        self.matched = [c for c in schema.history if not c.width and c.op is not Op.NUMBER]
        self.compared = [c for c in schema.history if c.op is Op.NUMBER]
        self.overlapped = [c for c in schema.history if c.width and c.cardinality <= LARGEST_VOCABULARY]
        for column in self._counted():
            self.register_buffer(f"frequency_{column.name}", torch.zeros(column.cardinality))
        self.row = next(column for column in schema.item if column.op is Op.ITEM_ROW)
        self.register_buffer("task_rate", torch.zeros(self.row.cardinality, len(schema.tasks) - 1))

    def _counted(self) -> list[Column]:
        return [c for c in self.schema.item if not c.width and c.cardinality > LARGEST_VOCABULARY]

    @property
    def event_width(self) -> int:
        """D/H: what is kept of an event: matched ids, compared numbers, flags of overlapped lists, and the action."""
        return len(self.matched) + len(self.compared) + sum(c.cardinality for c in self.overlapped) + 1

    @property
    def item_width(self) -> int:
        """D: what is kept of an item: the parts that events have, and its own features."""
        return self.event_width - 1 + len(self._item_names())

    @property
    def request_width(self) -> int:
        return len(self._request_names())

    @property
    def names(self) -> list[str]:
        """Names [F], in the order of `forward`."""
        crosses = [f"cross_{cross.name}" for cross in self.schema.cross]
        return [*self._item_names(), *self._request_names(), *crosses, "history_length", *self._history_names()]

    def _item_names(self) -> list[str]:
        deeper = [f"item_{task}_rate" for task in self.schema.tasks[1:]]
        return [name for c in self.schema.item for name in _names("item", c)] + deeper

    def _request_names(self) -> list[str]:
        roles = (("user", self.schema.user), ("context", self.schema.context))
        return [name for role, columns in roles for c in columns for name in _names(role, c)]

    def _history_names(self) -> list[str]:
        matched = [f"{what}_same_{c.name}" for c in self.matched for what in ("events", "recent", "deeper", "since")]
        compared = [f"{what}_last_{c.name}" for c in self.compared for what in ("minus", "over")]
        return [*matched, *(f"overlap_{c.name}" for c in self.overlapped), *compared]

    def event(self, history: Columns) -> Tensor:
        """History columns [B,N] -> [B,N,D/H]."""
        return torch.cat((self._kept(history), history[ACTION].float().unsqueeze(-1)), dim=-1)

    def item(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,D]."""
        parts = [part for c in self.schema.item for part in self._own(c, item[c.name])]
        return torch.cat((self._kept(item), *parts, self.task_rate[item[self.row.name]]), dim=-1)

    def request(self, user: Columns, context: Columns) -> Tensor | None:
        """User and context columns [...] -> [...,R]; None where the schema has none."""
        parts = [part for c in self.schema.user for part in self._own(c, user[c.name])]
        parts += [part for c in self.schema.context for part in self._own(c, context[c.name])]
        return torch.cat(parts, dim=-1) if parts else None

    def forward(self, events: Tensor, visible: Tensor, request: Tensor | None, item: Tensor, cross: Tensor) -> Tensor:
        """Events [B,N,D/H] of which the first `visible` [B,1] or [B,M] count, request [B,1 or M,R], items [B,M,D], cross [B,M,C] ->
        [B,M,F]."""
        kept = self.event_width - 1
        own, like_events = item[..., kept:], item[..., :kept]
        length = visible.expand(item.shape[:2]).unsqueeze(-1)
        asked = [request.expand(*item.shape[:2], -1)] if request is not None and self.request_width else []
        parts = [own, *asked, cross, length.float()]
        parts += self._history(events, length, like_events)
        return torch.cat(parts, dim=-1)

    def _history(self, events: Tensor, length: Tensor, like_events: Tensor) -> list[Tensor]:
        """[B,M,1] each. Padding, and whatever lies after the visible events, is never looked at."""
        count = events.shape[1]
        place = torch.arange(count, device=events.device)
        seen = place < length  # [B,M,N]
        recent = seen & (place >= length - RECENT)
        deeper = (events[..., -1] > 1).unsqueeze(1)  # [B,1,N]
        found = []
        for index in range(len(self.matched)):
            mine = like_events[..., index].unsqueeze(-1)  # [B,M,1]
            same = (events[..., index].unsqueeze(1) == mine) & (mine > 0)  # 0 is unknown and like nothing
            at = torch.where(same & seen, place, -1).amax(dim=-1, keepdim=True)
            since = torch.where(at >= 0, length - 1 - at, self.schema.history_max_events + 1)
            counts = [(same & which).float().sum(dim=-1, keepdim=True) for which in (seen, recent, seen & deeper)]
            found += [*counts, since.float()]
        begin = len(self.matched) + len(self.compared)
        for column in self.overlapped:
            flags = slice(begin, begin + column.cardinality)
            # Sums of zeros and ones: whole numbers, exact in any order.
            shared = torch.matmul(like_events[..., flags], events[..., flags].mT)
            found.append(torch.where(seen, shared, 0.0).sum(dim=-1, keepdim=True))
            begin += column.cardinality
        last = (length - 1).clamp(min=0)
        for index in range(len(self.matched), len(self.matched) + len(self.compared)):
            newest = events[..., index].unsqueeze(1).expand(-1, length.shape[1], -1).gather(2, last)
            newest = torch.where(length > 0, newest, 0.0)
            mine = like_events[..., index].unsqueeze(-1)
            found += [mine - newest, mine / torch.where(newest.abs() < 1e-3, 1.0, newest)]
        return found

    def _kept(self, columns: Columns) -> Tensor:
        """What events and items have alike: [...,D/H - 1]."""
        parts = [columns[c.name].float().unsqueeze(-1) for c in (*self.matched, *self.compared)]
        parts += [_flags(columns[c.name], c.cardinality) for c in self.overlapped]
        first = next(iter(columns.values()))
        return torch.cat(parts, dim=-1) if parts else torch.zeros((*first.shape, 0), device=first.device)

    def _own(self, column: Column, values: Tensor) -> list[Tensor]:
        """The features [...,1] of one column by itself, as `_names` names them."""
        if column.width:
            return [(values > 0).float().sum(dim=-1, keepdim=True)]
        if hasattr(self, f"frequency_{column.name}") and column in self.schema.item:
            frequency: Tensor = getattr(self, f"frequency_{column.name}")
            return [frequency[values].unsqueeze(-1)]
        small = column.op is Op.NUMBER or column.cardinality <= LARGEST_VOCABULARY
        return [values.float().unsqueeze(-1)] if small else []

    @torch.no_grad()
    def fit(self, items: Columns, row: Tensor, action: Tensor) -> None:
        """Count events: item columns [I], and the catalog rows [E] and actions [E] of events that no list is trained on: else an item's
        count would tell that it is the answer."""
        for column in self._counted():
            frequency: Tensor = getattr(self, f"frequency_{column.name}")
            frequency.copy_(torch.bincount(items[column.name][row], minlength=column.cardinality).float())
            frequency[0] = 0.0  # unknown ids are no group
        ids = items[self.row.name][row]
        total = torch.bincount(ids, minlength=self.row.cardinality).float()
        for task in range(1, len(self.schema.tasks)):
            reached = torch.bincount(ids[action > task], minlength=self.row.cardinality).float()
            self.task_rate[:, task - 1] = reached / (total + 10.0)


def _names(role: str, column: Column) -> list[str]:
    if column.width:
        return [f"{role}_{column.name}_count"]
    if column.op is Op.NUMBER or column.cardinality <= LARGEST_VOCABULARY:
        return [f"{role}_{column.name}"]
    return [f"{role}_{column.name}_frequency"] if role == "item" else []


def _flags(ids: Tensor, size: int) -> Tensor:
    """Lists of ids [...,W] -> 1.0 at each id that is in the list [...,size]; id 0 is padding."""
    wanted = torch.arange(size, device=ids.device)
    return ((ids.unsqueeze(-1) == wanted) & (wanted > 0)).any(dim=-2).float()
