"""The whole funnel: shortlistd against the Python peers, with new histories and with users who come back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

from peers.comparison import Comparison, of_searches
from peers.curves import Curves, measure_curves
from peers.engines import ENGINES
from peers.load import held_calls, hold
from peers.parity import check
from peers.search import Measure, Search, Step
from peers.servers import Served, python_peer, server_cores, shortlistd
from peers.sessions import Sessions
from peers.settings import Settings
from shortlist.export.layout import current
from shortlist.export.reader import Bundle, read

P99_MS = 100.0  # a page is waiting
HISTORY = 200
FIRST_RATE = 40.0  # where the first search begins
REST = 15.0  # seconds between traces
BARS = {  # promised against each peer
    "every history new": {"python ort": 1.3, "python torch": 2.5},
    "sessions": {"python ort": 3.0, "python torch": 6.0},
}


@dataclass(slots=True)
class FunnelResult:
    parity: int  # answers compared
    curves: Curves
    layouts: dict[str, str]  # of the Python peers
    searches: dict[str, dict[str, Search]] = field(default_factory=dict)  # trace -> server -> search
    comparisons: list[Comparison] = field(default_factory=list)


def measure_funnel(settings: Settings) -> FunnelResult:
    with ExitStack() as stack:
        logs = settings.scratch
        ours = stack.enter_context(shortlistd(settings.model, logs / "shortlistd.log", apart=settings.apart))
        peers = [stack.enter_context(best_layout(name, settings)) for name in ENGINES]
        compared = check(ours, peers, settings.model)
        print(f"parity: {compared} answers of {', '.join(peer.name for peer in peers)} equal shortlistd's", flush=True)
        bundle = read(current(settings.model))
        layouts = {peer.name: "processes" if len(peer.addresses) > 1 else "threads" for peer in peers}
        result = FunnelResult(compared, measure_curves([ours, *peers], bundle, settings.calls), layouts)
        for trace, bars in BARS.items():
            measures = {
                served.name: fresh(served, settings) if trace == "every history new" else returning(served, bundle, settings)
                for served in (ours, *peers)
            }
            result.searches[trace] = searches = {name: Search(one, P99_MS, settings.tries) for name, one in measures.items()}
            time.sleep(REST)  # a server that was driven beyond its limit must be given time to be itself again
            for one in searches.values():
                one.start(FIRST_RATE)
            for _ in range(settings.rounds):
                for one in searches.values():
                    one.round()
            for name, promised in bars.items():
                found = of_searches(trace, name, searches[ours.name], searches[name], promised)
                result.comparisons.append(found)
                print(found, flush=True)
    return result


@contextmanager
def best_layout(engine: str, settings: Settings) -> Iterator[Served]:
    """A Python peer as processes or as threads, whichever answers more calls with new histories in time."""
    found = {}
    for threads in (False, True) if settings.layouts and server_cores(settings.apart) > 1 else ():
        with python_peer(settings.model, engine, settings.scratch / engine, apart=settings.apart, threads=threads) as served:
            trial = Search(fresh(served, settings), P99_MS)
            trial.start(FIRST_RATE)
            found[threads] = trial.found[0]
    best = max(found, key=lambda threads: found[threads], default=False)
    if found:
        text = ", ".join(f"{'threads' if threads else 'processes'} {rate:.1f}/s" for threads, rate in found.items())
        print(f"python {engine}: {text}; {'threads' if best else 'processes'} it is", flush=True)
    with python_peer(settings.model, engine, settings.scratch / engine, apart=settings.apart, threads=best) as served:
        yield served


def fresh(served: Served, settings: Settings) -> Measure:
    """Every call has a history of its own. Step k sends the same to every server, and nothing that step k - 1 sent."""
    flags = ["-bundle", str(settings.model), "-calls", "recommend", "-history", str(HISTORY)]
    seeds = count(1)
    return lambda rate: hold(served, flags, rate, settings.seconds, next(seeds), settings.scratch / "load.json")


def returning(served: Served, bundle: Bundle, settings: Settings) -> Measure:
    """Users come back and their histories have grown; every server meets the same stream."""
    stream, trace, seeds = Sessions(bundle), settings.scratch / "sessions.jsonl", count(1)

    def measure(rate: float) -> Step:
        stream.write(trace, int(1.3 * held_calls(rate, settings.seconds)) + 50)  # more than Poisson arrivals will take
        step = hold(served, ["-trace", str(trace), "-ordered"], rate, settings.seconds, next(seeds), settings.scratch / "load.json")
        stream.take(step.due)
        return step

    return measure
