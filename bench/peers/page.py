"""The report of a run: one Markdown file with its pictures beside it."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from peers import plots
from peers.comparison import Comparison
from peers.curves import Curves
from peers.funnel_part import HISTORY, P99_MS, FunnelResult
from peers.oip_part import SIZES, OipResult
from peers.rankers_part import RankersResult
from peers.search import Search
from peers.servers import server_cores
from peers.sessions import CALLS, SESSIONS
from peers.settings import Settings
from report import Section, hardware_word, machine, relative, write_report

Results = Mapping[str, FunnelResult | OipResult | RankersResult]
THEME = "peers"


def facts(settings: Settings) -> list[tuple[str, str]]:
    """Machine and versions; to be taken before the run adds to the load."""
    mine = [("Python", platform.python_version())]
    mine += [(name, version(name)) for name in ("grpcio", "numpy", "torch")]
    found = sorted(settings.triton.glob("lib/python3.*/site-packages/nvidia_pytriton-*.dist-info"))
    if found:
        mine.append(("Triton", f"2.51.0 of {found[0].name.removesuffix('.dist-info')}, Python backend, ONNX Runtime 1.31.1"))
    return machine(settings.model) + mine


def write(folder: Path, settings: Settings, known: list[tuple[str, str]], results: Results) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    comparisons = [one for result in results.values() for one in result.comparisons]
    sections = [summary(comparisons)]
    stem = f"{THEME}_{hardware_word()}_{datetime.now(UTC):%Y-%m-%d}"

    def picture(name: str) -> Path:
        return folder / f"{stem}_{name}.svg"

    plots.ratios(comparisons, picture("ratios"))
    sections[0].lines.extend(["", image(picture("ratios"), "Ratios beside what was promised")])
    searches = {what: one for result in results.values() if not isinstance(result, RankersResult) for what, one in result.searches.items()}
    if searches:
        plots.throughput(searches, picture("throughput"))
        sections.append(rates(searches, picture("throughput")))
    funnel = next((one for one in results.values() if isinstance(one, FunnelResult)), None)
    if funnel is not None:
        plots.sizes(funnel.curves, picture("sizes"))
        plots.stages(funnel.curves.stages, picture("stages"))
        sections.append(one_at_a_time(funnel.curves, picture("sizes"), picture("stages")))
    sections.append(method(settings, funnel))
    return write_report(folder, THEME, known, sections)


def summary(comparisons: list[Comparison]) -> Section:
    lines = ["| what | peer | shortlistd | peer | times better | lowest..highest | promised | |", "|---|---|---:|---:|---:|---:|---:|---|"]
    lines += [
        f"| {one.what} | {one.peer} | {one.ours:.1f} {one.unit} | {one.theirs:.1f} {one.unit} | **{one.ratio:.2f}** "
        f"| {min(one.ratios):.2f}..{max(one.ratios):.2f} | {one.promised:g} | {'kept' if one.kept else 'NOT KEPT'} |"
        for one in comparisons
    ]
    return Section("Ratios", lines)


def rates(searches: Mapping[str, Mapping[str, Search]], picture: Path) -> Section:
    lines = ["| what | server | highest rates of the rounds | rates held | failed for the generator |", "|---|---|---|---:|---:|"]
    for what, servers in searches.items():
        for name, one in servers.items():
            void = sum(bool(step.void) and not step.passes(one.bound) for step in one.steps)
            found = " ".join(f"{rate:.1f}" for rate in one.rounds)
            lines.append(f"| {what}, p99 <= {one.bound:g} ms | {name} | {found} | {len(one.steps)} | {void} |")
    lines += ["", image(picture, "Latency against the offered rate")]
    return Section("Throughput at equal p99", lines)


def one_at_a_time(curves: Curves, sizes: Path, stages: Path) -> Section:
    return Section(
        "One call at a time",
        [
            "Rank calls against candidates and history, every history new; and the stages of a Recommend call as servers tell them.",
            "shortlistd encodes the history beside retrieval, the Python peers within ranking.",
            "",
            image(sizes, "Latency against candidates and against history"),
            "",
            image(stages, "Cost of stages"),
        ],
    )


HOW = """\
- Throughput: the highest rate of an open loop (Poisson arrivals, latency from the due time) at which 99% of the calls are answered in
  full and p99 stays within {funnel:g} ms for the funnel; for rank_ids, {oip}.
- {rounds} rounds of {tries} rates; a rate is held for {seconds:g} s, or until 120 calls were due (200 of rank_ids). Servers take turns
  within a round, and ratios are medians over rounds.
- "Every history new": Recommend calls with {history} events that no server saw before. "Sessions": {sessions} users who come back, about
  {calls} calls each, whose histories grow by an event or two; the stream goes on over all rates, with pauses of seconds instead of minutes.
- One machine, one run. The funnel's servers may use {cores} core(s){shared}; those of rank_ids and of the rankers {apart}, and their
  generator the last. Runs of graphs have one thread of ONNX Runtime or PyTorch.
- The Python peers (`bench/peers/serve.py`) are grpc.aio with numpy for features and tables: a process a core, over which the generator
  spreads calls evenly, or one process with a thread a core{chosen} ({layouts}).
  They keep no encodings between requests; shortlistd keeps what it keeps by default.
- Before timing, {parity} answers of the peers equalled shortlistd's: order and scores under the tie rule and the release's tolerance. So
  did Triton's logits.
- BST and TransAct run in shortlistd at the same width, layers and heads; their figure is CPU time of its process in a Rank call.
- Weights are untrained: speed depends on shapes alone.

Command: `PYTHONPATH=bench python -m peers.run {words}` (`make bench-peers`)."""


def method(settings: Settings, funnel: FunnelResult | None) -> Section:
    text = HOW.format(
        funnel=P99_MS,
        oip=", ".join(f"{size.p99:g} ms at {size.candidates:,} candidates" for size in SIZES),
        rounds=settings.rounds,
        tries=settings.tries,
        seconds=settings.seconds,
        cores=server_cores(settings.apart),
        shared="" if settings.apart else ", the generator the same",
        apart=server_cores(True),
        parity=0 if funnel is None else funnel.parity,
        chosen=", whichever answered more calls in time" if settings.layouts else "",
        layouts="not run" if funnel is None else ", ".join(f"{name} {kind}" for name, kind in funnel.layouts.items()),
        history=HISTORY,
        sessions=SESSIONS,
        calls=CALLS,
        words=" ".join(map(shown, sys.argv[1:])),
    )
    return Section("How", text.splitlines())


def shown(word: str) -> str:
    """A word of the command; a report names no folder of the machine."""
    word = relative(word)
    return f".../{Path(word).name}" if Path(word).is_absolute() else word


def image(path: Path, text: str) -> str:
    return f"![{text}]({path.name})"
