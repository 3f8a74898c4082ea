"""Every kind of ranker exports under the one contract, and obeys the laws in ONNX Runtime as in PyTorch.

`laws_test.py` holds the product's kind to all laws through the tracked release; here the graphs that differ by kind are exported.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from onnxruntime import InferenceSession

from shortlist.export.backends import TorchGraphs
from shortlist.export.graphs import FunnelModels
from shortlist.export.onnx_export import export_graph
from shortlist.export.tables import Array, Tensors
from shortlist.models.ranker import KINDS, RankerKind
from shortlist.schema import Schema
from shortlist.testing.contracts import assert_independent
from shortlist.testing.toy import ToyModelConfig, toy_models
from shortlist.testing.toy_data import toy_dataset

# Exporting takes seconds, so each history encoder is exported once: the baselines share BST's, the amortized kinds the tracked release's.
EXPORTED: dict[RankerKind, tuple[str, ...]] = {
    "amortized-self": ("ranker",),
    "bst": ("ranker", "history_encoder"),
    "transact": ("ranker",),
    "din": ("ranker",),
    "mean-pool": ("ranker",),
}


class Mixed:
    """ONNX Runtime for the graphs that are exported, PyTorch for the others."""

    def __init__(self, models: FunnelModels, exported: tuple[str, ...]) -> None:
        self.torch_graphs = TorchGraphs(models)
        self.sessions = {name: InferenceSession(export_graph(name, models), providers=["CPUExecutionProvider"]) for name in exported}

    def no_past(self, name: str, batch: int) -> Tensors:
        return self.torch_graphs.no_past(name, batch)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        if name not in self.sessions:
            return self.torch_graphs.run(name, inputs)
        session = self.sessions[name]
        feeds = {value.name: inputs[value.name] for value in session.get_inputs()}
        return dict(zip([value.name for value in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.fixture(scope="module")
def schema() -> Schema:
    return toy_dataset().schema


@pytest.mark.parametrize("kind", KINDS)
def test_laws_hold_on_torch(kind: RankerKind, schema: Schema) -> None:
    assert_independent(TorchGraphs(toy_models(schema, ToyModelConfig(ranker=kind))), schema)


@pytest.mark.parametrize("kind", EXPORTED)
def test_laws_hold_on_onnx_runtime(kind: RankerKind, schema: Schema) -> None:
    assert_independent(Mixed(toy_models(schema, ToyModelConfig(ranker=kind)), EXPORTED[kind]), schema)


def test_laws_hold_with_one_head_whose_matrices_move_to_the_events(schema: Schema) -> None:
    models = toy_models(schema, ToyModelConfig(heads=1))
    assert_independent(Mixed(models, ("ranker", "history_encoder")), schema)
