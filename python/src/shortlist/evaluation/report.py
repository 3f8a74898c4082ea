"""The evaluation report as JSON, Markdown and one self-contained HTML page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shortlist.errors import DataError
from shortlist.evaluation.cascade import StageCut
from shortlist.evaluation.costs import StageCost
from shortlist.evaluation.gates import Gate
from shortlist.evaluation.plots import TrainingCurves, metric_bars, reliability_plot, score_histogram, slice_bars, training_curves
from shortlist.evaluation.result import Result
from shortlist.evaluation.tables import Table, cost_table, markdown, meanings_of, metric_tables, slice_tables

FORMAT = "shortlist.evaluation/1"  # of the JSON; docs/guides/reports.md. Fields are only added under one number


@dataclass(frozen=True)
class Report:
    """What a report says. `facts` are its first lines (data set, protocol, release ...); `headline` metrics are plotted and sliced."""

    title: str
    results: Sequence[Result]
    facts: Mapping[str, str] = field(default_factory=dict)
    headline: Sequence[str] = ("ndcg@10", "recall@100")
    gates: Sequence[Gate] = ()
    cuts: Sequence[StageCut] = ()
    curves: Sequence[TrainingCurves] = ()
    costs: Sequence[StageCost] = ()
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise DataError(f"report {self.title!r} has no results", why="there is nothing to tell", fix="evaluate at least one model")


def write_report(report: Report, folder: Path, name: str = "evaluation") -> list[Path]:
    """Write `<name>.json`, `<name>.md` and `<name>.html`; returns their paths."""
    return write_texts({"json": to_json(report), "md": to_markdown(report), "html": to_html(report)}, folder, name)


def write_texts(texts: Mapping[str, str], folder: Path, name: str) -> list[Path]:
    """Write `<name>.<ending>` for each ending; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{ending}" for ending in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths


def to_json(report: Report) -> str:
    """All numbers, with intervals; values of single requests are left out."""
    return json.dumps(report_content(report), indent=2, allow_nan=False) + "\n"


def report_content(report: Report) -> dict[str, Any]:
    """The JSON document of a report."""
    return {
        "format": FORMAT,
        "title": report.title,
        "facts": dict(report.facts),
        "results": [_result_content(result) for result in report.results],
        "gates": [asdict(gate) for gate in report.gates],
        "cuts": [asdict(cut) for cut in report.cuts],
        "curves": [_curves_content(plot) for plot in report.curves],
        "costs": [asdict(cost) for cost in report.costs],
        "notes": list(report.notes),
    }


def _result_content(result: Result) -> dict[str, Any]:
    return {
        "model": result.model,
        "split": result.split,
        "baseline": result.baseline,
        "targets": result.targets,
        "metrics": {name: asdict(estimate) for name, estimate in result.metrics.items()},
        "slices": {name: asdict(part) for name, part in result.slices.items()},
        "reliability": {task: _lists(bins) for task, bins in result.reliability.items()},
        "scores": {task: _lists(histogram) for task, histogram in result.scores.items()},
    }


def _curves_content(plot: TrainingCurves) -> dict[str, Any]:
    curves = [{"label": curve.label, "steps": list(curve.steps), "values": list(curve.values)} for curve in plot.curves]
    return {"stage": plot.stage, "metric": plot.metric, "curves": curves, "baselines": dict(plot.baselines)}


def to_markdown(report: Report) -> str:
    parts = [f"# {report.title}", *(f"- {name}: {fact}" for name, fact in report.facts.items())]
    for table in _tables(report):
        parts += [f"\n## {table.title}", markdown(table)]
    if report.cuts:
        parts += ["\n## The funnel's cuts", "| stage | passes on | recall | kept |", "|---|---:|---:|---:|"]
        parts += [f"| {cut.stage} | {cut.width} | {cut.recall:.4f} | {cut.kept:.4f} |" for cut in report.cuts]
    if report.gates:
        parts += ["\n## Gates", *(f"- {'passed' if gate.passed else 'FAILED'}: {gate.name}. {gate.detail}" for gate in report.gates)]
    if report.notes:
        parts += ["\n## Notes", *(f"- {note}" for note in report.notes)]
    return "\n".join(parts) + "\n"


def to_html(report: Report) -> str:
    """One page without outside resources: plots are inline SVG, values from outside are escaped."""
    return render(
        "report.html",
        report=report,
        tables=metric_tables(report.results),
        slices=[table for metric in report.headline for table in slice_tables(report.results, metric)],
        slice_plots=[Markup(plot) for plot in slice_plots(report.results, report.headline[0])],
        curves=[Markup(training_curves(curves)) for curves in report.curves],
        bars=[Markup(plot) for plot in _bars(report)],
        tasks=[Markup(plot) for plot in task_plots(report.results)],
        costs=cost_table([(cost.stage, cost) for cost in report.costs]),
        meanings=meanings_of(metric for result in report.results for metric in result.metrics),
    )


def render(template: str, **values: Any) -> str:
    """A template of this package; every value is escaped unless it is markup."""
    environment = Environment(
        loader=PackageLoader("shortlist.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**values)


def _tables(report: Report) -> list[Table]:
    slices = [table for metric in report.headline for table in slice_tables(report.results, metric)]
    return [*metric_tables(report.results), *slices, *([cost_table([(cost.stage, cost) for cost in report.costs])] if report.costs else [])]


def _bars(report: Report) -> list[str]:
    """A bar plot per split and headline metric."""
    plots = []
    for split in dict.fromkeys(result.split for result in report.results):
        shown = sorted((result for result in report.results if result.split == split), key=lambda result: not result.baseline)
        plots += [metric_bars(shown, metric) for metric in report.headline if any(metric in result.metrics for result in shown)]
    return plots


def slice_plots(results: Sequence[Result], metric: str) -> list[str]:
    """Bars of the best baseline and of all models: one plot of the slices that every log has, one of each column of users."""
    plots = []
    for split in dict.fromkeys(result.split for result in results):
        sliced = [result for result in results if result.split == split and result.slices and metric in result.metrics]
        baselines = sorted((result for result in sliced if result.baseline), key=lambda result: -result.metrics[metric].value)
        shown = [*baselines[:1], *(result for result in sliced if not result.baseline)]
        names = list(dict.fromkeys(name for result in shown for name in result.slices))
        for part in dict.fromkeys(name.partition("=")[0] if "=" in name else "" for name in names):
            plots.append(slice_bars(shown, metric, [name for name in names if (name.partition("=")[0] if "=" in name else "") == part]))
    return plots


def task_plots(results: Sequence[Result]) -> list[str]:
    """Reliability and spread of the predicted probabilities of every task."""
    plots = []
    for task in dict.fromkeys(task for result in results for task in (*result.reliability, *result.scores)):
        bins = {result.model: result.reliability[task] for result in results if task in result.reliability}
        plots += [reliability_plot(task, bins)] if bins else []
        scores = {result.model: result.scores[task] for result in results if task in result.scores}
        plots += [score_histogram(task, scores)] if scores else []
    return plots


def _lists(record: Any) -> dict[str, list[float]]:
    """A dataclass of arrays as lists."""
    return {name: getattr(record, name).tolist() for name in record.__dataclass_fields__}
