"""The laws hold on both backends, and each is broken by a backend that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from shortlist.export import reader
from shortlist.export.backends import Graphs, OrtGraphs
from shortlist.export.laws import check_laws
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Array, Tensors


@pytest.mark.parametrize("seed", range(5))
def test_laws_hold_on_onnx_runtime(ort_funnel: ReferenceFunnel, seed: int) -> None:
    assert check_laws(ort_funnel.graphs, ort_funnel.content.schema, seed=seed) == []


def test_laws_hold_on_torch(torch_funnel: ReferenceFunnel) -> None:
    assert check_laws(torch_funnel.graphs, torch_funnel.content.schema) == []


class Sabotaged:
    """A backend that changes what one graph answers."""

    def __init__(self, graphs: Graphs, graph: str, change: Callable[[Mapping[str, Array], Tensors], Tensors]) -> None:
        self.graphs, self.graph, self.change = graphs, graph, change

    def no_past(self, name: str, batch: int) -> Tensors:
        return self.graphs.no_past(name, batch)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        outputs = self.graphs.run(name, inputs)
        return self.change(inputs, outputs) if name == self.graph else outputs


def by_position(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    return {
        name: value + 0.01 * np.arange(value.shape[1], dtype=np.float32).reshape(1, -1, *[1] * (value.ndim - 2))
        for name, value in outputs.items()
    }


def minus_batch_mean(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    return {name: value - value.mean(axis=0, keepdims=True) for name, value in outputs.items()}


def plus_padding(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    """Adds something of the last event, padding or not."""
    held = next(name for name in ("keys", "recent", "history_action") if name in inputs)
    last = np.asarray(inputs[held], dtype=np.float32)
    leak = {5: lambda: last[..., -1, 0].mean(axis=(1, 2)), 3: lambda: last[:, -1, 0], 2: lambda: last[:, -1]}[last.ndim]()
    return {name: value + leak.reshape(-1, *[1] * (value.ndim - 1)) for name, value in outputs.items()}


def plus_past_length(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    return {name: value + np.float32(0.01 * inputs["past_keys"].shape[3]) for name, value in outputs.items()}


def newest_first(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    """The newest events the other way round: wrong for whoever goes on from them."""
    return outputs | {"recent": np.ascontiguousarray(outputs["recent"][:, ::-1])}


def reversed_rows(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    """Higher rows first among equal scores."""
    order = np.stack([np.lexsort((-rows, -scores)) for rows, scores in zip(outputs["rows"], outputs["scores"], strict=True)])
    return {name: np.take_along_axis(value, order, axis=1) for name, value in outputs.items()}


def unmasked(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    return outputs | {"scores": np.maximum(outputs["scores"], np.float32(0))}


@pytest.mark.parametrize(
    ("graph", "change", "law"),
    [
        ("ranker", by_position, "candidate order"),
        ("ranker", by_position, "chunking"),
        ("ranker", minus_batch_mean, "batch mates"),
        ("ranker", plus_padding, "padding"),
        ("preranker", by_position, "chunking"),
        ("query_encoder", minus_batch_mean, "batch mates"),
        ("query_encoder", plus_padding, "padding"),
        ("sequence_encoder", minus_batch_mean, "batch mates"),
        ("sequence_encoder", plus_padding, "padding"),
        ("sequence_encoder", plus_past_length, "append"),
        ("sequence_encoder", newest_first, "append"),
        ("history_encoder", plus_past_length, "append"),
        ("item_encoder", minus_batch_mean, "chunking"),
        ("index", reversed_rows, "exact search"),
        ("index", unmasked, "exact search"),
    ],
)
def test_a_broken_law_is_named(
    tracked: reader.Bundle, graph: str, change: Callable[[Mapping[str, Array], Tensors], Tensors], law: str
) -> None:
    broken = check_laws(Sabotaged(OrtGraphs(tracked.graphs), graph, change), tracked.content.schema)
    assert (law, graph) in {(one.law, one.graph) for one in broken}
