"""The whole funnel: shortlistd against the Python peers, with new histories and with users who come back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count

from peers.comparison import Comparison, of_searches
from peers.curves import Curves, measure_curves
from peers.load import hold
from peers.parity import check
from peers.search import Search
from peers.servers import Served, python_peer, shortlistd
from peers.settings import Settings
from server import ROOT
from shortlist.export.layout import current
from shortlist.export.reader import read

P99_MS = 100.0  # a page is waiting
HISTORY = 200
FIRST_RATE = 40.0


@dataclass(frozen=True, slots=True)
class Trace:
    """What callers send. `bars` are the ratios promised against each engine."""

    name: str
    flags: tuple[str, ...]
    bars: dict[str, float]


@dataclass(slots=True)
class FunnelResult:
    parity: int  # answers compared
    curves: Curves
    searches: dict[str, dict[str, Search]] = field(default_factory=dict)  # trace -> server -> search
    comparisons: list[Comparison] = field(default_factory=list)


def traces() -> list[Trace]:
    found = [Trace("every history new", ("-calls", "recommend", "-history", str(HISTORY)), {"python ort": 1.3, "python torch": 2.5})]
    sessions = ROOT / "bench/scenarios/sessions.yaml"
    if sessions.is_file():
        found.append(Trace("sessions", ("-scenario", str(sessions)), {"python ort": 3.0, "python torch": 6.0}))
    else:
        print(f"skipped: users who come back; {sessions.relative_to(ROOT)} is missing", flush=True)
    return found


def measure_funnel(settings: Settings) -> FunnelResult:
    with ExitStack() as stack:
        logs = settings.scratch
        ours = stack.enter_context(shortlistd(settings.model, logs / "shortlistd.log", apart=settings.apart))
        peers = [stack.enter_context(python_peer(settings.model, name, logs / name, apart=settings.apart)) for name in ("ort", "torch")]
        compared = check(ours, peers, settings.model)
        print(f"parity: {compared} answers of {', '.join(peer.name for peer in peers)} equal shortlistd's", flush=True)
        result = FunnelResult(compared, measure_curves([ours, *peers], read(current(settings.model)), settings.calls))
        for trace in traces():
            result.searches[trace.name] = searches = {served.name: search(served, trace, settings) for served in (ours, *peers)}
            for one in searches.values():
                one.start(FIRST_RATE)
            for _ in range(settings.rounds):
                for one in searches.values():
                    one.round()
            for peer in peers:
                found = of_searches(trace.name, peer.name, searches[ours.name], searches[peer.name], trace.bars[peer.name])
                result.comparisons.append(found)
                print(found, flush=True)
    return result


def search(served: Served, trace: Trace, settings: Settings) -> Search:
    flags = ["-bundle", str(settings.model), *trace.flags]
    out = settings.scratch / "load.json"
    seeds = count(1)  # step k sends the same to every server, and nothing that step k - 1 sent: a cache must not know it
    return Search(lambda rate: hold(served, flags, rate, settings.seconds, next(seeds), out), P99_MS, settings.tries)
