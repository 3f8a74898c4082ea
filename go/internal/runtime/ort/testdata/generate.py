"""Makes the graphs of the runtime's tests, and probe.onnx, which proves at start-up that a provider computes.

Run from anywhere: python generate.py. The files are committed; run it again after a change here.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
OPSET = 20


def value(name: str, dtype: int, *shape: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    weights: list[onnx.TensorProto] | None = None,
) -> None:
    graph = helper.make_graph(nodes, path.stem, inputs, outputs, weights or [])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10, producer_name="shortlist")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())


def arithmetic() -> None:
    """y = x + add where keep else 0; doubled = 2 add; dropped = not keep: the three dtypes in and out."""
    nodes = [
        helper.make_node("Cast", ["add"], ["add_float"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["add_float", "last"], ["add_column"]),
        helper.make_node("Add", ["x", "add_column"], ["sum"]),
        helper.make_node("Unsqueeze", ["keep", "last"], ["keep_column"]),
        helper.make_node("Where", ["keep_column", "sum", "zero"], ["y"]),
        helper.make_node("Add", ["add", "add"], ["doubled"]),
        helper.make_node("Not", ["keep"], ["dropped"]),
    ]
    save(
        HERE / "arithmetic.onnx",
        nodes,
        [value("x", TensorProto.FLOAT, "N", 3), value("add", TensorProto.INT64, "N"), value("keep", TensorProto.BOOL, "N")],
        [value("y", TensorProto.FLOAT, "N", 3), value("doubled", TensorProto.INT64, "N"), value("dropped", TensorProto.BOOL, "N")],
        [numpy_helper.from_array(np.array([1], dtype=np.int64), "last"), numpy_helper.from_array(np.array(0, dtype=np.float32), "zero")],
    )


def concat() -> None:
    """all = past then new; P may be 0."""
    save(
        HERE / "concat.onnx",
        [helper.make_node("Concat", ["past", "new"], ["all"], axis=0)],
        [value("past", TensorProto.FLOAT, "P", 2), value("new", TensorProto.FLOAT, "N", 2)],
        [value("all", TensorProto.FLOAT, "P+N", 2)],
    )


def slow(steps: int = 3000, width: int = 256) -> None:
    """y = x after a loop of matrix products by the identity: seconds long, and cancellable between nodes."""
    body = helper.make_graph(
        [helper.make_node("MatMul", ["state", "identity"], ["next"]), helper.make_node("Identity", ["again"], ["go_on"])],
        "body",
        [value("step", TensorProto.INT64), value("again", TensorProto.BOOL), value("state", TensorProto.FLOAT, width, width)],
        [value("go_on", TensorProto.BOOL), value("next", TensorProto.FLOAT, width, width)],
    )
    nodes = [
        helper.make_node("Expand", ["x", "square"], ["start"]),
        helper.make_node("Loop", ["steps", "true", "start"], ["end"], body=body),
        helper.make_node("ReduceMax", ["end", "axes"], ["y"], keepdims=0),
    ]
    # The identity comes from a node that constant folding leaves alone, so that the file stays small.
    nodes.insert(0, helper.make_node("EyeLike", ["ones"], ["identity"], dtype=TensorProto.FLOAT))
    nodes.insert(0, helper.make_node("ConstantOfShape", ["square"], ["ones"]))
    save(
        HERE / "slow.onnx",
        nodes,
        [value("x", TensorProto.FLOAT, 1)],
        [value("y", TensorProto.FLOAT, 256)],
        [
            numpy_helper.from_array(np.array([width, width], dtype=np.int64), "square"),
            numpy_helper.from_array(np.array(steps, dtype=np.int64), "steps"),
            numpy_helper.from_array(np.array(True), "true"),
            numpy_helper.from_array(np.array([0], dtype=np.int64), "axes"),
        ],
    )


def wide(parts: int = 16) -> None:
    """y = the largest of (x + 0) + ... + (x + 15), whose 16 parts live at one time: much memory for little output."""
    names = [f"part_{number}" for number in range(parts)]
    nodes = [helper.make_node("Add", ["x", f"add_{number}"], [name]) for number, name in enumerate(names)]
    nodes += [helper.make_node("Sum", names, ["sum"]), helper.make_node("ReduceMax", ["sum"], ["y"])]
    weights = [numpy_helper.from_array(np.array([number], dtype=np.float32), f"add_{number}") for number in range(parts)]
    save(HERE / "wide.onnx", nodes, [value("x", TensorProto.FLOAT, "N")], [value("y", TensorProto.FLOAT, 1)], weights)


def probe() -> None:
    """y = x w: the smallest graph that a GPU provider must place on its device."""
    save(
        HERE.parent / "probe.onnx",
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        [value("x", TensorProto.FLOAT, 1, 2)],
        [value("y", TensorProto.FLOAT, 1, 2)],
        [numpy_helper.from_array(np.array([[1, 2], [3, 4]], dtype=np.float32), "w")],
    )


if __name__ == "__main__":
    arithmetic()
    concat()
    slow()
    wide()
    probe()
