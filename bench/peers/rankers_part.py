"""The amortized ranker against BST and TransAct in the same server: CPU time of a Rank call, one call at a time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from peers.parity import ask
from peers.search import median
from peers.servers import Served, shortlistd
from peers.settings import Settings
from shortlist.export.golden import set_items
from shortlist.export.layout import current
from shortlist.export.reader import read
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

HISTORY, CANDIDATES = 200, 1000
BAR = 100.0
CALLS = {"amortized": 100, "bst": 1, "transact": 1}  # in a round: the clock has ticks of 10 ms


@dataclass(slots=True)
class RankersResult:
    milliseconds: dict[str, list[float]] = field(default_factory=dict)  # of CPU in a call, by kind and round

    def ratio(self, kind: str) -> float:
        return median([slow / fast for slow, fast in zip(self.milliseconds[kind], self.milliseconds["amortized"], strict=True)])


def measure_rankers(settings: Settings) -> RankersResult:
    result = RankersResult({kind: [] for kind in CALLS})
    with ExitStack() as stack:
        servers: dict[str, Served] = {}
        for kind in CALLS:
            name = "bench" if kind == "amortized" else f"bench-{kind}"
            settings.release(name, "--ranker", kind)
            servers[kind] = stack.enter_context(shortlistd(settings.models / name, settings.scratch / f"{name}.log", apart=True))
        calls = requests(settings, max(CALLS.values()))
        for served in servers.values():
            ask(served.addresses[0], calls[:1])  # buffers grow once
        for _ in range(settings.rounds):
            for kind, served in servers.items():
                before = served.cpu_seconds()
                ask(served.addresses[0], calls[: CALLS[kind]])
                result.milliseconds[kind].append((served.cpu_seconds() - before) * 1000 / CALLS[kind])
    for kind in CALLS:
        line = f"rank {CANDIDATES} candidates, {HISTORY} events: {kind}: {median(result.milliseconds[kind]):.1f} ms of CPU"
        print(line if kind == "amortized" else f"{line}, {result.ratio(kind):.0f} times amortized, promised {BAR:g}", flush=True)
    return result


def requests(settings: Settings, count: int) -> list[wire.RecommendRequest]:
    """Rank calls of different items, each with a history of its own."""
    bundle = read(current(settings.model))
    ids, rng = bundle.content.catalog.ids, np.random.default_rng(7)
    made = []
    for number in range(count):
        request = wire.RecommendRequest.FromString(bundle.warmup[number % len(bundle.warmup)].SerializeToString())
        request.user.history.Clear()
        set_items(request.user.history.items, [ids[int(row)] for row in rng.integers(len(ids), size=HISTORY)])
        set_items(request.candidates, [ids[int(row)] for row in rng.choice(len(ids), size=CANDIDATES, replace=False)])
        made.append(request)
    return made
