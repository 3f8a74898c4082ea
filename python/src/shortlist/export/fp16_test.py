"""fp16 inside, fp32 at the doors, and raw numbers, positions and masks as exact as before. On the CPU; no test here needs a GPU."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from shortlist.errors import ExportError
from shortlist.export import reader
from shortlist.export.backends import OrtGraphs
from shortlist.export.fp16 import half_nodes, halve
from shortlist.export.laws import Laws

GRAPHS = ("item_encoder", "sequence_encoder", "query_encoder", "history_encoder", "ranker")


@pytest.fixture(scope="module")
def halved(tracked: reader.Bundle) -> dict[str, bytes]:
    return {name: halve(name, tracked.graphs[name]) for name in GRAPHS}


@pytest.mark.parametrize("name", GRAPHS)
def test_inputs_outputs_and_positions_stay_fp32(name: str, tracked: reader.Bundle, halved: dict[str, bytes]) -> None:
    exact, small = onnx.load_from_string(tracked.graphs[name]), shape_inference.infer_shapes(onnx.load_from_string(halved[name]))
    for side in ("input", "output"):
        assert list(getattr(small.graph, side)) == list(getattr(exact.graph, side))
    half = {value.name for value in small.graph.value_info if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    half |= {tensor.name for tensor in small.graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    assert half
    for node in small.graph.node:
        if node.op_type in ("Cos", "Sin", "Log", "Abs", "Sign", "Range"):
            assert not half & {*node.input, *node.output}
    read = [name for node in small.graph.node if node.op_type in ("MatMul", "Gemm", "Softmax", "Attention") for name in node.input]
    assert sum(name in half for name in read) > len(read) / 2
    weights = [sum(len(tensor.raw_data) for tensor in model.graph.initializer) for model in (small, exact)]
    assert weights[0] < 0.7 * weights[1]


def test_answers_are_near(tracked: reader.Bundle, halved: dict[str, bytes]) -> None:
    exact, small = OrtGraphs(tracked.graphs), OrtGraphs(tracked.graphs | halved)
    laws = Laws(exact, tracked.content.schema, np.random.default_rng(0))
    inputs = {
        "item_encoder": laws.items,
        "sequence_encoder": laws.history | laws.past("sequence_encoder"),
        "query_encoder": laws.query,
        "history_encoder": laws.history | laws.past("history_encoder"),
        "ranker": laws.ranker,
    }
    for name, feed in inputs.items():
        true = exact.run(name, feed)
        for output, values in small.run(name, feed).items():
            assert values.dtype == np.float32
            error = np.abs(values - true[output]).max()
            assert 0 < error < 0.02 * max(1.0, float(np.abs(true[output]).max()))


def test_a_number_that_fp16_cannot_hold_counts_in_full(tracked: reader.Bundle, halved: dict[str, bytes]) -> None:
    exact, small = OrtGraphs(tracked.graphs), OrtGraphs(tracked.graphs | halved)
    items = {f"item_{name}": values[:2].copy() for name, values in tracked.content.catalog.inputs.items()}
    price = next(name for name, values in items.items() if values.dtype == np.float32)
    items[price][:] = (70_000.0, 9_000_000.0)
    true, got = (graphs.run("item_encoder", items)["retrieval_vector"] for graphs in (exact, small))
    assert np.isfinite(got).all()
    np.testing.assert_allclose(got, true, atol=0.02)


def test_a_weight_that_fp16_cannot_hold_is_refused(tracked: reader.Bundle) -> None:
    model = onnx.load_from_string(tracked.graphs["ranker"])
    half = half_nodes(model)
    read = {name for node in model.graph.node if node.name in half for name in node.input}
    weight = next(tensor for tensor in model.graph.initializer if tensor.name in read and len(tensor.dims) == 2)
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(1e6), weight.name))
    with pytest.raises(ExportError, match="fp16 ends at 65504"):
        halve("ranker", model.SerializeToString())


def test_a_graph_without_a_network_is_refused() -> None:
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B"])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B"])
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"], name="abs")], "g", [value], [out])
    with pytest.raises(ExportError, match="nothing to compute in fp16"):
        halve("g", helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)]).SerializeToString())
