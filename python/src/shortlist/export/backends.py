"""Whatever executes the graphs of a release: PyTorch modules (the reference) or ONNX Runtime sessions (what servers run)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import onnxruntime
import torch

from shortlist.errors import ExportError
from shortlist.export.graphs import FunnelModels, Signature, graph_modules, signatures
from shortlist.export.tables import Array, Tensors


class Graphs(Protocol):
    """Runs graphs by name."""

    def no_past(self, name: str, batch: int) -> Tensors:
        """The past that `sequence_encoder` or `history_encoder` takes for histories of which nothing is encoded yet."""
        ...

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        """All outputs of a graph by name. `inputs` may hold more than the graph takes."""
        ...


class TorchGraphs:
    """Eager PyTorch in fp32 on the CPU, one thread: what golden tensors come from."""

    def __init__(self, models: FunnelModels) -> None:
        self._signatures = signatures(models)
        self._modules = graph_modules(models)

    def no_past(self, name: str, batch: int) -> Tensors:
        return no_past({spec.name: spec.shape for spec in self._signatures[name].inputs}, batch)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        signature = self._signatures[name]
        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])).to(spec.dtype) for spec in signature.inputs]
        with torch.inference_mode():
            outputs = self._modules[name](*tensors)
        return {spec.name: output.contiguous().numpy() for spec, output in zip(signature.outputs, outputs, strict=True)}


class OrtGraphs:
    """ONNX Runtime on the CPU, one thread per session. `literal` runs every node of a graph as it stands, none fused with another."""

    def __init__(self, graphs: Mapping[str, bytes], *, literal: bool = False) -> None:
        self._sessions = {name: ort_session(data, name, literal=literal) for name, data in graphs.items()}

    def no_past(self, name: str, batch: int) -> Tensors:
        return no_past({value.name: value.shape for value in self._sessions[name].get_inputs()}, batch)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        session = self._sessions[name]
        feeds = {value.name: inputs[value.name] for value in session.get_inputs()}
        names = [value.name for value in session.get_outputs()]
        try:
            return dict(zip(names, session.run(names, feeds), strict=True))
        except Exception as error:
            shapes = {key: list(value.shape) for key, value in feeds.items()}
            raise ExportError(f"graph {name} failed with inputs {shapes}", why=str(error)) from error


class RecordedGraphs:
    """Another backend that also keeps what each graph was fed."""

    def __init__(self, graphs: Graphs, signatures: Mapping[str, Signature]) -> None:
        self._graphs, self._signatures = graphs, signatures
        self.feeds: dict[str, list[Tensors]] = {name: [] for name in signatures}

    def no_past(self, name: str, batch: int) -> Tensors:
        return self._graphs.no_past(name, batch)

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        self.feeds[name].append({spec.name: inputs[spec.name] for spec in self._signatures[name].inputs})
        return self._graphs.run(name, inputs)


def no_past(shapes: Mapping[str, Sequence[str | int]], batch: int) -> Tensors:
    """Zeros for the inputs named past_*: P is 0."""
    sizes = {"B": batch, "P": 0}
    return {
        name: np.zeros([sizes[size] if isinstance(size, str) else size for size in shape], dtype=np.float32)
        for name, shape in shapes.items()
        if name.startswith("past_")
    }


def ort_session(data: bytes, name: str = "", *, literal: bool = False) -> onnxruntime.InferenceSession:
    """A graph in ONNX Runtime on the CPU with one thread. Raises ExportError."""
    options = onnxruntime.SessionOptions()
    if literal:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors
    try:
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise ExportError(f"graph {name} cannot be loaded by ONNX Runtime {onnxruntime.__version__}", why=str(error)) from error
