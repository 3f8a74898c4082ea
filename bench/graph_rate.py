"""How fast the ranker's graphs run, as a share of this machine's own arithmetic, and where the rest of the time goes.

    taskset -c 0 python bench/graph_rate.py                # the bars, about two minutes
    taskset -c 0 python bench/graph_rate.py --all          # and chunks, heads, the other graphs, and variants that were rejected

The rate of a graph is the floating-point operations of its model (products only, as the model is defined: a product that the graph saves by
rearranging counts all the same, as in model FLOPs utilisation) per CPU second of one thread. The machine's rate is ONNX Runtime's own fp32
product of square matrices, the best of three sizes, in the same rounds. Writes reports/graph_rate_HARDWARE_DATE.md.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from unittest import mock

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from report import ROOT, Section, machine, write_report
from shortlist.export.backends import no_past
from shortlist.export.graphs import FunnelModels, graph_modules, signatures
from shortlist.export.int8 import quantise
from shortlist.export.laws import random_columns, random_history
from shortlist.export.onnx_export import IR_VERSION, OPSET, export_graph
from shortlist.export.tables import Tensors
from shortlist.models.blocks import Activation, attend
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import Schema
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset

EVENTS, CANDIDATES, LAYERS, RATIO = 200, 1000, 2, 2
SQUARES = (1024, 1536, 2048)
Attend = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def unmasked(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    logits = torch.matmul(query * query.shape[-1] ** -0.5, keys.transpose(-1, -2))
    return torch.matmul(logits.softmax(dim=-1), values)


def operator(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> Tensor:
    return functional.scaled_dot_product_attention(query, keys, values)


# Rejected for the release: both serve only histories without padding, and a batch of requests pads.
REJECTED: dict[str, Attend] = {"no mask": unmasked, "one Attention operator, no mask": operator}


@dataclass(frozen=True, slots=True)
class Case:
    """One graph at one size. `bar` is the least ratio that is promised; 0: none."""

    graph: str = "ranker"
    width: int = 64
    heads: int = 1
    activation: Activation = "relu"
    candidates: int = CANDIDATES
    precision: str = "fp32"
    variant: str = ""
    bar: float = 0.0

    def __str__(self) -> str:
        size = f"M={self.candidates}" if self.graph in ("ranker", "preranker") else f"N={EVENTS}"
        words = [f"D={self.width}", f"heads {self.heads}", self.activation] if self.graph in ("ranker", "history_encoder") else []
        return ", ".join([self.graph, *words, size, self.precision, *([self.variant] if self.variant else [])])


BARS = [Case(bar=0.6), Case(activation="gelu", bar=0.6), Case(precision="int8", bar=1.0), Case(width=128, bar=0.75)]
MORE = [
    *(
        Case(width=width, heads=heads, activation="gelu", precision=kind)
        for width in (64, 128)
        for heads in (2, 4)
        for kind in ("fp32", "int8")
    ),
    *(Case(candidates=count) for count in (128, 256, 512)),
    *(Case(variant=variant) for variant in REJECTED),
    *(Case(graph=name, activation="gelu") for name in ("history_encoder", "sequence_encoder", "query_encoder", "preranker")),
]


@dataclass
class Subject:
    """A session with its inputs; `run` does the work once. `flops` as the model is defined, `executed` as the graph does them."""

    name: str
    run: Callable[[], object]
    flops: float
    executed: float
    profile: Callable[[], dict[str, float]] | None = None
    bar: float = 0.0
    seconds: list[float] = field(default_factory=list)  # CPU, the median of each round


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=0.1, help="of the clock, for each subject in each round")
    parser.add_argument("--reports", type=Path, default=ROOT / "bench/reports")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    facts = machine(ROOT / "models/toy")[:-1]  # the release does not matter
    schema = toy_dataset(ToyDataConfig(items=500, users=50, events=1000, item_id="int64")).schema
    squares = [square(size) for size in SQUARES]
    a = torch.rand(SQUARES[0], SQUARES[0])
    torch_square = Subject(f"PyTorch, {SQUARES[0]} x {SQUARES[0]}", lambda: torch.mm(a, a), 2 * len(a) ** 3, 2 * len(a) ** 3)
    subjects = [subject(case, schema) for case in BARS + (MORE if arguments.all else [])]
    everything = [*squares, torch_square, *subjects]
    for _ in range(arguments.rounds):
        for one in everything:
            one.seconds.append(timed(one.run, arguments.seconds))
    best = max(squares, key=lambda one: one.flops / median(one.seconds))
    sections = [rates([*squares, torch_square]), ratios(subjects, best), *(shares(one) for one in subjects[: len(BARS)])]
    for section in sections:
        print(f"\n## {section.title}", *section.lines, sep="\n")
    print(f"\nreport: {write_report(arguments.reports, 'graph_rate', facts, sections)}")


def timed(run: Callable[[], object], seconds: float) -> float:
    """The median CPU seconds of this thread for one run: other programs on the machine take wall time, not CPU time."""
    run()
    taken, end = [], time.perf_counter() + seconds
    while len(taken) < 3 or time.perf_counter() < end:
        begun = time.thread_time()
        run()
        taken.append(time.thread_time() - begun)
    return median(taken)


def session(data: bytes, profile: str = "") -> onnxruntime.InferenceSession:
    """With the options of the server: one thread, all optimisations, no arena."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    options.log_severity_level = 3
    if profile:
        options.enable_profiling, options.profile_file_prefix = True, profile
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def square(size: int) -> Subject:
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [size, size]) for name in "abc"]
    graph = helper.make_graph([helper.make_node("MatMul", ["a", "b"], ["c"])], "square", value[:2], value[2:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    one, feed = session(model.SerializeToString()), {name: np.random.default_rng(0).random((size, size), dtype=np.float32) for name in "ab"}
    return Subject(f"ONNX Runtime, {size} x {size}", lambda: one.run(None, feed), 2 * size**3, 2 * size**3)


def subject(case: Case, schema: Schema) -> Subject:
    torch.manual_seed(0)
    tower = TwoTowerConfig(width=64, retrieval_width=64)
    ranker = RankerConfig(width=case.width, heads=case.heads, layers=LAYERS, feed_forward_ratio=RATIO, activation=case.activation)
    models = FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), ranker.build(schema)).eval()
    taken = {spec.name: spec.shape for spec in signatures(models)[case.graph].inputs}
    everything = inputs(case, models) | no_past(taken, 1)
    feed = {name: everything[name] for name in taken}
    with mock.patch("shortlist.models.amortized.attend", REJECTED.get(case.variant, attend)):
        data = export_graph(case.graph, models)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            graph_modules(models)[case.graph](*(torch.from_numpy(value) for value in feed.values()))
    if case.precision == "int8":
        data = quantise(case.graph, data, [feed])
    one = session(data)
    executed = counter.get_total_flops()
    defined = ranker_flops(case.width, case.candidates) if case.graph == "ranker" else executed
    return Subject(str(case), lambda: one.run(None, feed), defined, executed, lambda: profiled(data, feed), case.bar)


def ranker_flops(width: int, candidates: int) -> int:
    """Per candidate and layer: the query and output matrices, the feed-forward, and products with N + 1 keys and values."""
    return LAYERS * candidates * 2 * (2 * width**2 + 2 * RATIO * width**2 + 2 * (EVENTS + 1) * width)


def inputs(case: Case, models: FunnelModels) -> Tensors:
    """Random inputs of one request, those of all graphs together: speed depends on shapes alone."""
    rng, schema = np.random.default_rng(0), models.schema
    count, width = case.candidates, models.two_tower.config.retrieval_width
    layers, heads, head_width = models.ranker.fusion.cache_shape

    def normal(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    cache = (1, layers, heads, EVENTS, head_width)
    return {
        **random_history(schema, 1, EVENTS, np.array([EVENTS]), rng),
        **random_columns("user", schema.user, (1,), rng),
        **random_columns("context", schema.context, (1,), rng),
        "keys": normal(*cache),
        "values": normal(*cache),
        "ranker_token": normal(1, count, case.width),
        "state": normal(1, models.two_tower.config.width),
        "recent": normal(1, models.preranker.recent_events, models.two_tower.config.width),
        "query_vectors": normal(1, models.heads, width),
        "retrieval_vector": normal(1, count, width),
        "cross": rng.random((1, count, len(schema.cross)), dtype=np.float32),
        "prerank_score": normal(1, count),
    }


def profiled(data: bytes, feed: Tensors, runs: int = 20) -> dict[str, float]:
    """Microseconds per operator of one run. The profiler itself costs some microseconds a node, so only shares mean something."""
    with TemporaryDirectory(prefix="shortlist-profile-") as folder:
        one = session(data, profile=f"{folder}/run")
        for _ in range(runs):
            one.run(None, feed)
        events = json.loads(Path(one.end_profiling()).read_text())
    nodes: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            nodes[event["args"]["op_name"], event["name"]].append(event["dur"])
    operators: dict[str, float] = defaultdict(float)
    for (name, _), durations in nodes.items():
        operators[name] += median(durations)
    return operators


def rates(squares: Sequence[Subject]) -> Section:
    rows = [f"| {one.name} | {one.flops / median(one.seconds) / 1e9:.0f} |" for one in squares]
    return Section("The machine: fp32 product of square matrices, one thread", ["| product | GFLOP/s |", "|---|---:|", *rows])


def ratios(subjects: Sequence[Subject], best: Subject) -> Section:
    lines = [
        "| graph | microseconds | model MFLOP | executed | GFLOP/s | ratio | lowest..highest | bar |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for one in subjects:
        each = [(one.flops / own) / (best.flops / machine_s) for own, machine_s in zip(one.seconds, best.seconds, strict=True)]
        bar = f"{one.bar}: {'kept' if median(each) >= one.bar else 'NOT KEPT'}" if one.bar else ""
        lines.append(
            f"| {one.name} | {1e6 * median(one.seconds):.0f} | {one.flops / 1e6:.1f} | {one.executed / 1e6:.1f} "
            f"| {one.flops / median(one.seconds) / 1e9:.0f} | {median(each):.2f} | {min(each):.2f}..{max(each):.2f} | {bar} |"
        )
    return Section(f"Graphs, N={EVENTS}, against {best.name}: medians of {len(best.seconds)} rounds", lines)


def shares(one: Subject) -> Section:
    assert one.profile is not None
    operators = one.profile()
    total, largest = sum(operators.values()), sorted(operators, key=operators.__getitem__, reverse=True)[:12]
    rows = [f"| {name} | {operators[name]:.0f} | {100 * operators[name] / total:.0f}% |" for name in largest]
    return Section(f"Operators of {one.name}", ["| operator | us, with the profiler's own | share |", "|---|---:|---:|", *rows])


if __name__ == "__main__":
    main()
