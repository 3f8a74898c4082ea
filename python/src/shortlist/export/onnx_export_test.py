"""Graphs: stable bytes, the promised signatures, nothing of the machine that made them."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

import numpy as np
import onnx
import pytest

from shortlist.errors import ExportError
from shortlist.export import laws, onnx_export, reader, writer
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.manifest import GRAPHS
from shortlist.export.tables import Tensors
from shortlist.models.encoder import Kind
from shortlist.models.hstu import LEAST_SECONDS
from shortlist.models.preranker import PrerankerConfig
from shortlist.schema import Column, Op, Schema
from shortlist.testing.contracts import assert_independent
from shortlist.testing.toy import ToyModelConfig, toy_models

READS = "sequence_encoder"


def test_bytes_are_stable(draft: writer.Draft, tracked: reader.Bundle) -> None:
    """The tracked graphs came from another process: equal bytes depend on neither paths, time nor hash seeds."""
    runtime = tracked.manifest.runtime
    if (runtime.torch, runtime.onnx) != (version("torch"), version("onnx")):
        pytest.skip(f"models/toy was exported with torch {runtime.torch} and onnx {runtime.onnx}: make it again (models/README.md)")
    different = [name for name in GRAPHS if draft.graphs[name] != tracked.graphs[name]]
    assert not different, "models or export changed: make models/toy again (models/README.md says how)"


def test_graphs_hold_nothing_of_the_machine(draft: writer.Draft) -> None:
    for name, data in draft.graphs.items():
        for trace in (b"site-packages", b".py", b"/home", b"stack_trace", b"pkg.torch"):
            assert trace not in data, f"{name} holds {trace!r}"


def test_signatures_are_those_of_the_contract(draft: writer.Draft) -> None:
    for name, data in draft.graphs.items():
        graph = onnx.load_from_string(data).graph
        assert [value.name for value in graph.input] == [spec.name for spec in draft.signatures[name].inputs]
        assert [value.name for value in graph.output] == [spec.name for spec in draft.signatures[name].outputs]
        assert graph.doc_string == onnx_export.DESCRIPTIONS[name]
        assert all(node.doc_string == "" for node in graph.node)


def test_ignored_inputs_stay(draft: writer.Draft) -> None:
    """A server feeds all columns of a role; a graph that uses only some must still take them."""
    names = {spec.name for spec in draft.signatures["ranker"].inputs}
    assert {"user_interests", "context_query", "prerank_score", "history_length"} <= names


@pytest.mark.parametrize("k", [1, 3, 5])
def test_index_keeps_the_lower_row_first(draft: writer.Draft, k: int) -> None:
    graphs = OrtGraphs(draft.graphs)
    vectors = np.tile(np.ones((1, 8), np.float32), (5, 1))
    vectors[3] = 2
    allowed = np.array([[False, True, True, True, True]])
    inputs = {"query_vectors": np.ones((1, 3, 8), np.float32), "item_vectors": vectors, "allowed": allowed, "k": np.array([k])}
    assert graphs.run("index", inputs)["rows"][0].tolist() == [3, 1, 2, 4, 0][:k]


def test_check_refuses_external_weights_and_other_outputs(draft: writer.Draft) -> None:
    model = onnx.load_from_string(draft.graphs["preranker"])
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    with pytest.raises(ExportError, match="preranker"):
        onnx_export.check("preranker", model)
    model = onnx.load_from_string(draft.graphs["preranker"])
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ExportError, match="preranker is not valid"):
        onnx_export.check("preranker", model)


def test_the_smallest_schema_exports() -> None:
    """No user, context or cross columns: [B,M,0] counters and graphs without request inputs."""
    item = Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple("abcdefghi"), in_history=True)
    schema = Schema(item_id="string", user=(), context=(), item=(item,), actions=("view",), tasks=("click",))
    graphs = onnx_export.export_graphs(toy_models(schema, ToyModelConfig(layers=1, heads=1)))
    assert_independent(OrtGraphs(graphs), schema)


# Kinds that a later stage can follow: those whose state knows the past alone.
@pytest.mark.parametrize(
    ("encoder", "time_bias"), [("sasrec", False), ("ligr", False), ("hstu", False), ("hstu", True), ("gru4rec", False)]
)
def test_every_encoder_of_the_two_tower_exports(encoder: Kind, time_bias: bool) -> None:
    """PyTorch and ONNX Runtime agree for one and for several requests, with and without padding, and with a past where it is kept."""
    columns = (Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple("abcdefghi"), in_history=True),)
    schema = Schema(
        item_id="string",
        user=(),
        context=(),
        item=columns,
        actions=("view",),
        tasks=("click",),
        history_max_events=20,
        event_times=time_bias,
    )
    models = toy_models(schema, ToyModelConfig(encoder=encoder, time_bias=time_bias))
    graphs, exported = TorchGraphs(models), OrtGraphs({READS: onnx_export.export_graph(READS, models)})
    rng = np.random.default_rng(0)
    for batch, count in ((1, 1), (3, 20), (2, 9)):
        inputs = laws.random_history(schema, batch, count, rng.integers(0, count + 1, batch), rng) | graphs.no_past(READS, batch)
        expected = assert_equal(graphs, exported, inputs)
        if time_bias and count > 1:
            since = {**inputs, "history_time": inputs["history_time"] * 1000}
            moved = np.abs(exported.run(READS, since)["state"] - expected["state"])
            assert moved.max() > 1e-3, "elapsed time does not matter to the graph"
        if models.two_tower.config.cache_shape[0]:
            new = laws.random_history(schema, batch, 5, rng.integers(1, 6, batch), rng)
            assert_equal(graphs, exported, new | {f"past_{name}": value for name, value in expected.items()})


def assert_equal(graphs: TorchGraphs, exported: OrtGraphs, inputs: Tensors) -> Tensors:
    """What both read of a history."""
    expected, got = graphs.run(READS, inputs), exported.run(READS, inputs)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-4, atol=1e-5, err_msg=name)
    return expected


def test_a_funnel_without_a_session_keeps_no_newest_events() -> None:
    columns = (Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple("abcdefghi"), in_history=True),)
    schema = Schema(item_id="string", user=(), context=(), item=columns, actions=("view",), tasks=("click",))
    models = toy_models(schema)
    preranker = PrerankerConfig(ablate=("session",)).build(schema, models.two_tower.config)
    models = replace(models, preranker=preranker)
    torch_graphs = TorchGraphs(models)
    exported = OrtGraphs({name: onnx_export.export_graph(name, models) for name in (READS, "query_encoder")})
    rng = np.random.default_rng(0)
    history = laws.random_history(schema, 2, 6, np.array([6, 2]), rng)
    expected = assert_equal(torch_graphs, exported, history | torch_graphs.no_past(READS, 2))
    assert expected["recent"].shape == (2, 0, 8)
    request = history | expected
    np.testing.assert_allclose(
        *(graphs.run("query_encoder", request)["query_vectors"] for graphs in (exported, torch_graphs)), rtol=1e-4, atol=1e-5
    )


def test_parts_of_weights_are_weights(draft: writer.Draft) -> None:
    """The projection of an attention is applied in parts, each a constant that the runtime packs and int8 quantises."""
    graph = onnx.load_from_string(draft.graphs[READS]).graph
    weights = {tensor.name for tensor in graph.initializer}
    assert not [node.name for node in graph.node if node.op_type in ("Slice", "Transpose", "Concat") and set(node.input) <= weights]
    assert weights <= {name for node in graph.node for name in node.input}  # and no whole one stays behind


def test_time_buckets_have_the_same_edges_in_the_graph() -> None:
    """Two events exactly as far apart as an edge: one bucket off would be another bias."""
    columns = (Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple("abc"), in_history=True),)
    schema = Schema(item_id="string", user=(), context=(), item=columns, actions=("view",), tasks=("click",), event_times=True)
    models = toy_models(schema, ToyModelConfig(encoder="hstu", time_bias=True))
    apart = np.unique(np.concatenate([np.array(LEAST_SECONDS) + shift for shift in (-1, 0, 1)]).clip(0))
    graphs, exported = TorchGraphs(models), OrtGraphs({READS: onnx_export.export_graph(READS, models)})
    inputs = {
        **graphs.no_past(READS, len(apart)),
        "history_id": np.ones((len(apart), 2), np.int64),
        "history_action": np.ones((len(apart), 2), np.int64),
        "history_time": np.stack((np.full(len(apart), 1_700_000_000), 1_700_000_000 + apart), axis=1),
        "history_length": np.full(len(apart), 2),
    }
    assert_equal(graphs, exported, inputs)


def test_a_time_bias_without_event_times_is_refused() -> None:
    columns = (Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple("abc"), in_history=True),)
    schema = Schema(item_id="string", user=(), context=(), item=columns, actions=("view",), tasks=("click",))
    with pytest.raises(ExportError, match="no times were given"):
        onnx_export.export_graph(READS, toy_models(schema, ToyModelConfig(encoder="hstu", time_bias=True)))
