"""The reference funnel: what a request's answer is, stage by stage. The Go service computes the same (docs/bundle.md).

It favours plainness over speed. All scores are float32, and ties go to the lower row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shortlist.errors import DataError
from shortlist.export.backends import Graphs
from shortlist.export.content import Content
from shortlist.export.queries import ItemId, Query, column_filters, decode
from shortlist.export.tables import Array, Floats, Ints, Neighbours, PopularLists, Tensors
from shortlist.features import encode_value, segment_value, window_start
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.schema import ACTION, LAST_ITEM, TIME, Column

UNKNOWN = -1  # the row of an item that the catalog does not have


@dataclass(frozen=True)
class History:
    """The kept events of a user, oldest first, and the rows of all events before truncation."""

    rows: list[int]
    actions: list[int]
    times: list[int]
    seen: frozenset[int]


def best_first(rows: Ints, scores: Floats) -> Ints:
    """Positions by score descending, then row ascending."""
    return np.lexsort((rows, -scores.astype(np.float64))).astype(np.int64)


class ReferenceFunnel:
    """A release's funnel over any backend. Item vectors and tokens are computed once, as a server does at load."""

    def __init__(self, content: Content, graphs: Graphs) -> None:
        content.check()
        self.content, self.graphs = content, graphs
        self._row_of: dict[ItemId, int] = dict(zip(content.catalog.ids, range(len(content.catalog)), strict=True))
        encoded = graphs.run("item_encoder", {f"item_{name}": values for name, values in content.catalog.inputs.items()})
        self.item_vectors, self.item_tokens = encoded["retrieval_vector"], encoded["ranker_token"]

    def run(self, request: wire.RecommendRequest) -> Tensors:
        """All tensors of docs/bundle.md, "Golden tensors", without the case's prefix. Raises DataError for a request at fault."""
        query = decode(request, self.content.schema)
        history = self.history(query)
        inputs = self.inputs(query, history)
        trace: Tensors = {f"in.{name}": value for name, value in inputs.items()}
        trace |= self.read_sequence(inputs)
        trace["query_vectors"] = self.query_vectors(inputs, trace)
        if query.candidates is None:
            allowed = self.allowed(query, history)
            for source in self.content.funnel.sources:
                rows, scores = self.retrieve(source, query, history, trace["query_vectors"], allowed)
                trace[f"source.{source.name}.rows"], trace[f"source.{source.name}.scores"] = rows, scores
            merged = merge([trace[f"source.{source.name}.rows"] for source in self.content.funnel.sources])
        else:
            merged = self.candidates(query)
        trace["merged_rows"] = merged
        if len(merged) == 0:  # nothing to rank: the later stages do not run
            return trace | {"final_rows": merged, "final_scores": np.zeros(0, dtype=np.float32)}
        trace["cross"] = self.cross(query, history, merged)
        trace["prerank_score"] = self.prerank(trace["query_vectors"], merged, trace["cross"])
        order = best_first(merged, trace["prerank_score"])
        order = order if query.candidates is not None else order[: self.content.funnel.prerank_keep]
        trace["kept_rows"] = merged[order]
        trace["keys"], trace["values"] = self.encode_history(inputs)
        trace["logits"] = self.rank(inputs, trace, order)
        trace["score"] = self.value(trace["logits"], trace["kept_rows"])
        final = best_first(trace["kept_rows"], trace["score"])[: self.limit(query)]
        return trace | {"final_rows": trace["kept_rows"][final], "final_scores": trace["score"][final]}

    def query_vectors_of(self, request: wire.RecommendRequest) -> Floats:
        """[1,Q,K] of one request. Raises DataError for a request at fault."""
        query = decode(request, self.content.schema)
        inputs = self.inputs(query, self.history(query))
        return np.asarray(self.query_vectors(inputs, self.read_sequence(inputs)), dtype=np.float32)

    def history(self, query: Query) -> History:
        schema = self.content.schema
        rows = [self._row_of.get(item, UNKNOWN) for item in query.history]
        start = window_start(len(rows), schema.history_max_events, schema.history_step)
        return History(rows[start:], query.actions[start:], query.times[start:], frozenset(rows) - {UNKNOWN})

    def inputs(self, query: Query, history: History) -> Tensors:
        """Graph inputs of one request: history columns [1,N], `history_length` [1], user and context columns [1] or [1,W]."""
        schema, events = self.content.schema, max(1, len(history.rows))  # no history is one padding event of length 0
        inputs: Tensors = {}
        for column in schema.history:
            values = self.content.catalog.inputs[column.name]
            gathered = np.zeros((1, events, *values.shape[1:]), dtype=values.dtype)
            for event, row in enumerate(history.rows):
                if row != UNKNOWN:
                    gathered[0, event] = values[row]
            inputs[f"history_{column.name}"] = gathered
        inputs[f"history_{ACTION}"] = np.array([history.actions or [0]], dtype=np.int64)
        if schema.event_times:
            inputs[f"history_{TIME}"] = np.array([history.times or [0]], dtype=np.int64)
        inputs["history_length"] = np.array([len(history.rows)], dtype=np.int64)
        for role, columns, raw in (("user", schema.user, query.user), ("context", schema.context, query.context)):
            for column in columns:
                inputs[f"{role}_{column.name}"] = encode_value(column, raw.get(column.name))[np.newaxis]
        return inputs

    def allowed(self, query: Query, history: History) -> Array:
        """[I] bool: available at the time of the request, not seen, and passing the column filters."""
        catalog = self.content.catalog
        allowed = np.ones(len(catalog), dtype=np.bool_)
        if not query.keep_unavailable:
            if (begins := catalog.available_from) is not None:
                allowed &= (begins == 0) | (begins <= query.time)
            if (ends := catalog.available_until) is not None:
                allowed &= (ends == 0) | (query.time < ends)
        if not query.keep_seen:
            allowed[sorted(history.seen)] = False
        if query.filters:
            keep = column_filters(query.filters, catalog, self.content.schema)
            allowed &= np.array([keep(row) for row in range(len(catalog))])
        return allowed

    def retrieve(self, source: pb.Source, query: Query, history: History, query_vectors: Array, allowed: Array) -> tuple[Ints, Floats]:
        """The `limit` best allowed rows of one source, best first."""
        table = self.content.sources.get(source.name)
        if isinstance(table, Neighbours):
            rows, scores = cooccurrence_scores(table, history.rows, source)
            order = best_first(rows, scores)
            rows, scores = rows[order], scores[order]
        elif isinstance(table, PopularLists):
            rows, scores = table.of(self.segment(source.segment, query, history) if source.segment else None)
        else:
            k = np.array([min(source.limit, len(self.content.catalog))], dtype=np.int64)
            found = self.graphs.run(
                "index",
                {"query_vectors": query_vectors, "item_vectors": self.item_vectors, "allowed": allowed[np.newaxis], "k": k},
            )
            rows, scores = found["rows"][0], found["scores"][0]
        kept = allowed[rows]
        return rows[kept][: source.limit], scores[kept][: source.limit].astype(np.float32)

    def candidates(self, query: Query) -> Ints:
        """Rows of the given candidates in their order, without unknown items and duplicates; of the filters only columns count."""
        given = query.candidates or []
        if len(given) > self.content.funnel.max_candidates:
            raise DataError(f"candidates holds {len(given)} ids", why=f"max_candidates is {self.content.funnel.max_candidates}")
        keep = column_filters(query.filters, self.content.catalog, self.content.schema)
        rows = dict.fromkeys(self._row_of[item] for item in given if item in self._row_of)
        return np.array([row for row in rows if keep(row)], dtype=np.int64)

    def cross(self, query: Query, history: History, rows: Ints) -> Floats:
        """Counters [M,C] of candidates."""
        features = [self.content.counters[c.name].rates(self.segment(c.segment, query, history), rows) for c in self.content.schema.cross]
        return np.stack(features, axis=1) if features else np.zeros((len(rows), 0), dtype=np.float32)

    def segment(self, segment: str, query: Query, history: History) -> str | int | None:
        """The value that picks a counter's segment or a list of popular items; None where it is missing."""
        if segment == LAST_ITEM:
            return history.rows[-1] if history.rows and history.rows[-1] != UNKNOWN else None
        role, _, name = segment.partition(".")
        columns, raw = (self.content.schema.user, query.user) if role == "user" else (self.content.schema.context, query.context)
        column: Column = next(column for column in columns if column.name == name)
        return segment_value(column, raw.get(name))

    def prerank(self, query_vectors: Array, rows: Ints, cross: Floats) -> Floats:
        vectors = self.item_vectors[rows][np.newaxis]
        inputs = {"query_vectors": query_vectors, "retrieval_vector": vectors, "cross": cross[np.newaxis]}
        return np.asarray(self.graphs.run("preranker", inputs)["score"][0], dtype=np.float32)

    def read_sequence(self, inputs: Tensors) -> Tensors:
        """What the retriever keeps of a history, named as in golden tensors: the ranker's keys and values go without a prefix."""
        encoded = self.graphs.run("sequence_encoder", inputs | self.graphs.no_past("sequence_encoder", 1))
        return {name if name in ("state", "recent") else f"sequence_{name}": value for name, value in encoded.items()}

    def query_vectors(self, inputs: Tensors, trace: Tensors) -> Array:
        read = {name: trace[name] for name in ("state", "recent")}
        return self.graphs.run("query_encoder", inputs | read)["query_vectors"]

    def encode_history(self, inputs: Tensors) -> tuple[Array, Array]:
        encoded = self.graphs.run("history_encoder", inputs | self.graphs.no_past("history_encoder", 1))
        return encoded["keys"], encoded["values"]

    def rank(self, inputs: Tensors, trace: Tensors, order: Ints) -> Floats:
        """Logits [kept,T], in chunks of candidates. `order` holds positions in merged_rows."""
        chunks = []
        for begin in range(0, len(order), self.content.funnel.chunk):
            chunk = order[begin : begin + self.content.funnel.chunk]
            candidates = {
                "ranker_token": self.item_tokens[trace["merged_rows"][chunk]][np.newaxis],
                "cross": trace["cross"][chunk][np.newaxis],
                "prerank_score": trace["prerank_score"][chunk][np.newaxis],
            }
            cache = {"keys": trace["keys"], "values": trace["values"]}
            chunks.append(self.graphs.run("ranker", inputs | cache | candidates)["logits"][0])
        return np.asarray(np.concatenate(chunks), dtype=np.float32)

    def value(self, logits: Floats, rows: Ints) -> Floats:
        """The value formula, in float64: sum of weight * p(task)^exponent * item[column]. Scores [kept]."""
        schema, total = self.content.schema, np.zeros(len(rows), dtype=np.float64)
        with np.errstate(over="ignore"):
            probability = 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))
        for term in self.content.formula.terms:
            values = term.weight * probability[:, schema.tasks.index(term.task)] ** term.exponent
            if term.item_column:
                values = values * self.content.catalog.inputs[term.item_column][rows].astype(np.float64)
            total += values
        score: Floats = total.astype(np.float32)
        return score

    def limit(self, query: Query) -> int:
        if query.limit > self.content.funnel.max_limit:
            raise DataError(f"limit is {query.limit}", why=f"max_limit is {self.content.funnel.max_limit}", fix="ask for less")
        return query.limit or self.content.funnel.default_limit


def cooccurrence_scores(table: Neighbours, history: list[int], source: pb.Source) -> tuple[Ints, Floats]:
    """Score of p: sum of decay^age * weight(e, p) over the newest events e of the kept history, newest first with age 0, 1, ...

    Summed in float64 in that order, stored as float32. Events of unknown items take an age.
    """
    scores: dict[int, float] = {}
    for age, row in enumerate(reversed(history[-source.history_events :] if source.history_events else [])):
        if row != UNKNOWN:
            for neighbour, weight in zip(*(part.tolist() for part in table.table.of(row)), strict=True):
                scores[neighbour] = scores.get(neighbour, 0.0) + source.decay**age * weight
    return np.array(list(scores), dtype=np.int64), np.array(list(scores.values()), dtype=np.float32)


def merge(lists: list[Ints]) -> Ints:
    """Rows of all lists in order, first occurrences only."""
    return np.array(list(dict.fromkeys(row for rows in lists for row in rows.tolist())), dtype=np.int64)
