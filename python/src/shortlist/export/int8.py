"""Static int8 of a graph: u8 activations, s8 weights per output channel, in QDQ form. Never dynamic.

Only products with a constant weight are quantised. Attention's own products, softmax, norms, embeddings and everything narrow (numbers,
counters, the last layer) stay in fp32, and so do all inputs and outputs.

Ranges are fixed here, from real requests. A dynamic range would be that of a whole batch, so that a candidate's score would depend on its
batch mates. Weights use 7 bits: the sum of two products of u8 and s8 then always fits the 16 bits in which CPUs without VNNI take it and
saturate otherwise, so integer kernels give the same sums on every CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnx import ModelProto, NodeProto
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from shortlist.errors import ExportError
from shortlist.export.onnx_export import check
from shortlist.export.tables import Tensors

# Narrower products are no faster in int8, and what they carry (a price, a counter, the logits) is where precision matters.
NARROW = 8


def quantise(name: str, data: bytes, feeds: Sequence[Tensors]) -> bytes:
    """The graph in int8; each activation's range spans what `feeds`, inputs of real requests, give. Equal inputs give equal bytes.

    Raises ExportError.
    """
    model = onnx.load_from_string(data)
    products = [node.name for node in weight_products(model)]
    if not products:
        raise ExportError(f"graph {name} has nothing to quantise", why=f"no product has a constant weight of {NARROW} or wider")
    if not feeds:
        raise ExportError(f"graph {name} cannot be calibrated", why="no request reached it", fix="give requests that it answers")
    try:
        with TemporaryDirectory(prefix="shortlist-int8-") as scratch, _quiet():
            out = Path(scratch) / "int8.onnx"
            quantize_static(
                model,
                out,
                _Feeds(feeds),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=["MatMul", "Gemm"],
                nodes_to_quantize=products,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                extra_options={"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]},  # sums are not rounded again
            )
            quantised = onnx.load(out)
    except Exception as error:
        raise ExportError(f"graph {name} cannot be quantised", why=str(error)) from error
    quantised.producer_name, quantised.producer_version = model.producer_name, model.producer_version
    del quantised.metadata_props[:]
    del quantised.graph.value_info[:]
    check(name, quantised)
    return quantised.SerializeToString(deterministic=True)


def weight_products(model: ModelProto) -> list[NodeProto]:
    """The MatMul and Gemm nodes with a constant weight that is wide on both sides, in the order of the graph."""
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [
        node
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and len(shape := shapes.get(node.input[1], ())) == 2 and min(shape) >= NARROW
    ]


class _Feeds(CalibrationDataReader):  # type: ignore[misc]  # the library has no types
    """Recorded inputs of one graph, one run after the other."""

    def __init__(self, feeds: Sequence[Tensors]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> Tensors | None:
        return next(self._feeds, None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silences the library, which advises a preprocessing that the exporter's graphs do not need. `check` judges the result."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
