"""What int8 changes in a graph, and that it changes nothing else: no narrow product, no dependence on batch mates, no bytes by chance."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from shortlist.errors import ExportError
from shortlist.export import reader
from shortlist.export.backends import OrtGraphs
from shortlist.export.int8 import NARROW, quantise, weight_products
from shortlist.export.laws import Laws
from shortlist.export.tables import Tensors

GRAPHS = ("sequence_encoder", "history_encoder", "ranker")


@pytest.fixture(scope="module")
def feeds(tracked: reader.Bundle) -> dict[str, Tensors]:
    """Three requests in one batch for each graph."""
    laws = Laws(OrtGraphs(tracked.graphs), tracked.content.schema, np.random.default_rng(0))
    encoding = {name: laws.history | laws.past(name) for name in ("sequence_encoder", "history_encoder")}
    return encoding | {"ranker": laws.ranker}


@pytest.fixture(scope="module")
def quantised(tracked: reader.Bundle, feeds: dict[str, Tensors]) -> dict[str, bytes]:
    return {name: quantise(name, tracked.graphs[name], [feeds[name]]) for name in GRAPHS}


@pytest.mark.parametrize("name", GRAPHS)
def test_wide_products_alone_are_int8(name: str, tracked: reader.Bundle, quantised: dict[str, bytes]) -> None:
    exact, small = onnx.load_from_string(tracked.graphs[name]), onnx.load_from_string(quantised[name])
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in small.graph.initializer}
    codes = {
        node.output[0]: weights[node.input[0]]
        for node in small.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in weights and weights[node.input[0]].dtype == np.int8
    }
    products = [node for node in small.graph.node if node.op_type in ("MatMul", "Gemm") and node.input[1] in codes]
    assert [node.name for node in products] == [node.name for node in weight_products(exact)]
    assert products
    for node in products:
        assert min(codes[node.input[1]].shape) >= NARROW
        assert np.abs(codes[node.input[1]].astype(int)).max() <= 64  # 7 bits
    assert {node.op_type for node in small.graph.node} - {node.op_type for node in exact.graph.node} == {
        "QuantizeLinear",
        "DequantizeLinear",
    }
    for side in ("input", "output"):
        assert list(getattr(small.graph, side)) == list(getattr(exact.graph, side))


@pytest.mark.parametrize("name", GRAPHS)
def test_scores_move_a_little_and_not_with_batch_mates(
    name: str, tracked: reader.Bundle, feeds: dict[str, Tensors], quantised: dict[str, bytes]
) -> None:
    exact, small = OrtGraphs(tracked.graphs), OrtGraphs(tracked.graphs | quantised)
    together, true = small.run(name, feeds[name]), exact.run(name, feeds[name])
    errors = {output: np.abs(values - true[output]).max() / true[output].std() for output, values in together.items()}
    assert max(errors.values()) < 0.2
    assert all(error > 0 for output, error in errors.items() if output != "recent")  # embedded events: no product is in them
    for request in range(3):
        alone = small.run(name, {key: value[request : request + 1] for key, value in feeds[name].items()})
        for output, values in alone.items():
            np.testing.assert_allclose(values, together[output][request : request + 1], atol=1e-6)


def test_equal_calibration_gives_equal_bytes(tracked: reader.Bundle, feeds: dict[str, Tensors], quantised: dict[str, bytes]) -> None:
    assert quantise("ranker", tracked.graphs["ranker"], [feeds["ranker"]]) == quantised["ranker"]


def test_what_cannot_be_quantised_is_refused(tracked: reader.Bundle) -> None:
    with pytest.raises(ExportError, match="preranker has nothing to quantise"):
        quantise("preranker", tracked.graphs["preranker"], [{}])
    with pytest.raises(ExportError, match="ranker cannot be calibrated"):
        quantise("ranker", tracked.graphs["ranker"], [])
    with pytest.raises(ExportError, match="ranker cannot be quantised"):
        quantise("ranker", tracked.graphs["ranker"], [{"keys": np.zeros(1, np.float32)}])
