"""A proved fp32 release in lower precision: reduced graphs, golden answers of their own, and the gates that it must pass for that.

docs/bundle.md, "Precision", and docs/adr/ say how such a release proves itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shortlist.errors import ConfigError
from shortlist.export import fidelity as law
from shortlist.export.backends import OrtGraphs, RecordedGraphs
from shortlist.export.compare import Tolerance
from shortlist.export.fidelity import Fidelity, fidelity, orders
from shortlist.export.fp16 import halve
from shortlist.export.gates import gate
from shortlist.export.golden import RequestMaker, answers
from shortlist.export.int8 import quantise
from shortlist.export.laws import check_laws
from shortlist.export.parity import check_parity
from shortlist.export.queries import ItemId
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Ints, Tensors
from shortlist.export.writer import Draft
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

FP32 = "fp32"
# The graphs that may be reduced, and are by default. item_encoder runs when the catalog changes, never per request: in int8 it would spend
# accuracy of every item for nothing. preranker is a dot product, index decides exactly.
REDUCIBLE = {kind: ("sequence_encoder", "query_encoder", "history_encoder", "ranker", "item_encoder") for kind in ("int8", "fp16")}
DEFAULT = {"int8": REDUCIBLE["int8"][:-1], "fp16": REDUCIBLE["fp16"]}
TOLERANCES = {
    "int8": Tolerance(
        0.01,
        0.01,
        "int8: where fp32 rounding differs, an activation may fall into the next of 256 steps, which moves what follows by some steps; "
        "golden tensors are ONNX Runtime's answers on these graphs",
    ),
    "fp16": Tolerance(
        0.005,
        0.005,
        "fp16: 11 bits of mantissa, and kernels round between other operations; golden tensors are ONNX Runtime's answers on these graphs",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """`kind` is fp32, int8 or fp16; `graphs` those to reduce (empty: the default of the kind).

    `calibration` requests set the ranges of int8, `judged` others decide whether the release ranks as fp32 does.
    """

    kind: str = FP32
    graphs: tuple[str, ...] = ()
    calibration: int = 200
    judged: int = 500

    def reduced(self) -> tuple[str, ...]:
        """The graphs to reduce. Raises ConfigError."""
        if self.kind == FP32:
            if self.graphs:
                raise ConfigError(
                    f"graphs {list(self.graphs)} are given", why="fp32 reduces none", fix="ask for int8 or fp16, or leave out graphs"
                )
            return ()
        if self.kind not in REDUCIBLE:
            raise ConfigError(f"precision is {self.kind!r}", fix=f"choose {FP32}, {' or '.join(REDUCIBLE)}")
        if unknown := [graph for graph in self.graphs if graph not in REDUCIBLE[self.kind]]:
            raise ConfigError(f"graph {unknown[0]!r} cannot be {self.kind}", fix=f"choose of {list(REDUCIBLE[self.kind])}")
        chosen = self.graphs or DEFAULT[self.kind]
        return tuple(graph for graph in REDUCIBLE[self.kind] if graph in chosen)


@dataclass(frozen=True)
class Reduced:
    """What reducing made and what it costs. `alone` is what each graph costs by itself."""

    graphs: dict[str, bytes]  # the reduced ones
    together: Fidelity
    alone: Mapping[str, Fidelity] = field(default_factory=dict)


def reduce_draft(draft: Draft, precision: Precision, maker: RequestMaker, held_out: Sequence[tuple[ItemId, int]]) -> Draft:
    """The draft in lower precision, with the gates `precision` and `reproduction` decided and its laws checked again."""
    reduced = reduce_graphs(draft, precision, maker, held_out)
    graphs = {**draft.graphs, **reduced.graphs}
    tolerance = TOLERANCES[precision.kind]
    served = OrtGraphs(graphs)
    funnel = ReferenceFunnel(draft.content, served)
    golden_tensors = answers(draft.golden, funnel)
    broken = check_laws(served, draft.content.schema, tolerance=tolerance)
    literal = ReferenceFunnel(draft.content, OrtGraphs(graphs, literal=True))
    again = check_parity(literal, draft.golden, golden_tensors, tolerance)
    return replace(
        draft,
        graphs=graphs,
        item_vectors=funnel.item_vectors,
        item_tokens=funnel.item_tokens,
        golden_tensors=golden_tensors,
        tolerance=tolerance,
        metrics=(*draft.metrics, *figures(precision.kind, reduced)),
        gates=(
            *(one for one in draft.gates if one.name != "laws"),
            gate(
                "laws",
                [f"{one.law} by {one.graph}, {one.tensor}: {one.message}" for one in broken],
                "all hold on ONNX Runtime within the release's tolerance",
            ),
            pb.Gate(name="precision", passed=reduced.together.passed, detail=verdict(precision.kind, reduced)),
            gate(
                "reproduction",
                [str(violation) for violation in again.violations],
                f"unfused kernels answer alike: worst {again.worst_ratio:.3f} of the tolerance at {again.worst_at}",
            ),
        ),
    )


def reduce_graphs(draft: Draft, precision: Precision, maker: RequestMaker, held_out: Sequence[tuple[ItemId, int]]) -> Reduced:
    """Reduces the graphs of an fp32 draft and measures all of them together and each alone. Raises ConfigError and ExportError."""
    names = precision.reduced()
    feeds = calibration(draft, maker.real(precision.calibration, stream=3)) if precision.kind == "int8" else {}
    graphs = {
        name: quantise(name, draft.graphs[name], feeds[name]) if precision.kind == "int8" else halve(name, draft.graphs[name])
        for name in names
    }
    sets = {"": graphs} | {name: {name: data} for name, data in graphs.items()}
    measured = measure(draft, sets, maker, held_out, precision.judged)
    return Reduced(graphs, measured.pop(""), measured)


def measure(
    draft: Draft, sets: Mapping[str, Mapping[str, bytes]], maker: RequestMaker, held_out: Sequence[tuple[ItemId, int]], judged: int
) -> dict[str, Fidelity]:
    """What each set of reduced graphs costs a draft whose own graphs are fp32, over the same requests."""
    requests = maker.held_out(held_out, judged)
    rows = {item: row for row, item in enumerate(draft.content.catalog.ids)}
    targets = [rows.get(item, -1) for _, item in requests]

    def answer(changed: Mapping[str, bytes]) -> list[Ints]:
        return orders(ReferenceFunnel(draft.content, OrtGraphs({**draft.graphs, **changed})), requests)

    exact = answer({})
    return {label: fidelity(exact, answer(changed), targets) for label, changed in sets.items()}


def calibration(draft: Draft, requests: Sequence[wire.RecommendRequest]) -> dict[str, list[Tensors]]:
    """What every graph is fed while the fp32 funnel answers the requests."""
    recorded = RecordedGraphs(OrtGraphs(draft.graphs), draft.signatures)
    funnel = ReferenceFunnel(draft.content, recorded)
    for request in requests:
        funnel.run(request)
    return recorded.feeds


def verdict(kind: str, reduced: Reduced) -> str:
    """The figures as one sentence; where they do not suffice, it says which graphs are to blame and what may be released instead."""
    text = (
        f"{kind} {', '.join(reduced.graphs)}: {reduced.together} over {reduced.together.requests} requests, "
        f"at least {law.LEAST_OVERLAP}, at most {law.GREATEST_LOSS} and {law.LEAST_REQUESTS} requests are asked"
    )
    if len(reduced.alone) > 1:
        text += "; alone: " + "; ".join(f"{name} {one}" for name, one in reduced.alone.items())
    if reduced.together.passed:
        return text
    good = [name for name, one in reduced.alone.items() if one.passed]
    if len(good) == len(reduced.alone):  # no graph alone costs too much, but their sum does: leave out the dearest
        good.remove(min(good, key=lambda name: reduced.alone[name].overlap))
    advice = f"try {' '.join(f'--graph {name}' for name in good)}" if good else "release in fp32"
    return f"{text}; to blame: {', '.join(name for name in reduced.alone if name not in good)}; {advice}"


def figures(kind: str, reduced: Reduced) -> list[pb.Metric]:
    """The figures as metrics of the manifest: model "funnel int8" is all graphs together, "ranker int8" one of them alone."""
    measured = {f"funnel {kind}": reduced.together} | {f"{name} {kind}": one for name, one in reduced.alone.items()}
    return [
        pb.Metric(model=model, name=name, split="validation", value=value)
        for model, one in measured.items()
        for name, value in (
            (f"overlap@{law.TOP}", one.overlap),
            (f"ndcg@{law.TOP}", one.ndcg),
            (f"ndcg@{law.TOP} loss", one.loss),
            ("requests", float(one.requests)),
        )
    ]
