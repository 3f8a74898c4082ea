"""An int8 release proves itself on the service as an fp32 one does, and a spoilt one is refused by both languages."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from badinput.spoil import Spoiler, beside
from onnx import numpy_helper

from cases.worlds import WORLDS
from conftest import toy_model
from harness import library
from shortlist.export import layout
from shortlist.export.precision import Precision
from shortlist.export.verify import verify
from shortlist.testing.toy import ToyConfig

INT8 = ToyConfig(
    name="small",
    data=WORLDS["small"],
    warmup_requests=8,
    precision=Precision(kind="int8", graphs=("history_encoder", "ranker"), calibration=40, judged=120),
    small_vectors=("int8", "int4"),
)


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A copy of the int8 release that a test may spoil."""
    return layout.current(Path(shutil.copytree(toy_model(INT8), tmp_path / "small")))


def verified(binaries: Path, release: Path) -> subprocess.CompletedProcess[str]:
    command = [str(binaries / "shortlistd"), f"-runtime.library={library()}", "verify", str(release)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_service_reproduces_it(binaries: Path, release: Path) -> None:
    done = verified(binaries, release)
    assert done.returncode == 0, done.stdout + done.stderr
    assert verify(release).violations == ()


def coarser(release: Path, manifest: dict[str, Any]) -> None:
    """The first weight of the ranker with scales that do not belong to it. Biases do not count: ONNX Runtime never reads their scales."""
    path = release / layout.graph_path("ranker")
    model = onnx.load(path)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    matrices = {name for name, tensor in tensors.items() if len(tensor.dims) == 2}
    scale = next(tensors[n.input[1]] for n in model.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in matrices)
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.5), scale.name))
    path.write_bytes(model.SerializeToString())


def test_wrong_scales_are_found_by_the_golden_answers(binaries: Path, release: Path) -> None:
    spoilt = release.parent / beside(release, Spoiler("scales", coarser, ("logits",), sealed=True), day=1)
    done = verified(binaries, spoilt)
    assert done.returncode == 1
    assert "logits" in done.stdout + done.stderr
    assert any("logits" in violation for violation in verify(spoilt).violations)
