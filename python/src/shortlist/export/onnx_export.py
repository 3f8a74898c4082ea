"""Graph modules as ONNX: dynamic sizes, no external data, and bytes that depend on nothing but weights and code.

The exporter records stack traces, paths and its version in the model; `stable` removes them and writes documentation that is the same
in every run.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from onnx import ModelProto, TensorProto, checker, helper
from onnxscript import ir
from onnxscript.optimizer import fold_constants, remove_unused_nodes

from shortlist.errors import ExportError
from shortlist.export.graphs import NOT_ALLOWED, ExtraGraph, FunnelModels, Graph, Signature, Spec, graph_modules, signatures
from shortlist.export.trees_onnx import fill_trees
from shortlist.models.trees import TreeRanker

OPSET = 23
IR_VERSION = 11  # of opset 23; readers since ONNX Runtime 1.22

DESCRIPTIONS = {
    "item_encoder": "Item columns to the retrieval vector and the ranker's token. Runs when the catalog changes.",
    "sequence_encoder": "State, newest events, keys and values of a history for the query; past ones are extended by new events alone.",
    "query_encoder": "A read history, user and context columns to one query vector per head; head 0 retrieves. Runs once per request.",
    "index": "The k best allowed rows by inner product with head 0; equal scores keep the lower row first.",
    "preranker": "One score per candidate from all query heads, the item's vector and counters.",
    "history_encoder": "Keys and values of a history for the ranker; past ones are extended by new events alone.",
    "ranker": "Task logits of candidates, each from itself, the request and the history's keys and values alone.",
}

# Example sizes. All differ and none is 0 or 1: the exporter would take such a size, or an equality, for a constant.
_SIZES = {"B": 2, "N": 7, "P": 5, "M": 3}


def export_graphs(models: FunnelModels) -> dict[str, bytes]:
    """All seven graphs as serialised ONNX models, checked. Raises ExportError."""
    return {name: export_graph(name, models) for name in signatures(models)}


def export_graph(name: str, models: FunnelModels) -> bytes:
    """One of the seven. Raises ExportError."""
    signature = signatures(models)[name]
    model = index_graph(signature) if name == "index" else _export(name, graph_modules(models)[name], signature)
    if name == "ranker" and isinstance(models.ranker, TreeRanker):
        fill_trees(model, models.ranker.trees)
    return _serialise(name, model, signature, DESCRIPTIONS[name])


def export_extra(name: str, module: Graph, signature: Signature, description: str) -> ExtraGraph:
    """A graph beside the seven. Raises ExportError."""
    return ExtraGraph(_serialise(name, _export(name, module, signature), signature, description), signature)


def _serialise(name: str, model: ModelProto, signature: Signature, description: str) -> bytes:
    model = stable(model, name, signature, description)
    check(name, model)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _export(name: str, module: Graph, signature: Signature) -> ModelProto:
    dims = {letter: torch.export.Dim(letter, min=0 if letter == "P" else 1) for letter in _SIZES}
    shapes = tuple({axis: dims[size] for axis, size in enumerate(spec.shape) if isinstance(size, str)} for spec in signature.inputs)
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                tuple(_example(spec) for spec in signature.inputs),
                dynamic_shapes=(shapes,),
                input_names=[spec.name for spec in signature.inputs],
                output_names=[spec.name for spec in signature.outputs],
                opset_version=OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise ExportError(f"graph {name} cannot be exported", why=str(error), fix="use operations that ONNX can express") from error
    if program is None:
        raise ExportError(f"graph {name} cannot be exported", why="the exporter returned nothing")
    fold_constants(program.model, should_fold=_selects_weights, output_size_limit=sys.maxsize)
    remove_unused_nodes(program.model)
    return program.model_proto


def _selects_weights(node: ir.Node) -> bool | None:
    """Parts of a weight are weights of their own: the runtime packs them at load, and int8 finds them. None: the library decides."""
    return node.op_type in ("Slice", "Concat", "Transpose") or None


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the exporter: it warns of axis names that it merges and of packages that it does not need. `check` judges the result."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _example(spec: Spec) -> torch.Tensor:
    """An input with sizes of its own; always a fresh tensor, since the exporter merges inputs that are one object."""
    shape = [_SIZES[size] if isinstance(size, str) else size for size in spec.shape]
    if spec.name == "history_length":
        return torch.arange(1, shape[0] + 1)
    return torch.ones(shape, dtype=spec.dtype)


def index_graph(signature: Signature) -> ModelProto:
    """MatMul, mask, TopK. By hand, since k is an input; the runtime fuses the transpose into the product."""
    nodes = [
        helper.make_node("Gather", ["query_vectors", "retrieval_head"], ["query"], name="query", axis=1),
        helper.make_node("Transpose", ["item_vectors"], ["item_vectors_KI"], name="item_vectors_KI", perm=[1, 0]),
        helper.make_node("MatMul", ["query", "item_vectors_KI"], ["all_scores"], name="all_scores"),
        helper.make_node("Where", ["allowed", "all_scores", "not_allowed"], ["allowed_scores"], name="allowed_scores"),
        helper.make_node("TopK", ["allowed_scores", "k"], ["scores", "rows"], name="top_k", axis=-1, largest=1, sorted=1),
    ]
    constants = [
        helper.make_tensor("retrieval_head", TensorProto.INT64, [], [0]),
        helper.make_tensor("not_allowed", TensorProto.FLOAT, [], [NOT_ALLOWED]),
    ]
    inputs, outputs = ([_value_info(spec) for spec in specs] for specs in (signature.inputs, signature.outputs))
    graph = helper.make_graph(nodes, "index", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])


_ELEMENTS = {torch.float32: TensorProto.FLOAT, torch.int64: TensorProto.INT64, torch.bool: TensorProto.BOOL}


def _value_info(spec: Spec):  # type: ignore[no-untyped-def]  # onnx's messages have no stable public type
    return helper.make_tensor_value_info(spec.name, _ELEMENTS[spec.dtype], list(spec.shape))


def stable(model: ModelProto, name: str, signature: Signature, description: str) -> ModelProto:
    """The model without what differs between runs or machines, with our names, sizes and documentation."""
    graph = model.graph
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version, model.model_version = "shortlist", "", 0
    model.doc_string = description
    graph.name, graph.doc_string = name, description
    del model.metadata_props[:]
    del graph.metadata_props[:]
    del graph.value_info[:]
    for node in graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in graph.initializer:
        tensor.doc_string = ""
        del tensor.metadata_props[:]
    # Inputs that the model ignores stay in the signature: a server feeds all columns of a role.
    for kept, specs in ((graph.input, signature.inputs), (graph.output, signature.outputs)):
        found = {value.name for value in kept}
        if missing := [spec.name for spec in specs if spec.name not in found]:
            raise ExportError(f"graph {name} lost {missing}", why="the exporter dropped or renamed them")
        del kept[:]
        kept.extend(_value_info(spec) for spec in specs)
    return model


def check(name: str, model: ModelProto) -> None:
    """The ONNX checker with shape inference, and what the bundle format asks beyond it. Raises ExportError."""
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, Exception) as error:
        raise ExportError(f"graph {name} is not valid ONNX", why=str(error)) from error
    if any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer):
        raise ExportError(f"graph {name} keeps weights in other files", why="a graph of a release is one file")
    if model.graph.output[-1].type.tensor_type.elem_type != TensorProto.FLOAT:
        raise ExportError(f"the last output of graph {name} is not float32", why="docs/bundle.md promises it")
