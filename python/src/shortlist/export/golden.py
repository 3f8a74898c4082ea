"""Golden requests: every edge of the contract once, and real users; and the answers of a backend to them, stage by stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from shortlist import schema as names
from shortlist.data.dataset import Dataset
from shortlist.errors import ExportError
from shortlist.export.content import Content
from shortlist.export.queries import ItemId, to_value
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Tensors
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import Column, Op

UNICODE = "ÅNGSTRÖM  İstanbul\u00a0Ж кошка 東京—カメラ e\u0301 🙂 It's 4K!"


@dataclass(frozen=True)
class RequestMaker:
    """Makes requests of a data set's real users, seeded."""

    dataset: Dataset
    content: Content
    seed: int = 0

    def golden(self, count: int) -> list[wire.RecommendRequest]:
        """At least `count` requests: the edges, then real users."""
        cases = list(self._edges())
        cases += self.real(max(0, count - len(cases)), stream=1)
        for number, case in enumerate(cases):
            case.request_id = f"golden-{number}"
        return cases

    def real(self, count: int, stream: int = 2) -> list[wire.RecommendRequest]:
        """Requests of random users, each at a random point of the user's events."""
        generator = np.random.default_rng((self.seed, stream))
        users = self.dataset.users[names.USER_ID]
        requests = []
        for number in range(count):
            events = self._events(users[int(generator.integers(len(users)))])
            cut = int(generator.integers(1, len(events) + 1)) if len(events) else 0
            request = self._request(events[:cut], events[cut - 1 : cut])
            request.request_id = f"warmup-{number}"
            requests.append(request)
        return requests

    def held_out(self, targets: Sequence[tuple[ItemId, int]], count: int, stream: int = 4) -> list[tuple[wire.RecommendRequest, ItemId]]:
        """Requests right before an event, in its context, each with the event's item: what its user turned to next.

        `targets` are users and how many of their events come before; at most `count` are drawn. None: random events of random users.
        """
        generator = np.random.default_rng((self.seed, stream))
        if not targets:
            sizes = self.dataset.events.group_by(names.USER_ID).len().sort(names.USER_ID).rows()
            chosen = [sizes[int(place)] for place in generator.integers(len(sizes), size=count)] if sizes else []
            targets = [(user, int(generator.integers(events))) for user, events in chosen]
        pairs = []
        for place in sorted(generator.permutation(len(targets))[:count].tolist()):
            user, before = targets[place]
            events = self._events(user)
            pairs.append((self._request(events[:before], events[before : before + 1]), events[names.ITEM_ID][before]))
        return pairs

    def _edges(self) -> Iterator[wire.RecommendRequest]:
        schema, funnel, catalog = self.content.schema, self.content.funnel, self.content.catalog
        longest = self._longest()
        window, step = schema.history_max_events, schema.history_step
        ids: list[ItemId] = list(catalog.ids)
        unknown = self._unknown_ids()

        yield self._request(longest[:0])  # no history
        yield wire.RecommendRequest(user=wire.User(history=wire.History()), time=self._time())  # nothing at all, the default limit
        for length in (1, 2, window - 1, window, window + 1, window + step, window + step + 1):
            yield self._request(self._stretched(longest, length))
        no_actions = self._request(longest[:3])
        no_actions.user.history.ClearField("actions")
        yield no_actions

        for place in ("middle", "newest", "all"):
            events = self._request(longest[:6])
            history = item_list(events.user.history.items)
            changed = {
                "middle": [*history[:2], unknown[0], *history[2:-1]],
                "newest": [*history[:-1], unknown[0]],
                "all": unknown[:1] * len(history),
            }
            set_items(events.user.history.items, changed[place])
            yield events
        yield self._with_values(self._request(longest[:5]), "user", None)
        yield self._with_values(self._request(longest[:5]), "context", None)
        yield self._with_values(self._request(longest[:5]), "user", UNICODE)
        yield self._with_values(self._request(longest[:5]), "context", UNICODE)
        yield self._with_values(self._request(longest[:5]), "context", " \t--\u2003 ")  # separators alone

        yield self._candidates(longest, [ids[0]])
        yield self._candidates(longest, [ids[-1], unknown[0], ids[0], ids[-1], *ids[1:4], ids[0], unknown[1]])
        yield self._candidates(longest, list(reversed(ids)))
        yield self._candidates(longest, unknown)  # no known item: an empty answer
        yield self._candidates(longest[:0], ids[:7])

        for part in self._filters():
            filtered = self._request(longest[:8])
            filtered.filters.columns.append(part)
            yield filtered
        both = self._candidates(longest, ids[:30])
        both.filters.columns.extend(list(self._filters())[:1])
        yield both
        nothing = self._request(longest[:8])
        nothing.filters.columns.append(wire.ColumnFilter(column=self._item_column().name, any_of=[wire.Value(text="no such item")]))
        yield nothing
        kept = self._request(longest[:8])
        kept.filters.keep_seen = kept.filters.keep_unavailable = True
        yield kept
        for limit in (1, funnel.max_limit):
            limited = self._request(longest[:4])
            limited.limit = limit
            yield limited

    def _filters(self) -> Iterator[wire.ColumnFilter]:
        """A price-like range of every number column, and any_of and none_of of every other, with values that some items have."""
        for column in self.content.schema.item:
            raw = self.content.catalog.raw[column.name]
            if column.op is Op.NUMBER:
                low, high = (float(np.float32(value)) for value in np.nanquantile(np.asarray(raw), (0.25, 0.75)))
                yield wire.ColumnFilter(column=column.name, min=low, max=high)
                yield wire.ColumnFilter(column=column.name, max=high)
                continue
            flat = [text for value in raw for text in (value if isinstance(value, list) else [value])]
            common = [text for text, _ in sorted(_counts(flat).items(), key=lambda item: (-item[1], item[0]))[:2]]
            yield wire.ColumnFilter(column=column.name, any_of=[to_value(text) for text in common])
            yield wire.ColumnFilter(column=column.name, none_of=[to_value(common[0])])

    def _request(self, events: pl.DataFrame, newest: pl.DataFrame | None = None) -> wire.RecommendRequest:
        """A request of the user of `events` right after them, with the context of the newest one."""
        request = wire.RecommendRequest(limit=min(20, self.content.funnel.max_limit), time=self._time())
        request.user.history.SetInParent()
        if len(events):
            set_items(request.user.history.items, events[names.ITEM_ID].to_list())
            request.user.history.actions.extend(events[names.ACTION].cast(pl.String).to_list())
            if self.content.schema.event_times:
                request.user.history.times.extend(events[names.TIME].to_list())
        last = events[-1:] if newest is None else newest
        if len(last):
            user = self.dataset.users.filter(pl.col(names.USER_ID) == last[names.USER_ID][0])
            _fill(request.user.features, self.content.schema.user, user.row(0, named=True))
            _fill(request.context, self.content.schema.context, last.row(0, named=True))
        return request

    def _with_values(self, request: wire.RecommendRequest, role: str, text: str | None) -> wire.RecommendRequest:
        """Replaces all values of a role by a text that no vocabulary has; None: by an empty value. Numbers are left out."""
        columns = self.content.schema.user if role == "user" else self.content.schema.context
        values = request.user.features if role == "user" else request.context
        for column in columns:
            if column.name in values:
                del values[column.name]
            if column.op is Op.NUMBER:
                continue
            lists = column.op is Op.VOCABULARY_LIST and text is not None
            values[column.name].CopyFrom(to_value([str(text), *column.vocabulary[:2]] if lists else text))
        return request

    def _candidates(self, events: pl.DataFrame, candidates: Sequence[ItemId]) -> wire.RecommendRequest:
        request = self._request(events[:12])
        set_items(request.candidates, candidates[: self.content.funnel.max_candidates])
        request.limit = min(max(1, len(candidates)), self.content.funnel.max_limit)
        return request

    def _events(self, user: ItemId) -> pl.DataFrame:
        return self.dataset.events.filter(pl.col(names.USER_ID) == user)

    def _longest(self) -> pl.DataFrame:
        counts = self.dataset.events.group_by(names.USER_ID).len().sort(["len", names.USER_ID], descending=[True, False])
        return self._events(counts[names.USER_ID][0])

    def _stretched(self, events: pl.DataFrame, length: int) -> pl.DataFrame:
        """`length` events: the user's own, again and again, each round as long after the one before as it lasts itself."""
        lasts = int(events[names.TIME][-1] - events[names.TIME][0])
        rounds = [events.with_columns(pl.col(names.TIME) + number * lasts) for number in range(-(-max(1, length) // len(events)))]
        return pl.concat(rounds)[: max(1, length)]

    def _unknown_ids(self) -> list[ItemId]:
        ids = self.content.catalog.ids
        if self.content.schema.item_id == "int64":
            return [int(ids[-1]) + 1, int(ids[-1]) + 2]
        return [f"{ids[-1]}-unknown", f"{ids[-1]}-ünbekannt"]

    def _item_column(self) -> Column:
        return next(column for column in self.content.schema.item if column.op is Op.ITEM_ROW)

    def _time(self) -> int:
        """A moment at which availability matters: the middle of all availability bounds; without any, after the newest event."""
        catalog = self.content.catalog
        bounds = [times[times > 0] for times in (catalog.available_from, catalog.available_until) if times is not None]
        if bounds and len(all_bounds := np.concatenate(bounds)):
            return int(np.sort(all_bounds)[len(all_bounds) // 2])
        return max(1, int(self.dataset.events[names.TIME].to_numpy().max(initial=0)) + 1)


def answers(requests: Sequence[wire.RecommendRequest], funnel: ReferenceFunnel) -> Tensors:
    """All stage tensors of all cases, named "<case>/<tensor>". Raises ExportError when a model answers with NaN or infinity."""
    tensors: Tensors = {}
    for number, request in enumerate(requests):
        for name, tensor in funnel.run(request).items():
            if tensor.dtype == np.float32 and not np.isfinite(tensor).all():
                raise ExportError(f"golden case {number}: {name} holds NaN or infinity", why="a model is broken", fix="train it again")
            tensors[f"{number}/{name}"] = np.ascontiguousarray(tensor)
    return tensors


def case(tensors: Tensors, number: int) -> Tensors:
    """The tensors of one case, without its prefix."""
    prefix = f"{number}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def item_list(ids: wire.ItemIds) -> list[ItemId]:
    return [*ids.ints, *ids.strings]


def set_items(ids: wire.ItemIds, items: Sequence[ItemId]) -> None:
    ids.Clear()
    ids.SetInParent()
    ids.ints.extend(item for item in items if isinstance(item, int))
    ids.strings.extend(item for item in items if isinstance(item, str))


def _fill(values: object, columns: Sequence[Column], row: dict[str, object]) -> None:
    for column in columns:
        raw = row.get(column.name)
        if raw is not None:
            values[column.name].CopyFrom(to_value(float(raw) if column.op is Op.NUMBER else raw))  # type: ignore[index, arg-type]


def _counts(texts: Sequence[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for text in texts:
        counts[text] = counts.get(text, 0) + 1
    return counts
