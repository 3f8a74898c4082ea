"""The amortized ranker against BST and TransAct in the same server: CPU time of a Rank call, one call at a time."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from statistics import median

from peers.comparison import Comparison
from peers.curves import requests
from peers.parity import ask
from peers.servers import Served, shortlistd
from peers.settings import Settings
from shortlist.export.layout import current
from shortlist.export.reader import read

HISTORY, CANDIDATES = 200, 1000
BAR = 100.0
CALLS = {"amortized": 100, "bst": 1, "transact": 1}  # in a round: the clock has ticks of 10 ms


@dataclass(slots=True)
class RankersResult:
    milliseconds: dict[str, list[float]]  # of CPU in a call, by kind and round
    comparisons: list[Comparison] = field(default_factory=list)


def measure_rankers(settings: Settings) -> RankersResult:
    result = RankersResult({kind: [] for kind in CALLS})
    with ExitStack() as stack:
        servers: dict[str, Served] = {}
        for kind in CALLS:
            name = "bench" if kind == "amortized" else f"bench-{kind}"
            settings.release(name, "--ranker", kind)
            servers[kind] = stack.enter_context(shortlistd(settings.models / name, settings.scratch / f"{name}.log", apart=True))
        bundle = read(current(settings.model))
        for served in servers.values():
            ask(served.addresses[0], requests(bundle, 1, HISTORY, CANDIDATES, seed=0))  # buffers grow once
        for number in range(settings.rounds):
            calls = requests(bundle, max(CALLS.values()), HISTORY, CANDIDATES, seed=1 + number)  # histories that no cache knows
            for kind, served in servers.items():
                before = served.cpu_seconds()
                ask(served.addresses[0], calls[: CALLS[kind]])
                result.milliseconds[kind].append((served.cpu_seconds() - before) * 1000 / CALLS[kind])
    fast = result.milliseconds["amortized"]
    for kind, slow in result.milliseconds.items():
        if kind != "amortized":
            found = tuple(a / b for a, b in zip(slow, fast, strict=True))
            what = f"rank {CANDIDATES:,} candidates, {HISTORY} events"
            result.comparisons.append(Comparison(what, kind, "ms CPU", median(fast), median(slow), found, BAR))
            print(result.comparisons[-1], flush=True)
    return result
