"""Size, CPU time and fidelity of a run's graphs in fp32, int8 and fp16, side by side: the tables of docs/reports/small.md.

Example: python bench/small_graphs.py runs/marketplace --events 50 200 --candidates 100 500

Times are CPU seconds of the calling thread (one thread per session), which a busy machine disturbs less than the clock; the variants take
turns, and the median counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from shortlist.cli.plan import release_plan
from shortlist.export.backends import Graphs, OrtGraphs
from shortlist.export.compare import Tolerance, worst_ratio
from shortlist.export.fp16 import halve
from shortlist.export.golden import RequestMaker
from shortlist.export.int8 import quantise
from shortlist.export.laws import random_columns, random_history, repeat
from shortlist.export.precision import DEFAULT, REDUCIBLE, calibration, measure
from shortlist.export.queries import ItemId
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.release import prove
from shortlist.export.tables import Tensors
from shortlist.export.writer import Draft

NAMES = REDUCIBLE["int8"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--data", default="", help="where the training data is now")
    parser.add_argument("--events", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--candidates", type=int, nargs="+", default=[100, 500])
    parser.add_argument("--repeats", type=int, default=60)
    parser.add_argument("--judged", type=int, default=500)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    plan = release_plan(arguments.run, data=arguments.data)
    draft = prove(plan)
    maker = RequestMaker(plan.dataset, plan.content, plan.seed)
    feeds = calibration(draft, maker.real(plan.precision.calibration, stream=3))
    variants = {
        "fp32": {name: draft.graphs[name] for name in NAMES},
        "int8": {name: quantise(name, draft.graphs[name], feeds[name]) for name in NAMES},
        "fp16": {name: halve(name, draft.graphs[name]) for name in NAMES},
    }
    sizes(variants)
    times(draft, variants, arguments.events, arguments.candidates, arguments.repeats)
    fidelities(draft, variants, maker, plan.held_out, arguments.judged)
    reproductions(draft, variants, maker)


def sizes(variants: Mapping[str, Mapping[str, bytes]]) -> None:
    print("\n| graph | " + " | ".join(f"{kind} bytes" for kind in variants) + " |\n|---|" + "---:|" * len(variants))
    for name in NAMES:
        print(f"| {name} | " + " | ".join(f"{len(graphs[name]):,}" for graphs in variants.values()) + " |")


def times(draft: Draft, variants: Mapping[str, Mapping[str, bytes]], events: list[int], candidates: list[int], repeats: int) -> None:
    backends = {kind: OrtGraphs({**draft.graphs, **graphs}) for kind, graphs in variants.items()}
    print(
        "\n| graph | shape | "
        + " | ".join(f"{kind} ms" for kind in variants)
        + " | int8 / fp32 |\n|---|---|"
        + "---:|" * (len(variants) + 1)
    )
    for name, shape, feed in typical(draft, backends["fp32"], events, candidates):
        taken: dict[str, list[float]] = {kind: [] for kind in backends}
        for turn in range(repeats + 3):
            for kind, graphs in backends.items():
                begin = time.thread_time()
                graphs.run(name, feed)
                if turn >= 3:
                    taken[kind].append(time.thread_time() - begin)
        medians = {kind: 1e3 * float(np.median(values)) for kind, values in taken.items()}
        print(
            f"| {name} | {shape} | "
            + " | ".join(f"{value:.3f}" for value in medians.values())
            + f" | {medians['int8'] / medians['fp32']:.2f} |"
        )


def typical(draft: Draft, graphs: Graphs, events: list[int], candidates: list[int]) -> Iterator[tuple[str, str, Tensors]]:
    """Random inputs of one request: speed depends on shapes alone."""
    schema, rng = draft.content.schema, np.random.default_rng(0)
    request = random_columns("user", schema.user, (1,), rng) | random_columns("context", schema.context, (1,), rng)
    yield "item_encoder", "M=1000", random_columns("item", schema.item, (1000,), rng)
    for count in events:
        history = random_history(schema, 1, count, np.array([count]), rng)
        encoding = {name: history | graphs.no_past(name, 1) for name in ("sequence_encoder", "history_encoder")}
        for name, inputs in encoding.items():
            yield name, f"N={count}", inputs
        yield "query_encoder", f"N={count}", history | request | graphs.run("sequence_encoder", encoding["sequence_encoder"])
        cache = graphs.run("history_encoder", encoding["history_encoder"])
        for size in candidates:
            token = graphs.run("item_encoder", random_columns("item", schema.item, (size,), rng))["ranker_token"]
            scores = {
                "ranker_token": repeat(token)[:1],
                "cross": rng.random((1, size, len(schema.cross)), dtype=np.float32),
                "prerank_score": rng.normal(size=(1, size)).astype(np.float32),
            }
            yield "ranker", f"N={count}, M={size}", {**cache, "history_length": history["history_length"], **request, **scores}


def fidelities(
    draft: Draft, variants: Mapping[str, Mapping[str, bytes]], maker: RequestMaker, held_out: Sequence[tuple[ItemId, int]], judged: int
) -> None:
    print(
        "\n| precision | graphs | requests | overlap@10 | NDCG@10 fp32 | NDCG@10 | loss | passes |\n|---|---|---:|---:|---:|---:|---:|---|"
    )
    for kind in ("int8", "fp16"):
        sets = {name: (name,) for name in NAMES} | {"all of the default": DEFAULT[kind], "all": NAMES}
        for label, one in measure(
            draft, {label: {name: variants[kind][name] for name in names} for label, names in sets.items()}, maker, held_out, judged
        ).items():
            print(
                f"| {kind} | {label} | {one.requests} | {one.overlap:.4f} | {one.exact_ndcg:.4f} | {one.ndcg:.4f} | "
                f"{one.loss:+.4f} | {'yes' if one.passed else 'no'} |"
            )


def reproductions(draft: Draft, variants: Mapping[str, Mapping[str, bytes]], maker: RequestMaker) -> None:
    """How far fused and unfused execution of one graph are apart, over whole requests: what another machine's kernels may differ by."""
    print("\n| precision | graph output | largest difference | largest value | of the fp32 tolerance |\n|---|---|---:|---:|---:|")
    requests = maker.real(100, stream=5)
    for kind in ("int8", "fp16"):
        graphs = {**draft.graphs, **variants[kind]}
        fused, literal = (ReferenceFunnel(draft.content, OrtGraphs(graphs, literal=how)) for how in (False, True))
        worst: dict[str, list[float]] = {}
        for request in requests:
            one, other = fused.run(request), literal.run(request)
            for name in ("query_vectors", "keys", "values", "final_scores"):
                if name in one and one[name].shape == other[name].shape and one[name].size:
                    row = worst.setdefault(name, [0.0, 0.0, 0.0])
                    row[0] = max(row[0], float(np.abs(one[name] - other[name]).max()))
                    row[1] = max(row[1], float(np.abs(one[name]).max()))
                    row[2] = max(row[2], worst_ratio(one[name], other[name], Tolerance()))
        for name, (difference, largest, ratio) in worst.items():
            print(f"| {kind} | {name} | {difference:.2e} | {largest:.3g} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
