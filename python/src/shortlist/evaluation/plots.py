"""Plots of the reports as SVG texts, without global state: the same input gives the same bytes. Blue is ours, grey a baseline.

Colours become the page's CSS variables, so that a plot follows its light and dark themes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from shortlist.errors import DataError
from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.result import Histogram, Result
from shortlist.metrics.calibration import ReliabilityBins

_INK, _MUTED, _GRID = "#0f172a", "#64748b", "#e2e8f0"
_OURS = ("#1d4ed8", "#b45309", "#047857", "#7c3aed", "#be123c", "#0e7490")
_BASELINES = ("#94a3b8", "#78716c", "#b8c0cc", "#475569")
_VARIABLES = {_INK: "--ink", _MUTED: "--muted", _GRID: "--line"}
_VARIABLES |= {color: f"--ours{index}" for index, color in enumerate(_OURS)}
_VARIABLES |= {color: f"--baseline{index}" for index, color in enumerate(_BASELINES)}
_STYLES = ((0, ()), (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
_STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, sharp and searchable
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the layout is the same everywhere; the page replaces it
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "grid.color": _GRID,
    "legend.frameon": False,
}


@dataclass(frozen=True)
class Curve:
    """A metric over training steps. Curves of one label are seeds of one thing: they share a colour."""

    label: str
    steps: Sequence[float]
    values: Sequence[float]


@dataclass(frozen=True)
class TrainingCurves:
    """A validation metric over the training of a stage, and the baselines' values to draw as levels."""

    stage: str
    metric: str
    curves: Sequence[Curve]
    baselines: Mapping[str, float] = field(default_factory=dict)


def training_curves(plot: TrainingCurves) -> str:
    """The metric by training step; a model is worth something where its line is above the levels."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(7.2, 3.2)
        labels = list(dict.fromkeys(curve.label for curve in plot.curves))
        colors = dict(zip(labels, _cycle(_OURS, len(labels)), strict=True))
        named = set()
        for curve in plot.curves:
            steps, values = curve.steps, curve.values
            if len(steps) != len(values) or len(steps) == 0:
                raise DataError(f"curve {curve.label!r} has {len(steps)} steps and {len(values)} values", why="each value needs its step")
            label = "_nolegend_" if curve.label in named else curve.label
            named.add(curve.label)
            axes.plot(steps, values, color=colors[curve.label], linewidth=1.8, label=label, marker="o" if len(steps) < 3 else None)
        for index, (name, value) in enumerate(plot.baselines.items()):
            style = _STYLES[1 + index % (len(_STYLES) - 1)]
            color = _BASELINES[index % len(_BASELINES)]
            axes.axhline(value, color=color, linewidth=1.4, linestyle=style, label=f"{name} {value:.3f}")
        axes.set_xlabel("training step")
        axes.set_title(f"{plot.stage}: {plot.metric} on validation")
        axes.grid(axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        return _svg(figure, f"curves {plot.stage} {plot.metric}")


def metric_bars(results: Sequence[Result], metric: str) -> str:
    """One bar per model with its 95% interval, in the order given."""
    shown = [result for result in results if metric in result.metrics]
    if not shown:
        raise DataError(f"no result has the metric {metric!r}", fix="plot one that was computed")
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(5.2, 0.9 + 0.38 * len(shown))
        for place, result in enumerate(shown):
            estimate = result.metrics[metric]
            axes.barh(place, estimate.value, height=0.62, color=_BASELINES[0] if result.baseline else _OURS[0])
            end = estimate.value
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [place, place], color=_INK, linewidth=1.2, solid_capstyle="butt")
                end = max(end, estimate.high)
            axes.annotate(f"{estimate.value:.4f}", (end, place), xytext=(5, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(shown)), [result.model for result in shown], color=_INK)
        axes.invert_yaxis()
        axes.margins(x=0.18)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_title(metric)
        return _svg(figure, f"bars {metric}")


def slice_bars(results: Sequence[Result], metric: str, slices: Sequence[str]) -> str:
    """The metric in each slice: a group of bars with their 95% intervals, one bar per model in the order given."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(5.6, 0.9 + len(slices) * (0.2 + 0.17 * len(results)))
        pitch = 0.84 / len(results)
        ours = iter(_cycle(_OURS, len(results)))
        grey = iter(_cycle(_BASELINES, len(results)))
        for index, result in enumerate(results):
            color = next(grey) if result.baseline else next(ours)
            found = [(at, result.slices[name].metrics[metric]) for at, name in enumerate(slices) if name in result.slices]
            places = [at - 0.42 + pitch * (index + 0.5) for at, _ in found]
            axes.barh(places, [estimate.value for _, estimate in found], height=0.92 * pitch, color=color, label=result.model)
            for place, (_, estimate) in zip(places, found, strict=True):
                if estimate.low is not None and estimate.high is not None:
                    axes.plot([estimate.low, estimate.high], [place, place], color=_INK, linewidth=0.9, solid_capstyle="butt")
        sizes = {name: part.targets for result in results for name, part in result.slices.items()}
        axes.set_yticks(range(len(slices)), [f"{name}\n{sizes[name]:,} targets" for name in slices], color=_INK)
        axes.set_ylim(len(slices) - 0.45, -0.55)
        axes.set_xlim(left=0)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_title(f"{metric} by slice")
        figure.legend(loc="outside lower left", ncols=4, handlelength=1.2, columnspacing=1.2)
        return _svg(figure, f"slices {metric} {' '.join(slices)}")


def difference_plot(title: str, differences: Mapping[str, Estimate]) -> str:
    """Differences from a base with their 95% intervals; one that leaves the line at 0 out is no noise."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.9 + 0.32 * len(differences))
        axes.axvline(0, color=_MUTED, linewidth=1)
        for place, estimate in enumerate(differences.values()):
            sure = estimate.low is not None and estimate.high is not None and not estimate.low <= 0 <= estimate.high
            color = (_OURS[2] if estimate.value > 0 else _OURS[4]) if sure else _MUTED
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [place, place], color=color, linewidth=1.6, solid_capstyle="butt")
            axes.plot([estimate.value], [place], color=color, marker="o", markersize=5)
        axes.set_yticks(range(len(differences)), list(differences), color=_INK)
        axes.set_ylim(len(differences) - 0.5, -0.5)
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_title(title)
        return _svg(figure, f"differences {title}")


def reliability_plot(task: str, models: Mapping[str, ReliabilityBins]) -> str:
    """Mean label against mean prediction of each bin, on logarithmic axes where outcomes are rare; the diagonal is perfect."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.4, 3.8)
        largest = max((float(max(bins.prediction.max(), bins.label.max())) for bins in models.values()), default=1.0)
        positive = np.concatenate([np.concatenate([bins.prediction, bins.label]) for bins in models.values()] or [np.ones(1)])
        smallest = float(positive[positive > 0].min(initial=1.0))
        if largest < 0.2:
            axes.set_xscale("log")
            axes.set_yscale("log")
        low = smallest / 1.5 if largest < 0.2 else 0.0
        axes.plot([low, largest * 1.05], [low, largest * 1.05], color=_BASELINES[0], linewidth=1.2, linestyle=_STYLES[1], label="perfect")
        for (name, bins), color in zip(models.items(), _cycle(_OURS, len(models)), strict=True):
            axes.plot(bins.prediction, bins.label, color=color, linewidth=1.4, marker="o", markersize=4, label=name)
        axes.set_xlabel("mean prediction")
        axes.set_ylabel("observed rate")
        axes.set_title(f"Reliability: {task}")
        axes.grid()
        axes.legend(loc="upper left")
        return _svg(figure, f"reliability {task}")


def score_histogram(task: str, models: Mapping[str, Histogram]) -> str:
    """How predictions are spread: the share of predictions in each bin."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.4, 3.8)
        for (name, histogram), color in zip(models.items(), _cycle(_OURS, len(models)), strict=True):
            share = histogram.counts / max(1, histogram.counts.sum())
            axes.stairs(share, histogram.edges, color=color, fill=len(models) == 1, alpha=0.85, linewidth=1.4, label=name)
        axes.set_xlabel("predicted probability")
        axes.set_ylabel("share of impressions")
        axes.set_title(f"Predictions: {task}")
        axes.grid(axis="y")
        axes.legend(loc="upper right")
        return _svg(figure, f"scores {task}")


def interval_rows(title: str, rows: Sequence[tuple[str, Estimate, float]]) -> str:
    """One row per (name, share with its interval, threshold): blue where the whole interval lies above the threshold, a red tick."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(8.2, 0.9 + 0.34 * len(rows))
        for place, (_, estimate, threshold) in enumerate(rows):
            low, high = (estimate.value if end is None else end for end in (estimate.low, estimate.high))
            color = _OURS[0] if low > threshold else _BASELINES[0]
            axes.plot([low, high], [place, place], color=color, linewidth=2.4, solid_capstyle="butt")
            axes.plot([estimate.value], [place], color=color, marker="o", markersize=5)
            axes.plot([threshold, threshold], [place - 0.32, place + 0.32], color=_OURS[4], linewidth=1.2)
        axes.axvline(0, color=_MUTED, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [name for name, _, _ in rows], color=_INK)
        axes.invert_yaxis()
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="x")
        axes.tick_params(length=0)
        axes.set_title(title)
        return _svg(figure, f"intervals {title}")


def value_histogram(title: str, label: str, values: Sequence[float] | npt.NDArray[np.int64], mark: float | None = None) -> str:
    """How values of 0 and above are spread, on a logarithmic axis; `mark` draws a line."""
    with mpl.rc_context(_STYLE):
        figure, axes = _figure(4.4, 3.0)
        shown = np.maximum(np.asarray(values, dtype=np.float64), 1.0)
        edges = np.geomspace(1.0, max(2.0, float(shown.max())), 31)
        counts, _ = np.histogram(shown, edges)
        axes.stairs(counts / max(1, counts.sum()), edges, color=_OURS[0], fill=True, alpha=0.85)
        if mark is not None:
            axes.axvline(mark, color=_OURS[4], linewidth=1.2, linestyle=_STYLES[1])
        axes.set_xscale("log")
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        axes.set_xlabel(label)
        axes.set_title(title)
        axes.grid(axis="y")
        return _svg(figure, f"histogram {title}")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _cycle(colors: Sequence[str], count: int) -> list[str]:
    return [colors[index % len(colors)] for index in range(count)]


def _svg(figure: Figure, name: str) -> str:
    """The figure as an <svg> element. Ids are salted with the name, so that many fit in one page."""
    buffer = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("'DejaVu Sans'", "Helvetica, Arial, sans-serif")
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return text
