"""`make export`: a trained funnel becomes a release, or is refused with every reason at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from shortlist.data.dataset import Dataset
from shortlist.errors import GateError
from shortlist.export import layout, writer
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.compare import Tolerance
from shortlist.export.content import Content
from shortlist.export.gates import NEVER_OVERRIDDEN, gate
from shortlist.export.golden import RequestMaker, answers
from shortlist.export.graphs import ExtraGraph, FunnelModels, signatures
from shortlist.export.histograms import histograms
from shortlist.export.hnsw import HnswConfig
from shortlist.export.hnsw_draft import add_hnsw
from shortlist.export.laws import check_laws
from shortlist.export.model_card import model_card
from shortlist.export.onnx_export import export_graphs
from shortlist.export.parity import check_parity
from shortlist.export.precision import FP32, Precision, reduce_draft
from shortlist.export.queries import ItemId
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.small_vectors import check_kinds
from shortlist.export.verify import verify
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class ReleasePlan:
    """What to release. `gates` are those that training and evaluation decided; export adds its own."""

    name: str
    dataset: Dataset
    content: Content
    models: FunnelModels
    lineage: pb.Lineage
    metrics: Sequence[pb.Metric] = ()
    gates: Sequence[pb.Gate] = ()
    facts: Mapping[str, int] = field(default_factory=dict)  # counts of the data, for the model card
    calibration: Mapping[str, Any] = field(default_factory=dict)  # what training recorded of it, for the model card
    golden_cases: int = 32
    warmup_requests: int = 200
    seed: int = 0
    precision: Precision = field(default_factory=Precision)
    small_vectors: Sequence[str] = ()  # kinds of small_vectors.py to store beside the fp32 ones
    hnsw: HnswConfig = field(default_factory=HnswConfig)  # for sources with the index INDEX_HNSW
    extra_graphs: Mapping[str, ExtraGraph] = field(default_factory=dict)
    held_out: Sequence[tuple[ItemId, int]] = ()  # users, and the number of their events before one that no model trained on


def export_release(plan: ReleasePlan, repository: Path, *, override: Sequence[str] = (), created: datetime | None = None) -> Path:
    """Exports, proves and publishes a release, and points `current` at it. `override` names quality gates that may fail.

    Raises GateError that lists all failed gates; then nothing is published.
    """
    draft = prove(plan)
    draft = replace(draft, gates=judge(draft.gates, override))
    draft = replace(draft, model_card=card_of(draft, plan))
    with writer.staged(repository, draft, created or writer.creation_time()) as directory:
        report = verify(directory)
        if not report.passed:
            raise GateError(
                f"the written bundle failed {len(report.violations)} checks",
                why="failed:" + "".join(f"\n  - {violation}" for violation in report.violations[:20]),
                fix="memory passed the same checks, so look at the disk",
            )
        final = writer.publish(directory)
    layout.set_current(final.parent, final.name)
    return final


def prove(plan: ReleasePlan) -> writer.Draft:
    """All files of the release in memory, with the gates of laws, parity and precision decided. Publishes nothing."""
    plan.precision.reduced()  # a wrong setting is refused before the work
    check_kinds(plan.small_vectors)
    plan.hnsw.check()
    draft, maker = _prove_fp32(plan)
    if not all(one.passed for one in draft.gates if one.name in NEVER_OVERRIDDEN):
        return draft  # graphs that are wrong in fp32 are refused as they are
    if plan.precision.kind != FP32:
        draft = reduce_draft(draft, plan.precision, maker, plan.held_out)
    return add_hnsw(draft, plan.hnsw, maker, plan.held_out, plan.seed)


def _prove_fp32(plan: ReleasePlan) -> tuple[writer.Draft, RequestMaker]:
    content = plan.content
    content.check()
    reference = ReferenceFunnel(content, TorchGraphs(plan.models))
    maker = RequestMaker(plan.dataset, content, plan.seed)
    golden, warmup = maker.golden(plan.golden_cases), maker.real(plan.warmup_requests)
    golden_tensors = answers(golden, reference)

    graphs = export_graphs(plan.models)
    served = OrtGraphs(graphs)
    broken = check_laws(served, content.schema)
    funnel = ReferenceFunnel(content, served)
    parity = check_parity(funnel, golden, golden_tensors, Tolerance())
    own = (
        gate("laws", [f"{law.law} by {law.graph}, {law.tensor}: {law.message}" for law in broken], "all hold on ONNX Runtime"),
        gate(
            "parity",
            [str(violation) for violation in parity.violations],
            f"{parity.cases} cases; worst {parity.worst_ratio:.3f} of the tolerance at {parity.worst_at}",
        ),
    )
    draft = writer.Draft(
        name=plan.name,
        content=content,
        graphs=graphs,
        signatures=signatures(plan.models),
        item_vectors=reference.item_vectors,
        item_tokens=reference.item_tokens,
        golden=golden,
        golden_tensors=golden_tensors,
        warmup=warmup,
        histograms=histograms(funnel, warmup),
        model_card="",
        lineage=plan.lineage,
        metrics=plan.metrics,
        gates=(*plan.gates, *own),
        small_vectors=plan.small_vectors,
        extra_graphs=plan.extra_graphs,
    )
    return draft, maker


def card_of(draft: writer.Draft, plan: ReleasePlan) -> str:
    return model_card(
        name=draft.name,
        content=draft.content,
        graphs=draft.graphs,
        signatures=draft.signatures,
        facts=plan.facts,
        metrics=draft.metrics,
        gates=draft.gates,
        lineage=draft.lineage,
        histograms=draft.histograms,
        calibration=plan.calibration,
    )


def judge(gates: Sequence[pb.Gate], override: Sequence[str]) -> tuple[pb.Gate, ...]:
    """The gates with `overridden` set, which `NEVER_OVERRIDDEN` are not. Raises GateError that lists every gate that failed."""
    judged = []
    for one in gates:
        overridden = not one.passed and one.name in override and one.name not in NEVER_OVERRIDDEN
        judged.append(pb.Gate(name=one.name, passed=one.passed, overridden=overridden, detail=one.detail))
    failed = [one for one in judged if not one.passed and not one.overridden]
    if failed:
        raise GateError(
            f"the release was refused by {len(failed)} of {len(judged)} gates",
            why="failed:" + "".join(f"\n  - {one.name}: {one.detail}" for one in failed),
            fix=f"train a better model, or name quality gates in `override` to release all the same (never {', '.join(NEVER_OVERRIDDEN)})",
        )
    return tuple(judged)
