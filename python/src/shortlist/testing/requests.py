"""Random requests that a release must answer: any mixture of histories, features, candidates, filters and limits."""

from __future__ import annotations

import numpy as np

from shortlist.export.content import Content
from shortlist.export.golden import set_items
from shortlist.export.queries import ItemId, to_value
from shortlist.features import Raw
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import Column, Op

_TEXTS = ("", "blue camera", "ÅNGSTRÖM", "кошка", "x" * 300, "\u2003", "Oslo", "a-b_c")


def random_request(content: Content, rng: np.random.Generator, time: int) -> wire.RecommendRequest:
    """One valid request; about one in three has candidates, one in four a filter."""
    schema, ids = content.schema, content.catalog.ids
    unknown: list[ItemId] = [-5] if schema.item_id == "int64" else ["no such item"]
    known: list[ItemId] = list(ids)

    def items(count: int) -> list[ItemId]:
        return [unknown[0] if rng.random() < 0.1 else known[int(rng.integers(len(known)))] for _ in range(count)]

    request = wire.RecommendRequest(
        time=time + int(rng.integers(-10, 10)) * 86_400, limit=int(rng.integers(0, content.funnel.max_limit + 1))
    )
    events = int(rng.integers(0, 2 * schema.history_max_events + 1))
    set_items(request.user.history.items, items(events))
    if rng.random() < 0.8:
        request.user.history.actions.extend(schema.actions[int(rng.integers(len(schema.actions)))] for _ in range(events))
    if schema.event_times:
        request.user.history.times.extend(sorted(rng.integers(1, time, events).tolist()))
    for columns, values in ((schema.user, request.user.features), (schema.context, request.context)):
        for column in columns:
            if rng.random() < 0.8:
                values[column.name].CopyFrom(to_value(_raw(column, rng)))
    if rng.random() < 0.3:
        set_items(request.candidates, items(int(rng.integers(0, content.funnel.max_candidates))))
    if rng.random() < 0.25:
        request.filters.columns.append(_filter(content, rng))
    request.filters.keep_seen = bool(rng.random() < 0.3)
    request.filters.keep_unavailable = bool(rng.random() < 0.3)
    return request


def _raw(column: Column, rng: np.random.Generator) -> Raw:
    if rng.random() < 0.1:
        return None
    if column.op is Op.NUMBER:
        low = -100.0 if column.minimum is None else column.minimum
        return float(rng.uniform(low, low + 100.0 if column.maximum is None else column.maximum))
    texts = (*column.vocabulary, *_TEXTS)
    if column.op is Op.VOCABULARY_LIST:
        return [texts[int(place)] for place in rng.integers(len(texts), size=int(rng.integers(0, 6)))]
    return texts[int(rng.integers(len(texts)))]


def _filter(content: Content, rng: np.random.Generator) -> wire.ColumnFilter:
    column = content.schema.item[int(rng.integers(len(content.schema.item)))]
    part = wire.ColumnFilter(column=column.name)
    raw = content.catalog.raw[column.name][int(rng.integers(len(content.catalog)))]
    if column.op is Op.NUMBER:
        bound = float(np.asarray(raw))
        if rng.random() < 0.5:
            part.min = bound
        else:
            part.max = bound
        return part
    value = to_value(list(raw) if isinstance(raw, list) else str(raw))
    (part.any_of if rng.random() < 0.5 else part.none_of).append(value)
    return part
