"""What executes the graphs for the Python peers: ONNX Runtime on the release's graphs, or PyTorch on the modules that they came from."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from peers.funnel import PeerFunnel
from shortlist.export.backends import Graphs, OrtGraphs, TorchGraphs
from shortlist.export.graphs import NOT_ALLOWED, FunnelModels
from shortlist.export.layout import current
from shortlist.export.reader import Bundle, read
from shortlist.export.tables import Array, Tensors

ENGINES = ("ort", "torch")


class TorchEngine(TorchGraphs):
    """Eager PyTorch without gradients, one thread; retrieval by `topk` where the reference sorts the whole catalog."""

    def run(self, name: str, inputs: Mapping[str, Array]) -> Tensors:
        return nearest(inputs) if name == "index" else super().run(name, inputs)


def nearest(inputs: Mapping[str, Array]) -> Tensors:
    """The `index` graph: equal scores at the cut are in no order, and the caller's tie rule decides among those that are in."""
    with torch.inference_mode():
        scores = torch.from_numpy(inputs["item_vectors"]) @ torch.from_numpy(inputs["query_vectors"][0, 0])
        scores = torch.where(torch.from_numpy(inputs["allowed"][0]), scores, NOT_ALLOWED)
        best = scores.topk(int(inputs["k"][0]))
    return {"rows": best.indices.numpy()[np.newaxis], "scores": best.values.numpy()[np.newaxis]}


def engine(name: str, bundle: Bundle) -> Graphs:
    if name == "ort":
        return OrtGraphs(bundle.graphs)
    torch.set_num_threads(1)
    return TorchEngine(bench_models(bundle))


def bench_models(bundle: Bundle) -> FunnelModels:
    """The modules that bench/make_bundle.py exported; the parity check refuses them for any other release."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import make_bundle

    return make_bundle.models(bundle.content.schema)


def load(model: Path, name: str) -> PeerFunnel:
    """The peer over the release that models/<name>/current names."""
    bundle = read(current(model))
    return PeerFunnel(bundle.manifest.release_id, bundle.content, engine(name, bundle))
