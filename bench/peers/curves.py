"""Latency of one call at a time against candidates and history, and what each stage costs."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field

import grpc
import numpy as np

from peers.parity import MAX_MESSAGE
from peers.servers import Served
from shortlist.export.golden import set_items
from shortlist.export.reader import Bundle
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.gen.shortlist.v1 import ranking_pb2_grpc

CANDIDATES = (10, 100, 300, 1000, 3000)  # with HISTORY events
EVENTS = (0, 10, 50, 100, 200)  # with 1,000 candidates
HISTORY = 200
Curve = dict[int, float]  # size -> median milliseconds


@dataclass(slots=True)
class Curves:
    """By server."""

    candidates: dict[str, Curve] = field(default_factory=dict)
    events: dict[str, Curve] = field(default_factory=dict)
    stages: dict[str, dict[str, float]] = field(default_factory=dict)  # mean milliseconds of a Recommend call


def measure_curves(servers: list[Served], bundle: Bundle, calls: int) -> Curves:
    """`calls` of each size and server; sizes alternate over servers, so that all see the same machine."""
    curves = Curves()
    channels = {
        one.name: grpc.insecure_channel(one.addresses[0], options=[("grpc.max_receive_message_length", MAX_MESSAGE)]) for one in servers
    }
    stubs = {name: ranking_pb2_grpc.RankingServiceStub(channel) for name, channel in channels.items()}
    largest = min(bundle.content.funnel.max_candidates, len(bundle.content.catalog))
    for size in (size for size in CANDIDATES if size <= largest):
        for name, stub in stubs.items():
            curves.candidates.setdefault(name, {})[size] = median_ms(stub, requests(bundle, calls, HISTORY, size, seed=size))
    for events in EVENTS:
        for name, stub in stubs.items():
            curves.events.setdefault(name, {})[events] = median_ms(
                stub, requests(bundle, calls, events, min(1000, largest), seed=10_000 + events)
            )
    for name, stub in stubs.items():
        curves.stages[name] = stage_ms([stub.Recommend(one, timeout=60) for one in requests(bundle, calls, HISTORY, None, seed=1)])
    for channel in channels.values():
        channel.close()
    return curves


def median_ms(stub: ranking_pb2_grpc.RankingServiceStub, calls: list[wire.RecommendRequest]) -> float:
    taken = []
    for call in calls:
        begin = time.perf_counter()
        stub.Rank(call, timeout=60)
        taken.append((time.perf_counter() - begin) * 1000)
    return statistics.median(taken)


def stage_ms(answers: list[wire.RecommendResponse]) -> dict[str, float]:
    """Mean time of each stage as the server tells it, and what is left of its service time."""
    sums: dict[str, float] = {}
    for answer in answers:
        for one in answer.stages:
            sums[one.stage] = sums.get(one.stage, 0.0) + one.micros / 1000
    means = {stage: total / len(answers) for stage, total in sums.items()}
    service = sum(answer.micros for answer in answers) / 1000 / len(answers)
    return means | {"rest": max(0.0, service - sum(means.values()))}


def requests(bundle: Bundle, count: int, events: int, candidates: int | None, seed: int) -> list[wire.RecommendRequest]:
    """Warm-up requests, each with a new history and, where asked for, different candidates. Other seeds share no history."""
    ids, rng = bundle.content.catalog.ids, np.random.default_rng(seed)
    made = []
    for number in range(count):
        request = wire.RecommendRequest.FromString(bundle.warmup[number % len(bundle.warmup)].SerializeToString())
        request.user.history.Clear()
        request.user.history.SetInParent()
        set_items(request.user.history.items, [ids[int(row)] for row in rng.integers(len(ids), size=events)])
        request.ClearField("candidates")
        if candidates is not None:
            set_items(request.candidates, [ids[int(row)] for row in rng.choice(len(ids), size=candidates, replace=False)])
        made.append(request)
    return made
