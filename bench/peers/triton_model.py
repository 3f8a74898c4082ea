"""Triton's Python backend running `rank_ids` on ONNX Runtime with one thread: copied into a model repository by `triton.py`.

The backend's interpreter starts without the environment that it belongs to: a file beside this one names its folder of packages.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, Path(__file__).with_name("packages").read_text())

import onnxruntime
import triton_python_backend_utils as triton  # the backend brings it


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(Path(__file__).with_name("graph.onnx")), options, providers=["CPUExecutionProvider"]
        )
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]

    def execute(self, requests: list) -> list:
        return [self.answer(request) for request in requests]

    def answer(self, request: object) -> object:
        feeds = {name: triton.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
        values = self.session.run(self.outputs, feeds)
        return triton.InferenceResponse([triton.Tensor(name, value) for name, value in zip(self.outputs, values, strict=True)])
