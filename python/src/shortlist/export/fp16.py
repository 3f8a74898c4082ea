"""A graph in fp16 for GPUs: the network's inner tensors are half as wide; inputs, outputs and what leads into the network stay fp32.

A node is computed in fp16 when what it reads comes from an embedding, a wide product or a cached tensor, so raw numbers (a price of 100,000
is no fp16), counters, positions, angles and masks are computed in fp32 and enter as rounded results. ONNX Runtime's own converter casts
all inputs at the door and rounds between the nodes that it was told to leave alone, so this pass replaces it.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from shortlist.errors import ExportError
from shortlist.export.int8 import NARROW
from shortlist.export.onnx_export import check

# Operators that may be computed in fp16; every other one is left alone. Reductions inside norms and softmax are kernels' own, in fp32.
HALF = {
    "Add", "Attention", "Concat", "Div", "Expand", "Gather", "GatherElements", "Gelu", "Gemm", "LayerNormalization", "MatMul", "Mul",
    "ReduceSum", "Reshape", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Transpose", "Unsqueeze",
}  # fmt: skip
# Inputs that were a network's output before: another graph's or an earlier call's.
CACHED = ("keys", "values", "past_keys", "past_values", "state", "recent", "past_recent", "ranker_token")
LARGEST = float(np.finfo(np.float16).max)


def halve(name: str, data: bytes) -> bytes:
    """The graph in fp16. Raises ExportError, also for a weight that fp16 cannot hold."""
    model = onnx.load_from_string(data)
    half = half_nodes(model)
    if not half:
        raise ExportError(f"graph {name} has nothing to compute in fp16", why="no embedding and no wide product feeds a node")
    _Pass(name, model, half).rewrite()
    check(name, model)
    return model.SerializeToString(deterministic=True)


def half_nodes(model: ModelProto) -> set[str]:
    """Names of the nodes to compute in fp16: those of `HALF` that read a network's tensor."""
    wide = {t.name for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2 and min(t.dims) >= NARROW}
    inner, half = set(CACHED) & {value.name for value in model.graph.input}, set()
    for node in model.graph.node:
        if node.op_type in HALF and any(read in inner or read in wide for read in node.input):
            half.add(node.name)
            inner.update(node.output)
    return half


class _Pass:
    """Renames the inner tensors of one graph and casts where fp32 and fp16 meet."""

    def __init__(self, name: str, model: ModelProto, half: set[str]) -> None:
        self.name, self.graph, self.half = name, model.graph, half
        inferred = shape_inference.infer_shapes(model, data_prop=True).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        self.floats = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.weights = {tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.made = {output for node in model.graph.node if node.name in half for output in node.output}
        self.nodes: list[NodeProto] = []
        self.casts: set[str] = set()

    def rewrite(self) -> None:
        """Nodes stay in their order, each preceded by the casts that it needs; casts back stand before the first fp32 reader."""
        outputs = {value.name for value in self.graph.output}
        halved: dict[str, TensorProto] = {}
        kept = set()
        for node in self.graph.node:
            for place, read in enumerate(node.input):
                if node.op_type == "Shape" and read in self.made:
                    node.input[place] = f"{read}_fp16"
                elif node.name in self.half and read in self.weights:
                    halved[read] = self._halved(self.weights[read])
                    node.input[place] = halved[read].name
                elif node.name in self.half and (read in self.floats or read in self.made):
                    if read not in self.made:
                        self._cast(read, f"{read}_fp16", TensorProto.FLOAT16)
                    node.input[place] = f"{read}_fp16"
                elif read in self.made:
                    self._cast(f"{read}_fp16", read, TensorProto.FLOAT)
                if read in self.weights and node.name not in self.half:
                    kept.add(read)
            if node.name in self.half:
                node.output[:] = [f"{output}_fp16" for output in node.output]
            self.nodes.append(node)
        for name in sorted(outputs & self.made):
            self._cast(f"{name}_fp16", name, TensorProto.FLOAT)
        initialisers = [t for t in self.graph.initializer if t.name in kept or t.name not in halved] + list(halved.values())
        del self.graph.node[:], self.graph.initializer[:], self.graph.value_info[:]
        self.graph.node.extend(self.nodes)
        self.graph.initializer.extend(initialisers)

    def _cast(self, source: str, target: str, to: int) -> None:
        if target not in self.casts:
            self.casts.add(target)
            self.nodes.append(helper.make_node("Cast", [source], [target], name=f"cast_{target}", to=to))

    def _halved(self, tensor: TensorProto) -> TensorProto:
        values = numpy_helper.to_array(tensor)
        if values.size and float(np.abs(values).max()) > LARGEST:
            raise ExportError(
                f"graph {self.name} cannot be fp16", why=f"{tensor.name} holds {np.abs(values).max():g}, and fp16 ends at {LARGEST:g}",
                fix="train with smaller weights, or export this graph in fp32",
            )  # fmt: skip
        return numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}_fp16")
