"""The whole funnel: shortlistd against the Python peers, with new histories and with users who come back."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from peers.load import hold
from peers.parity import check
from peers.search import Search, median, ratios
from peers.servers import Served, python_peer, shortlistd
from peers.settings import Settings
from server import ROOT

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
    parity: int
    searches: dict[str, dict[str, Search]] = field(default_factory=dict)  # trace -> server -> search


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
        result = FunnelResult(check(ours, peers, settings.model))
        print(f"parity: {result.parity} answers of {', '.join(peer.name for peer in peers)} equal shortlistd's", flush=True)
        for trace in traces():
            result.searches[trace.name] = searches = {served.name: search(served, trace, settings) for served in (ours, *peers)}
            for one in searches.values():
                one.start(FIRST_RATE)
            for _ in range(settings.rounds):
                for one in searches.values():
                    one.round()
            print_ratios(trace, searches, ours.name)
    return result


def search(served: Served, trace: Trace, settings: Settings) -> Search:
    flags = ["-bundle", str(settings.model), *trace.flags]
    out = settings.scratch / "load.json"
    return Search(lambda rate: hold(served, flags, rate, settings.seconds, out), P99_MS, settings.tries)


def print_ratios(trace: Trace, searches: dict[str, Search], ours: str) -> None:
    for name, one in searches.items():
        line = f"{trace.name}: {name}: {median(one.rounds):.1f}/s at p99 <= {P99_MS:g} ms"
        if name != ours:
            found = ratios(searches[ours], one)
            line += f"; shortlistd is {median(found):.2f} times that ({min(found):.2f}..{max(found):.2f}), promised {trace.bars[name]:g}"
        print(line, flush=True)
