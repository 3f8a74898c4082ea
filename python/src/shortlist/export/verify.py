"""Verifies a release directory: digests, valid graphs, the laws, and parity of ONNX Runtime with PyTorch's stored answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx

from shortlist.errors import ExportError
from shortlist.export import reader
from shortlist.export.backends import OrtGraphs
from shortlist.export.compare import tensor_violation
from shortlist.export.laws import check_laws
from shortlist.export.layout import small_vectors_path
from shortlist.export.onnx_export import check
from shortlist.export.parity import check_parity
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.small_vectors import misfit
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb


@dataclass(frozen=True)
class Report:
    """What verification found. `violations` are complete sentences; none means that the release proved itself."""

    release_id: str
    cases: int
    violations: tuple[str, ...]
    worst_ratio: float  # largest |difference| / tolerance
    worst_at: str

    @property
    def passed(self) -> bool:
        return not self.violations


def verify(directory: Path) -> Report:
    """Raises BundleError when the directory cannot be trusted at all; everything else is in the report."""
    bundle = reader.read(directory)
    described = (*bundle.manifest.graphs, *bundle.manifest.extra_graphs)
    every = bundle.graphs | bundle.extra_graphs
    violations = [message for graph in described for message in _graph_violations(graph, every[graph.name])]
    if violations:
        return Report(bundle.manifest.release_id, 0, tuple(violations), 0.0, "")
    try:
        graphs = OrtGraphs(bundle.graphs)
        funnel = ReferenceFunnel(bundle.content, graphs)
        for name, got, want in (
            ("retrieval_vector", funnel.item_vectors, bundle.item_vectors),
            ("ranker_token", funnel.item_tokens, bundle.item_tokens),
        ):
            if (message := tensor_violation(got, want, bundle.tolerance)) is not None:
                violations.append(f"index/items.safetensors, tensor {name}: item_encoder disagrees: {message}")
        for kind, small in bundle.small_vectors.items():
            if (ratio := misfit(small, bundle.item_vectors)) > 1.001:  # rounding differs between machines
                violations.append(f"{small_vectors_path(kind)} is off by {ratio:.3g} half steps: it holds codes of other vectors")
        broken = check_laws(graphs, bundle.content.schema, tolerance=bundle.tolerance)
    except ExportError as error:
        return Report(bundle.manifest.release_id, 0, (str(error),), 0.0, "")
    violations += [f"law {law.law!r} is broken by graph {law.graph}, tensor {law.tensor}: {law.message}" for law in broken]
    parity = check_parity(funnel, bundle.golden, bundle.golden_tensors, bundle.tolerance)
    violations += [str(violation) for violation in parity.violations]
    return Report(bundle.manifest.release_id, parity.cases, tuple(violations), parity.worst_ratio, parity.worst_at)


def _graph_violations(graph: pb.Graph, data: bytes) -> list[str]:
    """Is the graph valid ONNX, with the inputs and outputs that the manifest promises?"""
    try:
        model = onnx.load_from_string(data)
        check(graph.name, model)
    except ExportError as error:
        return [str(error)]
    except Exception as error:  # the parser's error has no public type
        return [f"graph {graph.name} is not an ONNX file: {error}"]
    found = []
    for side, values, specs in (("input", model.graph.input, graph.inputs), ("output", model.graph.output, graph.outputs)):
        names, promised = [value.name for value in values], [spec.name for spec in specs]
        if names != promised:
            found.append(f"graph {graph.name} has the {side}s {names}, the manifest says {promised}")
    return found
