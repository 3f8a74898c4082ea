"""Pictures of the report as SVG files that stand alone. Blue is shortlistd, the peers are warm and grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from peers.comparison import Comparison
from peers.curves import Curve, Curves
from peers.search import Search

INK, MUTED, GRID = "#0f172a", "#64748b", "#e2e8f0"
COLORS = {"shortlistd": "#1d4ed8", "python ort": "#b45309", "python torch": "#be123c", "triton": "#475569"}
STAGES = {"retrieval": "#1d4ed8", "preranking": "#0e7490", "ranking": "#b45309", "blending": "#7c3aed", "rest": "#cbd5e1"}
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "peers",
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "grid.color": GRID,
    "legend.frameon": False,
}


def ratios(comparisons: Sequence[Comparison], path: Path) -> None:
    """How many times better, with the range over rounds; the tick is what was promised."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 0.9 + 0.4 * len(comparisons)), layout="constrained")
        axes = figure.add_subplot()
        for place, one in enumerate(comparisons):
            color = COLORS["shortlistd"] if one.kept else COLORS["python torch"]
            axes.plot([min(one.ratios), max(one.ratios)], [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
            axes.plot([one.ratio], [place], color=color, marker="o", markersize=6)
            axes.plot([one.promised] * 2, [place - 0.3, place + 0.3], color=INK, linewidth=1.2)
            axes.annotate(f"{one.ratio:.2f}", (1.01, place), xycoords=("axes fraction", "data"), va="center")
        axes.axvline(1, color=MUTED, linewidth=0.8)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.12)
        axes.set_yticks(range(len(comparisons)), [f"{one.what} | {one.peer}" for one in comparisons], color=INK)
        axes.invert_yaxis()
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_title("shortlistd to its peers: times better; tick: promised")
        save(figure, path)


def throughput(searches: Mapping[str, Mapping[str, Search]], path: Path) -> None:
    """p99 and p50 at every rate that was held; the dashed line is the p99 that servers must keep."""
    with mpl.rc_context(STYLE):
        rows = -(-len(searches) // 2)
        figure = Figure(figsize=(8.8, 3.6 * rows), layout="constrained")
        for axes, (what, servers) in zip(panels(figure, len(searches), rows), searches.items(), strict=True):
            for name, one in servers.items():
                steps = sorted(one.steps, key=lambda step: step.rate)
                rates = [step.rate for step in steps]
                axes.plot(rates, [step.p99 for step in steps], "o", color=COLORS[name], markersize=4, label=name)
                axes.plot(rates, [step.p50 for step in steps], "x", color=COLORS[name], markersize=4)
            axes.axhline(next(iter(servers.values())).bound, color=INK, linewidth=1, linestyle=(0, (5, 2)))
            axes.set_yscale("log")
            plain_ticks(axes.yaxis)
            axes.set_xlim(left=0)
            axes.set_xlabel("calls a second, offered")
            axes.set_ylabel("ms from the due time: o p99, x p50")
            axes.set_title(what)
            axes.grid()
            axes.legend(fontsize=8, loc="best")
        save(figure, path)


def sizes(curves: Curves, path: Path) -> None:
    """Median latency of one call at a time."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.8, 3.6), layout="constrained")
        left, right = panels(figure, 2)
        lines(left, curves.candidates)
        left.set_xscale("log")
        left.set_yscale("log")
        plain_ticks(left.xaxis, (1.0,))
        plain_ticks(left.yaxis)
        left.set_xlabel("candidates (history of 200)")
        left.set_title("Latency against candidates")
        lines(right, curves.events)
        right.set_ylim(bottom=0)
        right.set_xlabel("events of history (1,000 candidates)")
        right.set_title("Latency against history")
        save(figure, path)


def lines(axes: Axes, curves: Mapping[str, Curve]) -> None:
    for name, curve in curves.items():
        axes.plot(list(curve), list(curve.values()), color=COLORS[name], marker="o", markersize=4, linewidth=1.8, label=name)
    axes.set_ylabel("ms, median")
    axes.grid()
    axes.legend(fontsize=8, loc="upper left")


def stages(costs: Mapping[str, Mapping[str, float]], path: Path) -> None:
    """What a Recommend call spends in each stage, as the servers tell."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.2, 1.3 + 0.5 * len(costs)), layout="constrained")
        axes = figure.add_subplot()
        for place, means in enumerate(costs.values()):
            left = 0.0
            for stage, color in STAGES.items():
                width = means.get(stage, 0.0)
                axes.barh(place, width, left=left, height=0.6, color=color, label=stage if place == 0 else "_nolegend_")
                left += width
            axes.annotate(f"{left:.1f} ms", (left, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(costs)), list(costs), color=INK)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_xlabel("ms")
        axes.set_title("One funnel call at a time, history of 200, by stage")
        figure.legend(loc="outside lower center", ncols=len(STAGES), handlelength=1.2)
        save(figure, path)


def plain_ticks(axis: Axis, within: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Ticks of a logarithmic axis as plain numbers."""
    axis.set_major_locator(LogLocator(subs=within))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


def panels(figure: Figure, count: int, rows: int = 1) -> list[Axes]:
    """Two beside each other in a row."""
    return [figure.add_subplot(rows, 2, place + 1) for place in range(count)]


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
