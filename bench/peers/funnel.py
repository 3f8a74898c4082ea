"""The funnel of docs/bundle.md as a careful Python team would serve it: numpy for features and tables, a graph backend for the rest.

Everything that depends on the release alone is laid out at load; a request touches arrays, never a Python loop over candidates.
Answers equal those of `shortlist.export.reference`, which is plain instead of fast. It caches nothing between requests.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from shortlist.export.backends import Graphs
from shortlist.export.content import Content
from shortlist.export.queries import ItemId, Query, column_filters, decode
from shortlist.export.reference import UNKNOWN, best_first
from shortlist.export.tables import Array, Counter, Floats, Ints, Neighbours, PopularLists, Ragged, Tensors
from shortlist.features import encode_value, segment_value, window_start
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import ACTION, LAST_ITEM, TIME

Source = Callable[[Query, Ints, Array, Array], tuple[Ints, Floats]]  # query, kept rows, query vectors, allowed -> rows, scores


class PeerFunnel:
    """Answers requests from one release. Safe for several threads when `graphs` is."""

    def __init__(self, release_id: str, content: Content, graphs: Graphs) -> None:
        self.release_id, self.content, self.graphs = release_id, content, graphs
        schema, catalog = content.schema, content.catalog
        self._ids = np.array(catalog.ids) if schema.item_id == "int64" else np.array(catalog.ids, dtype=object)
        self._row_of: dict[ItemId, int] = dict(zip(catalog.ids, range(len(catalog)), strict=True))
        encoded = graphs.run("item_encoder", {f"item_{name}": values for name, values in catalog.inputs.items()})
        self._vectors, self._tokens = encoded["retrieval_vector"], encoded["ranker_token"]
        # Unknown events gather row -1, which is the row of zeros behind the last item.
        self._events = {
            f"history_{column.name}": np.concatenate((values, np.zeros_like(values[:1])))
            for column in schema.history
            for values in (catalog.inputs[column.name],)
        }
        self._columns = {column.name: column for column in (*schema.user, *schema.context)}
        self._counters = [(cross.segment, Rates(content.counters[cross.name])) for cross in schema.cross]
        self._sources = [self._source(source) for source in content.funnel.sources]
        self._no_past = {name: graphs.no_past(name, 1) for name in ("sequence_encoder", "history_encoder")}
        numbers = catalog.inputs
        self._terms = [
            (term.weight, schema.tasks.index(term.task), term.exponent, numbers[term.item_column] if term.item_column else None)
            for term in content.formula.terms
        ]

    def answer(self, request: wire.RecommendRequest) -> wire.RecommendResponse:
        """Raises DataError for a request at fault."""
        clock = Clock(wire.RecommendResponse(request_id=request.request_id, release_id=self.release_id))
        if request.time == 0:
            request.time = int(time.time())
        query = decode(request, self.content.schema)
        rows = np.array([self._row_of.get(item, UNKNOWN) for item in query.history], dtype=np.int64)
        start = window_start(len(rows), self.content.schema.history_max_events, self.content.schema.history_step)
        kept = rows[start:]
        inputs = self._inputs(query, kept, start)
        read = self.graphs.run("sequence_encoder", inputs | self._no_past["sequence_encoder"])
        vectors = self.graphs.run("query_encoder", inputs | read)["query_vectors"]
        merged = self._retrieve(query, rows, kept, vectors) if query.candidates is None else self._given(query)
        clock.stage("retrieval", len(merged))
        if len(merged):
            cross = self._cross(query, kept, merged)
            prerank, order = self._prerank(query, vectors, merged, cross)
            clock.stage("preranking", len(order))
            logits = self._rank(inputs, merged[order], cross[order], prerank[order])
            clock.stage("ranking", len(order))
            self._blend(query, merged[order], logits, clock.response)
            clock.stage("blending", len(clock.response.scores))
        return clock.stop()

    def _prerank(self, query: Query, vectors: Array, merged: Ints, cross: Floats) -> tuple[Floats, Ints]:
        """Scores of `merged`, and the positions that are kept, best first."""
        inputs = {"query_vectors": vectors, "retrieval_vector": self._vectors[merged][None], "cross": cross[None]}
        score = self.graphs.run("preranker", inputs)["score"][0]
        order = best_first(merged, score)
        return score, order if query.candidates is not None else order[: self.content.funnel.prerank_keep]

    def _rank(self, inputs: Tensors, rows: Ints, cross: Floats, prerank: Floats) -> Floats:
        """Logits [M,T]."""
        shared = inputs | self.graphs.run("history_encoder", inputs | self._no_past["history_encoder"])
        size, parts = self.content.funnel.chunk, []
        for begin in range(0, len(rows), size):
            chunk = slice(begin, begin + size)
            token = self._tokens[rows[chunk]][None]
            parts.append(
                self.graphs.run(
                    "ranker", shared | {"ranker_token": token, "cross": cross[chunk][None], "prerank_score": prerank[chunk][None]}
                )["logits"][0]
            )
        return np.concatenate(parts)

    def _blend(self, query: Query, rows: Ints, logits: Floats, response: wire.RecommendResponse) -> None:
        probability = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        total = np.zeros(len(rows))
        for weight, task, exponent, column in self._terms:
            values = weight * probability[:, task] ** exponent
            total += values if column is None else values * column[rows]
        score = total.astype(np.float32)
        final = best_first(rows, score)[: query.limit or self.content.funnel.default_limit]
        items = self._ids[rows[final]].tolist()
        (response.items.ints if self.content.schema.item_id == "int64" else response.items.strings).extend(items)
        response.scores.extend(score[final].tolist())
        for number, task in enumerate(self.content.schema.tasks):
            response.tasks.add(task=task, predictions=probability[final, number].tolist())

    def _inputs(self, query: Query, kept: Ints, start: int) -> Tensors:
        events = kept if len(kept) else np.array([UNKNOWN])  # no history is one padding event of length 0
        inputs: Tensors = {name: table[events][None] for name, table in self._events.items()}
        inputs[f"history_{ACTION}"] = np.array([query.actions[start:] or [0]], dtype=np.int64)
        if self.content.schema.event_times:
            inputs[f"history_{TIME}"] = np.array([query.times[start:] or [0]], dtype=np.int64)
        inputs["history_length"] = np.array([len(kept)], dtype=np.int64)
        for role, columns, raw in (("user", self.content.schema.user, query.user), ("context", self.content.schema.context, query.context)):
            for column in columns:
                inputs[f"{role}_{column.name}"] = encode_value(column, raw.get(column.name))[None]
        return inputs

    def _retrieve(self, query: Query, rows: Ints, kept: Ints, vectors: Array) -> Ints:
        catalog = self.content.catalog
        allowed = np.ones(len(catalog), dtype=np.bool_)
        if not query.keep_unavailable:
            if (begins := catalog.available_from) is not None:
                allowed &= (begins == 0) | (begins <= query.time)
            if (ends := catalog.available_until) is not None:
                allowed &= (ends == 0) | (query.time < ends)
        if not query.keep_seen:
            allowed[rows[rows != UNKNOWN]] = False
        if query.filters:
            keep = column_filters(query.filters, catalog, self.content.schema)
            allowed &= np.fromiter(map(keep, range(len(catalog))), np.bool_, len(catalog))
        lists = []
        for source, limit in self._sources:
            found, _ = source(query, kept, vectors, allowed)
            lists.append(found[allowed[found]][:limit])
        return first_occurrences(np.concatenate(lists))

    def _source(self, source: pb.Source) -> tuple[Source, int]:
        """What lists a source's rows best first, allowed or not, and how many allowed ones are kept of them."""
        table = self.content.sources.get(source.name)
        if isinstance(table, Neighbours):
            return lambda query, kept, vectors, allowed: cooccurring(table.table, kept, source.history_events, source.decay), source.limit
        if isinstance(table, PopularLists):
            places = {key: place for place, key in enumerate(table.keys or ())}

            def popular(query: Query, kept: Ints, vectors: Array, allowed: Array) -> tuple[Ints, Floats]:
                place = places.get(str(self._segment(source.segment, query, kept))) if source.segment else None
                return (table.rows, table.scores) if place is None or table.table is None else table.table.of(place)

            return popular, source.limit
        k = np.array([min(source.limit, len(self.content.catalog))], dtype=np.int64)

        def nearest(query: Query, kept: Ints, vectors: Array, allowed: Array) -> tuple[Ints, Floats]:
            found = self.graphs.run("index", {"query_vectors": vectors, "item_vectors": self._vectors, "allowed": allowed[None], "k": k})
            return found["rows"][0], found["scores"][0]

        return nearest, source.limit

    def _given(self, query: Query) -> Ints:
        rows = np.array([self._row_of.get(item, UNKNOWN) for item in query.candidates or ()], dtype=np.int64)
        rows = first_occurrences(rows[rows != UNKNOWN])
        if query.filters:
            keep = column_filters(query.filters, self.content.catalog, self.content.schema)
            rows = rows[np.fromiter(map(keep, rows.tolist()), np.bool_, len(rows))]
        return rows

    def _cross(self, query: Query, kept: Ints, rows: Ints) -> Floats:
        """Counters [M,C]."""
        cross = np.zeros((len(rows), len(self._counters)), dtype=np.float32)
        for column, (segment, rates) in enumerate(self._counters):
            rates.fill(cross[:, column], self._segment(segment, query, kept), rows)
        return cross

    def _segment(self, segment: str, query: Query, kept: Ints) -> str | int | None:
        if segment == LAST_ITEM:
            return int(kept[-1]) if len(kept) and kept[-1] != UNKNOWN else None
        role, _, name = segment.partition(".")
        return segment_value(self._columns[name], (query.user if role == "user" else query.context).get(name))


class Clock:
    """Writes into an answer what ran, and how long it took."""

    def __init__(self, response: wire.RecommendResponse) -> None:
        self.response = response
        self._begin = self._last = time.perf_counter()
        self._items = 0

    def stage(self, name: str, items: int) -> None:
        now = time.perf_counter()
        self.response.stages.add(stage=name, items_in=self._items, items_out=items, micros=int((now - self._last) * 1e6))
        self.response.coverage.stages_run.append(name)
        self._last, self._items = now, items

    def stop(self) -> wire.RecommendResponse:
        self.response.coverage.rung = wire.RUNG_FULL
        self.response.micros = int((time.perf_counter() - self._begin) * 1e6)
        return self.response


class Rates:
    """A counter with its segments in a dictionary; rows of a segment ascend, so that candidates are found by bisection."""

    def __init__(self, counter: Counter) -> None:
        self._table = counter.table
        self._places = None if counter.keys is None else {key: place for place, key in enumerate(counter.keys)}

    def fill(self, out: Floats, segment: str | int | None, rows: Ints) -> None:
        """Writes the rates of `rows` into `out` [M], which holds zeros."""
        place = segment if self._places is None else self._places.get(str(segment)) if segment is not None else None
        if not isinstance(place, int):
            return
        known, rates = self._table.of(place)
        if len(known) == 0:
            return
        at = np.minimum(np.searchsorted(known, rows), len(known) - 1)
        found = known[at] == rows
        out[found] = rates[at[found]]


def cooccurring(table: Ragged, kept: Ints, events: int, decay: float) -> tuple[Ints, Floats]:
    """Neighbours of the newest `events` kept events, best first; sums in float64, newest event first, as the contract has it."""
    newest = kept[::-1][:events]
    parts = [(age, *table.of(int(row))) for age, row in enumerate(newest) if row != UNKNOWN]
    if not parts:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
    rows = np.concatenate([part for _, part, _ in parts])
    weights = np.concatenate([decay**age * values.astype(np.float64) for age, _, values in parts])
    distinct, place = np.unique(rows, return_inverse=True)
    scores = np.bincount(place, weights).astype(np.float32)
    order = best_first(distinct, scores)
    return distinct[order], scores[order]


def first_occurrences(rows: Ints) -> Ints:
    """The rows without repeats, in the order of their first occurrence."""
    _, first = np.unique(rows, return_index=True)
    return rows[np.sort(first)]
