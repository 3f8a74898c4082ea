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
        self.graphs, self.graph, self.change, self.cache_shape = graphs, graph, change, graphs.cache_shape

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
    last = np.asarray(inputs["keys"] if "keys" in inputs else inputs["history_action"], dtype=np.float32)
    leak = last[..., -1, 0].mean(axis=(1, 2)) if last.ndim == 5 else last[:, -1]
    return {name: value + leak.reshape(-1, *[1] * (value.ndim - 1)) for name, value in outputs.items()}


def plus_past_length(inputs: Mapping[str, Array], outputs: Tensors) -> Tensors:
    return {name: value + np.float32(0.01 * inputs["past_keys"].shape[3]) for name, value in outputs.items()}


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
