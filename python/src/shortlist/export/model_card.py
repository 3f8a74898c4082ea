"""The model card: one self-contained HTML page, with plots as inline SVG, that says what a release is and how good it is."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from itertools import pairwise
from typing import Any

import jinja2
import matplotlib
import onnx
from markupsafe import Markup
from matplotlib.figure import Figure

from shortlist.export.content import Content
from shortlist.export.graphs import Signature
from shortlist.export.value_formula import to_text
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb

_BASELINES = ("random", "popularity", "popular", "cooccurrence")
_BLUE, _GREY = "#2563a8", "#b8c0cc"


def model_card(
    *,
    name: str,
    content: Content,
    graphs: Mapping[str, bytes],
    signatures: Mapping[str, Signature],
    facts: Mapping[str, int],
    metrics: Sequence[pb.Metric],
    gates: Sequence[pb.Gate],
    lineage: pb.Lineage,
    histograms: str,
    calibration: Mapping[str, Any],
) -> str:
    """The page. `calibration` is what training recorded of it; empty: none was made.

    Equal arguments give equal text: no dates, no random ids.
    """
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string((files("shortlist.export") / "templates" / "model_card.html").read_text(encoding="utf-8"))
    drawn = json.loads(histograms)
    split = _shown_split(metrics)
    return template.render(
        name=name,
        content=content,
        formula=to_text(content.formula),
        facts=facts,
        metrics=_table(metrics, split),
        split=split,
        metrics_plot=_bars(metrics, split),
        calibration=_calibration_rows(calibration),
        calibrated_on=calibration.get("observations", ""),
        reliability_plots=[(task, _reliability(task, found["test"])) for task, found in _measured(calibration).items()],
        gates=gates,
        graphs=[_graph_row(graph, data, signatures[graph]) for graph, data in graphs.items()],
        score_plots=[(title, _histogram(values)) for title, values in sorted(drawn["scores"].items()) if values["total"]],
        requests=drawn["requests"],
        lineage=lineage,
        config=json.dumps(json.loads(lineage.config_json), indent=1) if lineage.config_json else "",
        source_kinds={pb.TWO_TOWER: "two-tower", pb.COOCCURRENCE: "co-occurrence", pb.POPULAR: "popular"},
    )


def _shown_split(metrics: Sequence[pb.Metric]) -> str:
    splits = {metric.split for metric in metrics}
    return "test" if "test" in splits else next(iter(sorted(splits)), "")


def _table(metrics: Sequence[pb.Metric], split: str) -> dict[str, Any]:
    """Models as rows, baselines first; the best value of each metric is marked."""
    shown = [metric for metric in metrics if metric.split == split]
    names = list(dict.fromkeys(metric.name for metric in shown))
    models = sorted(dict.fromkeys(metric.model for metric in shown), key=lambda model: model not in _BASELINES)
    values = {(metric.model, metric.name): metric.value for metric in shown}
    best = {name: max((values[model, name] for model in models if (model, name) in values), default=0.0) for name in names}
    rows = [
        {
            "model": model,
            "baseline": model in _BASELINES,
            "cells": [
                {"text": f"{values[model, name]:.4f}" if (model, name) in values else "-", "best": values.get((model, name)) == best[name]}
                for name in names
            ],
        }
        for model in models
    ]
    return {"names": names, "rows": rows}


def _graph_row(name: str, data: bytes, signature: Signature) -> dict[str, Any]:
    model = onnx.load_from_string(data)
    weights = sum(_elements(tensor.dims) for tensor in model.graph.initializer)
    return {
        "name": name,
        "about": model.doc_string,
        "nodes": len(model.graph.node),
        "kilobytes": len(data) / 1024,
        "weights": weights,
        "inputs": [(spec.name, _shape(spec.shape)) for spec in signature.inputs],
        "outputs": [(spec.name, _shape(spec.shape)) for spec in signature.outputs],
    }


def _elements(dims: Sequence[int]) -> int:
    count = 1
    for dim in dims:
        count *= dim
    return count


def _shape(shape: Sequence[str | int]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _bars(metrics: Sequence[pb.Metric], split: str) -> Markup:
    """Each metric's values by model, baselines in grey."""
    table = _table(metrics, split)
    if not table["rows"]:
        return Markup("")
    names, rows = table["names"], table["rows"]
    figure = Figure(figsize=(2.6 * len(names), 0.6 + 0.32 * len(rows)))
    for place, axes in enumerate(figure.subplots(1, len(names), squeeze=False)[0]):
        values = [0.0 if row["cells"][place]["text"] == "-" else float(row["cells"][place]["text"]) for row in rows]
        axes.barh(range(len(rows)), values, color=[_GREY if row["baseline"] else _BLUE for row in rows], height=0.7)
        axes.set_yticks(range(len(rows)), [row["model"] for row in rows] if place == 0 else [""] * len(rows))
        axes.invert_yaxis()
        axes.set_title(names[place], fontsize=9)
        _plain(axes)
    return _svg(figure)


def _histogram(values: Mapping[str, Any]) -> Markup:
    """Density between the inner edges; the outer bins are open and drawn as wide as their neighbours."""
    edges, counts = values["edges"], values["counts"]
    if len(edges) < 2:
        return Markup("<p>one value only</p>")
    bounds = [2 * edges[0] - edges[1], *edges, 2 * edges[-1] - edges[-2]]
    figure = Figure(figsize=(3.0, 1.5))
    axes = figure.subplots()
    widths = [right - left for left, right in pairwise(bounds)]
    density = [count / values["total"] / width for count, width in zip(counts, widths, strict=True)]
    axes.stairs(density, bounds, fill=True, color=_BLUE)
    axes.set_yticks([])
    _plain(axes)
    return _svg(figure)


def _measured(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """The tasks with observations in the test part."""
    return {task: found for task, found in calibration.get("tasks", {}).items() if "before" in found["test"]}


def _calibration_rows(calibration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A row per task: its map, and log-loss and calibration error on the test part before and after."""
    return [
        {
            "task": task,
            "map": f"{found['slope']:.3f} x {found['intercept']:+.3f}",
            "positives": f"{found['test']['positives']:,} of {found['test']['observations']:,}",
            "cells": [f"{found['test'][when][metric]:.5f}" for metric in ("ece", "log_loss") for when in ("before", "after")],
        }
        for task, found in _measured(calibration).items()
    ]


def _reliability(task: str, found: Mapping[str, Any]) -> Markup:
    """Observed rate against mean prediction of each bin, before and after; logarithmic where outcomes are rare."""
    figure = Figure(figsize=(3.0, 2.6))
    axes = figure.subplots()
    bins = {when: found[when]["bins"] for when in ("before", "after")}
    values = [value for each in bins.values() for side in ("prediction", "label") for value in each[side] if value > 0]
    low, high = min(values) / 1.5, max(values) * 1.2
    if high < 0.25:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        low = 0.0
    axes.plot([low, high], [low, high], color=_GREY, linewidth=1, linestyle="--")
    for (when, each), color in zip(bins.items(), (_GREY, _BLUE), strict=True):
        axes.plot(each["prediction"], each["label"], color=color, linewidth=1.2, marker="o", markersize=3, label=when)
    axes.set_xlabel("mean prediction", fontsize=8)
    axes.set_ylabel("observed rate", fontsize=8)
    axes.set_title(task, fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    _plain(axes)
    return _svg(figure)


def _plain(axes: Any) -> None:
    axes.tick_params(labelsize=8, length=2)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _svg(figure: Figure) -> Markup:
    """Inline SVG without dates and random ids."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "shortlist", "svg.fonttype": "none", "font.family": "sans-serif"}):
        figure.tight_layout()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    drawn = text.getvalue()
    return Markup(drawn[drawn.index("<svg") :])
