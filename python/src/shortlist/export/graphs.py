"""The seven graphs of a release as PyTorch modules over a trained funnel, with the input and output names of docs/bundle.md.

Each module takes its inputs in the order of `signature(...)`. They are at once the reference that golden tensors come from and what
`onnx_export.py` turns into ONNX.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shortlist.models.extension import Extension
from shortlist.models.preranker import Preranker, query_heads
from shortlist.models.ranker import AnyRanker
from shortlist.models.session import newest_events
from shortlist.models.two_tower import TwoTower, state_at
from shortlist.schema import ACTION, TIME, Column, Op, Schema

# Score of a row that is not allowed: below every real score, finite so that it sorts everywhere.
NOT_ALLOWED = -3.0e38


@dataclass(frozen=True)
class FunnelModels:
    """The three trained models of a release, in eval mode."""

    schema: Schema
    two_tower: TwoTower
    preranker: Preranker
    ranker: AnyRanker

    @property
    def heads(self) -> int:
        """Q: the retrieval head and one per task."""
        return 1 + len(self.schema.tasks)

    def eval(self) -> FunnelModels:
        for model in (self.two_tower, self.preranker, self.ranker):
            model.eval().to("cpu", torch.float32)
        return self


@dataclass(frozen=True)
class Spec:
    """Name, type and shape of one input or output; a letter of the shape legend is a variable size."""

    name: str
    dtype: torch.dtype
    shape: tuple[str | int, ...]


@dataclass(frozen=True)
class Signature:
    inputs: tuple[Spec, ...]
    outputs: tuple[Spec, ...]


def column_specs(role: str, columns: Sequence[Column], leading: tuple[str, ...]) -> list[Spec]:
    return [
        Spec(
            f"{role}_{column.name}",
            torch.float32 if column.op is Op.NUMBER else torch.int64,
            (*leading, column.width) if column.width else leading,
        )
        for column in columns
    ]


def history_specs(schema: Schema) -> list[Spec]:
    every_event = [Spec(f"history_{name}", torch.int64, ("B", "N")) for name in ((ACTION, TIME) if schema.event_times else (ACTION,))]
    return [*column_specs("history", schema.history, ("B", "N")), *every_event, Spec("history_length", torch.int64, ("B",))]


def request_specs(schema: Schema) -> list[Spec]:
    return column_specs("user", schema.user, ("B",)) + column_specs("context", schema.context, ("B",))


def signatures(models: FunnelModels) -> dict[str, Signature]:
    """Inputs and outputs of every graph, in the order of the contract."""
    schema, ranker_width = models.schema, models.ranker.width
    layers, heads, head_width = models.ranker.fusion.cache_shape
    width, queries, crosses, tasks = models.two_tower.config.retrieval_width, models.heads, len(schema.cross), len(schema.tasks)
    f32, i64 = torch.float32, torch.int64
    read_layers, read_heads, read_head_width = models.two_tower.config.cache_shape

    def cache(name: str, events: str) -> Spec:
        return Spec(name, f32, ("B", layers, heads, events, head_width))

    def read(name: str, events: str) -> Spec:
        return Spec(name, f32, ("B", read_layers, read_heads, events, read_head_width))

    def recent(name: str) -> Spec:
        return Spec(name, f32, ("B", models.preranker.recent_events, models.two_tower.config.width))

    state = Spec("state", f32, ("B", models.two_tower.config.width))
    vectors = Spec("query_vectors", f32, ("B", queries, width))
    cross = Spec("cross", f32, ("B", "M", crosses))
    return {
        "item_encoder": Signature(
            tuple(column_specs("item", schema.item, ("M",))),
            (Spec("retrieval_vector", f32, ("M", width)), Spec("ranker_token", f32, ("M", ranker_width))),
        ),
        "sequence_encoder": Signature(
            (*history_specs(schema), read("past_keys", "P"), read("past_values", "P"), recent("past_recent")),
            (state, recent("recent"), read("keys", "P+N"), read("values", "P+N")),
        ),
        "query_encoder": Signature(
            (state, recent("recent"), Spec("history_length", i64, ("B",)), *request_specs(schema)),
            (vectors,),
        ),
        "index": Signature(
            (
                vectors,
                Spec("item_vectors", f32, ("I", width)),
                Spec("allowed", torch.bool, ("B", "I")),
                Spec("k", i64, (1,)),
            ),
            (Spec("rows", i64, ("B", "k")), Spec("scores", f32, ("B", "k"))),
        ),
        "preranker": Signature(
            (vectors, Spec("retrieval_vector", f32, ("B", "M", width)), cross),
            (Spec("score", f32, ("B", "M")),),
        ),
        "history_encoder": Signature(
            (*history_specs(schema), cache("past_keys", "P"), cache("past_values", "P")),
            (cache("keys", "P+N"), cache("values", "P+N")),
        ),
        "ranker": Signature(
            (
                cache("keys", "N"),
                cache("values", "N"),
                Spec("history_length", i64, ("B",)),
                *request_specs(schema),
                Spec("ranker_token", f32, ("B", "M", ranker_width)),
                cross,
                Spec("prerank_score", f32, ("B", "M")),
            ),
            (Spec("logits", f32, ("B", "M", tasks)),),
        ),
    }


@dataclass(frozen=True)
class ExtraGraph:
    """A graph beside the seven, as serialised ONNX: for callers of the Open Inference Protocol, the funnel runs none of them."""

    data: bytes
    signature: Signature


class Graph(nn.Module):
    """A graph: takes tensors in the order of its signature's inputs and returns its outputs."""

    def __init__(self, models: FunnelModels, signature: Signature) -> None:
        super().__init__()
        self.two_tower, self.preranker, self.ranker = models.two_tower, models.preranker, models.ranker
        self.names = [spec.name for spec in signature.inputs]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.compute(dict(zip(self.names, inputs, strict=True)))

    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        raise NotImplementedError


class ItemEncoder(Graph):
    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        item = role(inputs, "item")
        return self.two_tower.item_vectors(item), self.ranker.item_tokens(item)


class SequenceEncoder(Graph):
    """Where the encoder cannot be extended, nobody gives a past and there is nothing to keep: a history is always read whole."""

    def __init__(self, models: FunnelModels, signature: Signature) -> None:
        super().__init__(models, signature)
        layers, _, _ = models.two_tower.config.cache_shape
        self.extension = Extension(self.two_tower.encoder) if layers else None

    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        history, length = role(inputs, "history"), inputs["history_length"]
        events = self.two_tower.events(history)
        recent = newest_events(inputs["past_recent"], events, length)
        if self.extension is not None:
            state, keys, values = self.extension(events, length, inputs["past_keys"], inputs["past_values"])
            return state, recent, keys, values
        state = state_at(self.two_tower.states_of(events, length, history.get(TIME)), length)
        keys, values = (self._lengthened(inputs[name], events.shape[1]) for name in ("past_keys", "past_values"))
        return state, recent, keys, values

    @staticmethod
    def _lengthened(past: Tensor, count: int) -> Tensor:
        """Empty as it is, [B,0,H,P,D/H], with the promised shape [B,0,H,P+N,D/H]."""
        batch, layers, heads, events, width = past.shape
        return past.new_zeros(batch, layers, heads, events + count, width)


class QueryEncoder(Graph):
    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        state, recent, length = inputs["state"], inputs["recent"], inputs["history_length"]
        return (query_heads(self.two_tower, self.preranker, state, recent, length, role(inputs, "user"), role(inputs, "context")),)


class Index(Graph):
    """Exact maximum inner product search by head 0. The ONNX graph of it is written by hand: `onnx_export.index_graph`."""

    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        scores = torch.matmul(inputs["query_vectors"][:, 0], inputs["item_vectors"].transpose(0, 1))
        scores = torch.where(inputs["allowed"], scores, torch.tensor(NOT_ALLOWED))
        best = scores.sort(dim=-1, descending=True, stable=True)  # stable: equal scores keep the lower row first
        k = int(inputs["k"])
        return best.indices[:, :k], best.values[:, :k]


class PrerankerGraph(Graph):
    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        return (self.preranker.score(inputs["query_vectors"], inputs["retrieval_vector"], inputs["cross"]),)


class HistoryEncoder(Graph):
    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        history, length = role(inputs, "history"), inputs["history_length"]
        return self.ranker.encode_history(history, length, inputs["past_keys"], inputs["past_values"])


class RankerGraph(Graph):
    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        logits = self.ranker.score(
            inputs["keys"],
            inputs["values"],
            inputs["history_length"],
            role(inputs, "user"),
            role(inputs, "context"),
            inputs["ranker_token"],
            inputs["cross"],
            inputs["prerank_score"],
        )
        return (logits,)


def graph_modules(models: FunnelModels) -> dict[str, Graph]:
    """The seven graphs, in eval mode, by name."""
    kinds: dict[str, type[Graph]] = {
        "item_encoder": ItemEncoder,
        "sequence_encoder": SequenceEncoder,
        "query_encoder": QueryEncoder,
        "index": Index,
        "preranker": PrerankerGraph,
        "history_encoder": HistoryEncoder,
        "ranker": RankerGraph,
    }
    return {name: kinds[name](models.eval(), signature).eval() for name, signature in signatures(models).items()}


def role(inputs: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The columns of one role, without its prefix. `history_length` is no column."""
    prefix = f"{name}_"
    return {key.removeprefix(prefix): value for key, value in inputs.items() if key.startswith(prefix) and key != "history_length"}
