"""The comparison of runs as JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from markupsafe import Markup

from shortlist.evaluation.comparison import Comparison, pooled, pooled_curves
from shortlist.evaluation.plots import difference_plot, metric_bars, training_curves
from shortlist.evaluation.report import render, report_content, slice_plots, task_plots, write_texts
from shortlist.evaluation.result import Result
from shortlist.evaluation.tables import (
    Row,
    Table,
    cost_table,
    difference_cell,
    estimate_table,
    family,
    markdown,
    meanings_of,
    metric_tables,
    slice_tables,
)

FORMAT = "shortlist.comparison/1"  # of the JSON; docs/guides/reports.md. Fields are only added under one number


def write_comparison(comparison: Comparison, folder: Path, name: str = "comparison") -> list[Path]:
    """Write `<name>.json`, `<name>.md` and `<name>.html`; returns their paths."""
    return write_texts(
        {"json": comparison_json(comparison), "md": comparison_markdown(comparison), "html": comparison_html(comparison)}, folder, name
    )


def comparison_json(comparison: Comparison) -> str:
    """Every run's own report, the means over seeds and the differences from the base."""
    results = [pooled(group) for group in comparison.groups]
    content: dict[str, Any] = {
        "format": FORMAT,
        "title": comparison.title,
        "facts": dict(comparison.facts),
        "base": comparison.base,
        "groups": [
            {
                "label": group.label,
                "recipe": group.recipe,
                "model": group.model,
                "baseline": group.results[0].baseline,
                "seeds": list(group.seeds),
                "metrics": {metric: asdict(estimate) for metric, estimate in result.metrics.items()},
                "slices": {name: asdict(part) for name, part in result.slices.items()},
            }
            for group, result in zip(comparison.groups, results, strict=True)
        ],
        "differences": {
            label: {metric: asdict(estimate) for metric, estimate in found.items()} for label, found in comparison.differences.items()
        },
        "runs": [
            {"name": run.name, "recipe": run.recipe, "seed": run.seed, "report": report_content(run.report)} for run in comparison.runs
        ],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def comparison_markdown(comparison: Comparison) -> str:
    results = [pooled(group) for group in comparison.groups]
    parts = [f"# {comparison.title}", *(f"- {name}: {fact}" for name, fact in comparison.facts.items())]
    slices = [table for metric in comparison.headline for table in slice_tables(results, metric)]
    for table in (*metric_tables(results), *difference_tables(comparison), *slices, *run_tables(comparison), costs_of(comparison)):
        parts += [f"\n## {table.title}", markdown(table)]
    return "\n".join(parts) + "\n"


def comparison_html(comparison: Comparison) -> str:
    results = [pooled(group) for group in comparison.groups]
    return render(
        "comparison.html",
        comparison=comparison,
        bars=[Markup(metric_bars(results, metric)) for metric in comparison.headline],
        tables=metric_tables(results),
        difference_plots=[Markup(plot) for plot in _difference_plots(comparison)],
        differences=difference_tables(comparison),
        slices=[table for metric in comparison.headline for table in slice_tables(results, metric)],
        slice_plots=[Markup(plot) for plot in slice_plots(_last_models(comparison, results), comparison.headline[0])],
        tasks=[Markup(plot) for plot in task_plots(results)],
        curves=[Markup(training_curves(plot)) for plot in pooled_curves(comparison.runs)],
        costs=costs_of(comparison),
        runs=run_tables(comparison),
        meanings=meanings_of(metric for result in results for metric in result.metrics),
    )


def difference_tables(comparison: Comparison) -> list[Table]:
    """Differences from the base: a table per family of metrics."""
    families: dict[str, list[str]] = {}
    for metric in dict.fromkeys(metric for found in comparison.differences.values() for metric in found):
        families.setdefault(family(metric), []).append(metric)
    baselines = {group.label for group in comparison.groups if group.results[0].baseline}
    tables = []
    for name, metrics in families.items():
        rows = [
            Row(label, [difference_cell(found.get(metric), metric) for metric in metrics], label in baselines)
            for label, found in comparison.differences.items()
        ]
        tables.append(Table(f"{name}: difference from {comparison.base}", "model", metrics, rows))
    return tables


def run_tables(comparison: Comparison) -> list[Table]:
    """The full-ranking metrics of every single run, with intervals over users."""
    rows = []
    for run in comparison.runs:
        for result in run.report.results:
            if not result.baseline and result.values:
                metrics = {name: estimate for name, estimate in result.metrics.items() if family(name) == "Full ranking"}
                rows.append((f"{run.name}/{result.model}", False, metrics))
    return [estimate_table("Every run", "run/model", rows)]


def costs_of(comparison: Comparison) -> Table:
    return cost_table([(f"{run.name}/{cost.stage}", cost) for run in comparison.runs for cost in run.report.costs])


def _difference_plots(comparison: Comparison) -> list[str]:
    plots = []
    for metric in comparison.headline:
        found = {label: values[metric] for label, values in comparison.differences.items() if metric in values}
        plots += [difference_plot(f"{metric}: difference from {comparison.base}", found)] if found else []
    return plots


def _last_models(comparison: Comparison, results: list[Result]) -> list[Result]:
    """Baselines and each recipe's last model: bars of all stages of all recipes would be too many to read."""
    last = {group.recipe: index for index, group in enumerate(comparison.groups) if group.recipe and group.results[0].values}
    return [result for index, result in enumerate(results) if result.baseline or index in last.values()]
