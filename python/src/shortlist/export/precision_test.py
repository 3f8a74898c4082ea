"""A release of low precision proves itself, is refused with figures and the graph to blame, and once spoiled is found out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from shortlist.errors import ConfigError, GateError
from shortlist.export import release, writer
from shortlist.export.backends import OrtGraphs
from shortlist.export.fidelity import Fidelity
from shortlist.export.golden import RequestMaker
from shortlist.export.parity import check_parity
from shortlist.export.precision import TOLERANCES, Precision, Reduced, figures, reduce_draft, verdict
from shortlist.export.reader import read
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.verify import verify

CREATED = datetime(2026, 1, 1, tzinfo=UTC)
INT8 = Precision(kind="int8", graphs=("history_encoder", "ranker"), calibration=20, judged=120)
GOOD = Fidelity(requests=500, overlap=0.995, exact_ndcg=0.2, ndcg=0.2)
BAD = Fidelity(requests=500, overlap=0.97, exact_ndcg=0.2, ndcg=0.19)


@pytest.fixture(scope="module")
def reduced(plan: release.ReleasePlan, draft: writer.Draft) -> writer.Draft:
    made = reduce_draft(draft, INT8, RequestMaker(plan.dataset, plan.content), ())
    return replace(made, small_vectors=("int8", "int4"))


def test_an_int8_release_verifies(reduced: writer.Draft, draft: writer.Draft, tmp_path: Path) -> None:
    gates = {one.name: one for one in reduced.gates}
    assert {name for name, one in gates.items() if one.passed} == {"laws", "parity", "precision", "reproduction"}
    assert "120 requests" in gates["precision"].detail
    with writer.staged(tmp_path, reduced, CREATED) as directory:
        report, bundle = verify(directory), read(directory)
    assert report.violations == ()
    assert bundle.tolerance.absolute == TOLERANCES["int8"].absolute
    assert bundle.manifest.tolerance.reason.startswith("int8: ")
    changed = {name for name, data in draft.graphs.items() if bundle.graphs[name] != data}
    assert changed == {"history_encoder", "ranker"}
    measured = {(one.model, one.name): one.value for one in bundle.manifest.metrics}
    assert measured["funnel int8", "overlap@10"] >= 0.99
    assert ("ranker int8", "ndcg@10 loss") in measured
    assert set(bundle.small_vectors) == {"int8", "int4"}


def test_a_spoiled_int8_release_is_refused(reduced: writer.Draft, tmp_path: Path) -> None:
    """The scales of one weight: digests are those of the spoiled file, so only the golden answers can tell."""
    model = onnx.load_from_string(reduced.graphs["ranker"])
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    # Not a bias: ONNX Runtime adds it in the scale of the product, and never reads its own.
    matrices = {name for name, tensor in tensors.items() if len(tensor.dims) == 2}
    weights = [node for node in model.graph.node if node.op_type == "DequantizeLinear" and node.input[0] in matrices]
    scale = tensors[weights[0].input[1]]
    scale.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(scale) * np.float32(1.5), scale.name))
    spoiled = replace(reduced, graphs={**reduced.graphs, "ranker": model.SerializeToString(deterministic=True)})
    with writer.staged(tmp_path, spoiled, CREATED) as directory:
        violations = verify(directory).violations
    assert violations
    assert all("logits" in violation or "end to end" in violation for violation in violations)


def test_codes_of_other_vectors_are_found(reduced: writer.Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "small_vectors", lambda kind, vectors, made=writer.small_vectors: made(kind, vectors[::-1].copy()))
    with writer.staged(tmp_path, reduced, CREATED) as directory:
        violations = verify(directory).violations
    assert [violation.split()[0] for violation in violations] == ["index/int8.safetensors", "index/int4.safetensors"]


def test_counters_are_held_to_fp32_in_every_precision(reduced: writer.Draft) -> None:
    funnel = ReferenceFunnel(reduced.content, OrtGraphs(reduced.graphs))
    wrong = {name: value + np.float32(1e-3) if name == "3/cross" else value for name, value in reduced.golden_tensors.items()}
    tensors = {f"0/{name.removeprefix('3/')}": value for name, value in wrong.items() if name.startswith("3/")}
    violations = check_parity(funnel, [reduced.golden[3]], tensors, reduced.tolerance).violations
    assert "cross" in {violation.tensor for violation in violations}


def test_a_failed_precision_is_refused_with_figures_and_blame(reduced: writer.Draft) -> None:
    measured = Reduced({"history_encoder": b"", "ranker": b""}, BAD, {"history_encoder": GOOD, "ranker": BAD})
    text = verdict("int8", measured)
    assert "overlap@10 0.9700, NDCG@10 0.1900 against 0.2000 (loss +0.0100) over 500 requests" in text
    assert text.endswith("to blame: ranker; try --graph history_encoder")
    assert {(one.model, one.name): one.value for one in figures("int8", measured)}["ranker int8", "overlap@10"] == 0.97
    gates = [one for one in reduced.gates if one.name != "precision"]
    failed = release.pb.Gate(name="precision", passed=False, detail=text)
    with pytest.raises(GateError, match="to blame: ranker"):
        release.judge([*gates, failed], ["precision"])


def test_graphs_that_pass_alone_only(reduced: writer.Draft) -> None:
    worse = replace(GOOD, overlap=0.991)
    assert verdict("fp16", Reduced({"a": b"", "b": b""}, BAD, {"a": GOOD, "b": worse})).endswith("to blame: b; try --graph a")
    assert verdict("fp16", Reduced({"a": b""}, BAD, {"a": BAD})).endswith("to blame: a; release in fp32")


def test_wrong_settings_are_refused() -> None:
    with pytest.raises(ConfigError, match="'int4'"):
        Precision(kind="int4").reduced()
    with pytest.raises(ConfigError, match="'preranker' cannot be int8"):
        Precision(kind="int8", graphs=("preranker",)).reduced()
    with pytest.raises(ConfigError, match="fp32 reduces none"):
        Precision(graphs=("ranker",)).reduced()
    assert Precision(kind="int8", graphs=("ranker", "query_encoder")).reduced() == ("query_encoder", "ranker")
    assert Precision().reduced() == ()
