"""The independence laws as checks of any backend, on random inputs.

A candidate's score depends on no other candidate (order, chunks), on no padding and on no batch mate; an encoded history can be extended
by new events alone. Equal means within the tolerance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.export.backends import Graphs
from shortlist.export.compare import Tolerance, tensor_violation
from shortlist.export.graphs import NOT_ALLOWED
from shortlist.export.tables import Array, Tensors
from shortlist.schema import ACTION, TIME, Column, Op, Schema

BATCH, EVENTS, CANDIDATES = 3, 7, 9
CACHE = ("keys", "values")  # what an encoding holds of each event


@dataclass(frozen=True)
class Broken:
    """A law that does not hold."""

    law: str
    graph: str
    tensor: str
    message: str


def check_laws(graphs: Graphs, schema: Schema, *, seed: int = 0, tolerance: Tolerance | None = None) -> list[Broken]:
    """All laws on all graphs; empty when they hold."""
    laws = Laws(graphs, schema, np.random.default_rng(seed))
    return [
        Broken(law, graph, name, message)
        for law, graph, pairs in laws.all()
        for name, got, want in pairs
        if (message := tensor_violation(got, want, tolerance or Tolerance())) is not None
    ]


Pairs = Iterator[tuple[str, Array, Array]]  # tensor, what a variation gave, what it must equal


class Laws:
    """Random inputs, and each law as pairs of tensors that must be equal."""

    def __init__(self, graphs: Graphs, schema: Schema, rng: np.random.Generator) -> None:
        self.graphs, self.schema, self.rng = graphs, schema, rng
        items = random_columns("item", schema.item, (CANDIDATES,), rng)
        lengths = np.array([EVENTS, 1, 0], dtype=np.int64)
        self.history = random_history(schema, BATCH, EVENTS, lengths, rng)
        self.request = random_columns("user", schema.user, (BATCH,), rng) | random_columns("context", schema.context, (BATCH,), rng)
        encoded = graphs.run("item_encoder", items)
        self.items = items
        read = graphs.run("sequence_encoder", self.history | self.past("sequence_encoder"))
        self.query = {"state": read["state"], "recent": read["recent"], "history_length": lengths, **self.request}
        query_vectors = graphs.run("query_encoder", self.query)["query_vectors"]
        cross = rng.random((BATCH, CANDIDATES, len(schema.cross)), dtype=np.float32)
        self.preranker = {"query_vectors": query_vectors, "retrieval_vector": repeat(encoded["retrieval_vector"]), "cross": cross}
        cache = graphs.run("history_encoder", self.history | self.past("history_encoder"))
        self.ranker = {
            **{name: cache[name] for name in ("keys", "values")},
            "history_length": lengths,
            **self.request,
            "ranker_token": repeat(encoded["ranker_token"]),
            "cross": cross,
            "prerank_score": graphs.run("preranker", self.preranker)["score"],
        }

    def all(self) -> Iterator[tuple[str, str, Pairs]]:
        for graph, inputs, per_candidate in (
            ("preranker", self.preranker, ("retrieval_vector", "cross")),
            ("ranker", self.ranker, ("ranker_token", "cross", "prerank_score")),
        ):
            yield "candidate order", graph, self.candidate_order(graph, inputs, per_candidate)
            yield "chunking", graph, self.chunking(graph, inputs, per_candidate)
            yield "batch mates", graph, self.batch_mates(graph, inputs)
        yield "chunking", "item_encoder", self.item_chunking()
        yield "batch mates", "query_encoder", self.batch_mates("query_encoder", self.query)
        yield "padding", "query_encoder", self.query_padding()
        for graph in ("sequence_encoder", "history_encoder"):
            yield "batch mates", graph, self.batch_mates(graph, self.history | self.past(graph))
            yield "padding", graph, self.history_padding(graph)
            yield "append", graph, self.append(graph)
        yield "padding", "ranker", self.ranker_padding()
        yield "exact search", "index", self.index()

    def candidate_order(self, graph: str, inputs: Tensors, per_candidate: Sequence[str]) -> Pairs:
        order = self.rng.permutation(CANDIDATES)
        whole = self.graphs.run(graph, inputs)
        changed = self.graphs.run(graph, select(inputs, per_candidate, order))
        return ((name, changed[name], whole[name][:, order]) for name in whole)

    def chunking(self, graph: str, inputs: Tensors, per_candidate: Sequence[str]) -> Pairs:
        """One candidate at a time, and in chunks of 4, against all at once."""
        whole = self.graphs.run(graph, inputs)
        for size in (1, 4):
            places = [np.arange(begin, min(begin + size, CANDIDATES)) for begin in range(0, CANDIDATES, size)]
            parts = [self.graphs.run(graph, select(inputs, per_candidate, place)) for place in places]
            for name in whole:
                yield name, np.concatenate([part[name] for part in parts], axis=1), whole[name]

    def item_chunking(self) -> Pairs:
        whole = self.graphs.run("item_encoder", self.items)
        rows = [
            self.graphs.run("item_encoder", {name: value[row : row + 1] for name, value in self.items.items()}) for row in range(CANDIDATES)
        ]
        return ((name, np.concatenate([row[name] for row in rows]), whole[name]) for name in whole)

    def batch_mates(self, graph: str, inputs: Tensors) -> Pairs:
        """Each request alone against all of them in one batch."""
        whole = self.graphs.run(graph, inputs)
        for request in range(BATCH):
            alone = self.graphs.run(graph, {name: value[request : request + 1] for name, value in inputs.items()})
            for name in whole:
                yield name, alone[name], whole[name][request : request + 1]

    def query_padding(self) -> Pairs:
        """Any vectors in the place of events that a history does not have."""
        whole = self.graphs.run("query_encoder", self.query)
        changed = self.query | {"recent": self.query["recent"].copy()}
        for request, length in enumerate(self.query["history_length"].tolist()):
            absent = changed["recent"][request, length:]
            absent[:] = self.rng.normal(size=absent.shape)
        yield "query_vectors", self.graphs.run("query_encoder", changed)["query_vectors"], whole["query_vectors"]

    def history_padding(self, graph: str) -> Pairs:
        """Other values in the padding, and more of it: the same keys and values of valid events, and the same rest."""
        whole = self.graphs.run(graph, self.history | self.past(graph))
        for padded in self.padded_histories():
            got = self.graphs.run(graph, padded | self.past(graph))
            for request, length in enumerate(self.history["history_length"].tolist()):
                for name in whole:
                    valid = (request, slice(None), slice(None), slice(length)) if name in CACHE else request
                    yield name, got[name][valid], whole[name][valid]

    def ranker_padding(self) -> Pairs:
        """Any keys and values after the last valid event."""
        whole = self.graphs.run("ranker", self.ranker)
        for extra in (0, 3):
            changed = dict(self.ranker)
            for name in ("keys", "values"):
                cache = np.concatenate(
                    [changed[name], np.zeros((*changed[name].shape[:3], extra, changed[name].shape[4]), np.float32)], axis=3
                )
                for request, length in enumerate(changed["history_length"].tolist()):
                    cache[request, :, :, length:] = self.rng.normal(size=cache[request, :, :, length:].shape)
                changed[name] = cache
            yield "logits", self.graphs.run("ranker", changed)["logits"], whole["logits"]

    def append(self, graph: str) -> Pairs:
        """Encoding a history in two pieces, for every cut, and event by event, against encoding it whole."""
        if self.past(graph)["past_keys"].shape[1] == 0:  # an encoder that keeps nothing is never extended
            return
        full = np.full(BATCH, EVENTS, dtype=np.int64)
        history = random_history(self.schema, BATCH, EVENTS, full, self.rng)
        whole = self.graphs.run(graph, history | self.past(graph))
        for cuts in (*([cut] for cut in range(1, EVENTS)), range(1, EVENTS)):
            past, begin = self.past(graph), 0
            for end in (*cuts, EVENTS):
                piece = self.graphs.run(graph, events(history, begin, end) | past)
                for name in CACHE:
                    yield name, piece[name][:, :, :, :begin], past[f"past_{name}"]
                past, begin = {f"past_{name}": value for name, value in piece.items()}, end
            for name in whole:
                yield name, piece[name], whole[name]

    def index(self) -> Pairs:
        """The mask, the order and ties, against a stable sort."""
        queries = self.preranker["query_vectors"]
        vectors = self.rng.normal(size=(40, queries.shape[2])).astype(np.float32)
        vectors[20:] = vectors[:20]  # every score twice
        allowed = self.rng.random((BATCH, 40)) < 0.8
        for k in (1, 10, 40):
            inputs = {"query_vectors": queries, "item_vectors": vectors, "allowed": allowed, "k": np.array([k])}
            got = self.graphs.run("index", inputs)
            scores = np.where(allowed, np.tile(queries[:, 0] @ vectors[:20].T, (1, 2)), np.float32(NOT_ALLOWED)).astype(np.float32)
            best = np.argsort(-scores, axis=1, kind="stable")[:, :k]
            yield "scores", got["scores"], np.take_along_axis(scores, best, axis=1)
            yield "rows", ties_by_row(got), got["rows"]

    def padded_histories(self) -> Iterator[Tensors]:
        for extra in (0, 4):
            padded = dict(self.history)
            for name, noise in random_events(self.schema, (BATCH, EVENTS + extra), self.rng).items():
                for request, length in enumerate(self.history["history_length"].tolist()):
                    noise[request, :length] = self.history[name][request, :length]
                padded[name] = noise
            yield padded

    def past(self, graph: str) -> Tensors:
        return self.graphs.no_past(graph, BATCH)


def repeat(items: Array) -> Array:
    """[M,...] -> [B,M,...]."""
    return np.ascontiguousarray(np.broadcast_to(items, (BATCH, *items.shape)))


def select(inputs: Tensors, per_candidate: Sequence[str], places: Array) -> Tensors:
    return {name: np.ascontiguousarray(value[:, places]) if name in per_candidate else value for name, value in inputs.items()}


def events(history: Tensors, begin: int, end: int) -> Tensors:
    """Events begin..end of full histories."""
    part = {name: np.ascontiguousarray(value[:, begin:end]) for name, value in history.items() if name != "history_length"}
    return part | {"history_length": np.full(BATCH, end - begin, dtype=np.int64)}


def ties_by_row(found: Tensors) -> Array:
    """The rows found, sorted by score descending and row ascending: the order that they must already have."""
    order = [np.lexsort((rows, -scores)) for rows, scores in zip(found["rows"], found["scores"], strict=True)]
    return np.take_along_axis(found["rows"], np.stack(order), axis=1)


def random_history(schema: Schema, batch: int, count: int, lengths: Array, rng: np.random.Generator) -> Tensors:
    """Random events; 0 in every column after a request's length."""
    history = random_events(schema, (batch, count), rng)
    for values in history.values():
        for request, length in enumerate(lengths.tolist()):
            values[request, length:] = 0
    return history | {"history_length": lengths}


def random_events(schema: Schema, shape: tuple[int, int], rng: np.random.Generator) -> Tensors:
    """History columns [B,N] of events a few seconds to some weeks apart."""
    columns = (*schema.history, Column(name=ACTION, op=Op.VOCABULARY, vocabulary=schema.actions))
    events = random_columns("history", columns, shape, rng)
    if schema.event_times:
        events[f"history_{TIME}"] = 1_700_000_000 + np.cumsum(np.exp(rng.uniform(0, 14, shape)).astype(np.int64), axis=1)
    return events


def random_columns(role: str, columns: Sequence[Column], shape: tuple[int, ...], rng: np.random.Generator) -> Tensors:
    """Values that a request could have: any id (0 is unknown), numbers within their bounds, lists with their padding at the end."""
    return {f"{role}_{c.name}": _numbers(c, shape, rng) if c.op is Op.NUMBER else _ids(c, shape, rng) for c in columns}


def _numbers(column: Column, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    low = -10.0 if column.minimum is None else column.minimum
    high = low + 100.0 if column.maximum is None else column.maximum
    return rng.uniform(low, high, shape).astype(np.float32)


def _ids(column: Column, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    ids = rng.integers(0, column.cardinality, (*shape, column.width) if column.width else shape)
    if column.width:
        ids[np.arange(column.width) >= rng.integers(0, column.width + 1, (*shape, 1))] = 0
    return ids
