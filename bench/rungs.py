"""What each rung of the degradation ladder costs in quality and saves in time, as a Markdown table.

Every request is answered in full and then from each rung, forced by the debug block. Quality is against the full answer: the release
carries no held-out events, so its own order is the reference. Time is what the kernel charged to the server's threads.

Examples:
    python bench/rungs.py                                    the tracked toy, a report in bench/reports
    python bench/rungs.py --model models/marketplace --requests 200
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import numpy as np
from google.protobuf import json_format

from report import Section, machine, relative, write_report
from server import ROOT, serving
from shortlist.gen.shortlist.v1 import ranking_pb2, ranking_pb2_grpc

TOP = 10
RUNGS = ("FULL", "FEWER_CANDIDATES", "PRERANKER_ORDER", "RETRIEVAL_ORDER", "CACHED", "POPULAR")


@dataclass(frozen=True, slots=True)
class Measured:
    """One rung over all requests. `fell` counts answers from a lower rung than the forced one."""

    rung: str
    overlap: float
    ndcg: float
    cpu_ms: float
    p50_ms: float
    fell: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=ROOT / "models/toy", help="models/<name> folder (models/toy)")
    parser.add_argument("--requests", type=int, default=200, help="different requests (200)")
    parser.add_argument("--seconds", type=float, default=15.0, help="longest time for each rung (15)")
    parser.add_argument("--reports", type=Path, default=ROOT / "bench/reports", help="folder of the report")
    args = parser.parse_args()
    facts = machine(args.model)
    requests = make_requests(args.model, args.requests)
    scratch = ROOT / ".tmp/load"
    scratch.mkdir(parents=True, exist_ok=True)
    # Nothing but the forced rung may degrade, and a request that was sent before costs as much again.
    settings = ("debug.allow_all=true", "funnel.worst_rung=full", "history_cache.max_bytes=0")
    with serving(args.model, scratch / "shortlistd.log", *settings) as server, grpc.insecure_channel(server.address) as channel:
        measured = measure(ranking_pb2_grpc.RankingServiceStub(channel), server.pid, requests, args.seconds)
    section = table(measured, len(requests), args)
    print("\n".join(section.lines))
    print(f"report: {write_report(args.reports, 'rungs', facts, [section])}")


def make_requests(model: Path, count: int) -> list[ranking_pb2.RecommendRequest]:
    """The release's golden and warm-up requests with histories of their own, drawn from the events that they hold. Seeded."""
    release = model / (model / "current").read_text().strip()
    lines = [line for name in ("warmup", "golden") for line in (release / name / "requests.jsonl").read_text().splitlines()]
    parsed = [json_format.ParseDict(json.loads(line), ranking_pb2.RecommendRequest()) for line in lines]
    recorded = [r for r in parsed if not r.HasField("candidates")]
    numbers = any(r.user.history.items.ints for r in recorded)
    items = sorted({item for r in recorded for item in (r.user.history.items.ints if numbers else r.user.history.items.strings)})
    if not items:
        sys.exit(f"rungs: no request of {release} has a history, so there is nothing to make requests of; export the release again")
    random = np.random.default_rng(1)
    requests = []
    for i in range(count):
        request = ranking_pb2.RecommendRequest()
        request.CopyFrom(recorded[i % len(recorded)])
        request.request_id, request.user.id = f"rungs-{i}", f"rungs-{i}"
        length = min(int(random.integers(2, 51)), len(items))
        drawn = [items[j] for j in random.choice(len(items), length, replace=False)]
        request.user.history.Clear()
        (request.user.history.items.ints if numbers else request.user.history.items.strings).extend(drawn)
        request.limit = TOP
        request.debug.do_not_log = True
        requests.append(request)
    return requests


def measure(
    stub: ranking_pb2_grpc.RankingServiceStub, pid: int, requests: Sequence[ranking_pb2.RecommendRequest], seconds: float
) -> list[Measured]:
    full: list[list[object]] = []
    measured = []
    for rung in RUNGS:
        code = ranking_pb2.Rung.Value(f"RUNG_{rung}")
        answers = [ask(stub, request, code) for request in requests]  # quality, and the warm-up of the timed calls
        orders = [list(a.items.ints or a.items.strings)[:TOP] for a in answers]
        full = full or orders
        calls, spent, latencies = 0, cpu_seconds(pid), []
        start = time.perf_counter()
        while calls < len(requests) or (calls < 20 * len(requests) and time.perf_counter() - start < seconds / 2):
            if time.perf_counter() - start > seconds:
                break
            before = time.perf_counter()
            ask(stub, requests[calls % len(requests)], code)
            latencies.append(time.perf_counter() - before)
            calls += 1
        measured.append(
            Measured(
                rung=rung,
                overlap=statistics.fmean(overlap(a, b) for a, b in zip(orders, full, strict=True)),
                ndcg=statistics.fmean(ndcg(a, b) for a, b in zip(orders, full, strict=True)),
                cpu_ms=(cpu_seconds(pid) - spent) / calls * 1e3,
                p50_ms=statistics.median(latencies) * 1e3,
                fell=sum(a.coverage.rung > code for a in answers),
            )
        )
    return measured


def ask(stub: ranking_pb2_grpc.RankingServiceStub, request: ranking_pb2.RecommendRequest, rung: int) -> ranking_pb2.RecommendResponse:
    request.debug.force_rung = rung
    return stub.Recommend(request, timeout=30)


def overlap(order: Sequence[object], reference: Sequence[object]) -> float:
    """Share of the reference's items that the order has too; 1 for an empty reference."""
    return len(set(order) & set(reference)) / len(reference) if reference else 1.0


def ndcg(order: Sequence[object], reference: Sequence[object]) -> float:
    """NDCG@10 where the item at place i of the reference has the gain 10 - i."""
    gains = {item: TOP - i for i, item in enumerate(reference)}
    best = sum(gain / math.log2(i + 2) for i, gain in enumerate(gains.values()))
    return sum(gains.get(item, 0) / math.log2(i + 2) for i, item in enumerate(order)) / best if best else 1.0


def cpu_seconds(pid: int) -> float:
    """CPU time of a process's live threads, from the scheduler's own clock in nanoseconds."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except FileNotFoundError:  # the thread has just ended
            continue
    return total / 1e9


def table(measured: Sequence[Measured], requests: int, args: argparse.Namespace) -> Section:
    whole = measured[0].cpu_ms
    lines = [
        f"{requests} different requests through the whole funnel, one at a time. Quality is against the full answer of the same request",
        "(gains 10 to 1 down its order), so 1.000 means that nothing was lost. The kept answer is the same user's from moments ago:",
        "its quality here is an upper bound, and its age is bounded by `funnel.cache_age`.",
        "",
        f"| rung | overlap@{TOP} | NDCG@{TOP} | server CPU | of full | latency p50 | fell lower |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for m in measured:
        lines.append(
            f"| `{m.rung}` | {m.overlap:.3f} | {m.ndcg:.3f} | {m.cpu_ms:.3f} ms | {m.cpu_ms / whole:.0%} | {m.p50_ms:.2f} ms | {m.fell} |"
        )
    lines += ["", f"Command: `python bench/rungs.py --model {relative(str(args.model))} --requests {args.requests}`"]
    return Section("What each rung of the ladder costs and saves", lines)


if __name__ == "__main__":
    main()
