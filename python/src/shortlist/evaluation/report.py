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
from shortlist.evaluation.gates import Gate
from shortlist.evaluation.plots import TrainingCurves, metric_bars, reliability_plot, score_histogram, training_curves
from shortlist.evaluation.result import Result
from shortlist.evaluation.tables import MEANINGS, Table, base_name, markdown, metric_tables, slice_tables


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
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not self.results:
            raise DataError(f"report {self.title!r} has no results", why="there is nothing to tell", fix="evaluate at least one model")


def write_report(report: Report, folder: Path, name: str = "evaluation") -> list[Path]:
    """Write `<name>.json`, `<name>.md` and `<name>.html`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"json": to_json(report), "md": to_markdown(report), "html": to_html(report)}
    paths = []
    for ending, text in texts.items():
        path = folder / f"{name}.{ending}"
        path.write_text(text, encoding="utf-8")
        paths.append(path)
    return paths


def to_json(report: Report) -> str:
    """All numbers, with intervals; values of single requests are left out."""
    results = [
        {
            "model": result.model,
            "split": result.split,
            "baseline": result.baseline,
            "targets": result.targets,
            "metrics": {name: asdict(estimate) for name, estimate in result.metrics.items()},
            "slices": {name: asdict(part) for name, part in result.slices.items()},
            "reliability": {task: _lists(bins) for task, bins in result.reliability.items()},
            "scores": {task: _lists(histogram) for task, histogram in result.scores.items()},
        }
        for result in report.results
    ]
    content = {
        "title": report.title,
        "facts": dict(report.facts),
        "results": results,
        "gates": [asdict(gate) for gate in report.gates],
        "cuts": [asdict(cut) for cut in report.cuts],
        "notes": list(report.notes),
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


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
    environment = Environment(
        loader=PackageLoader("shortlist.evaluation", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    used = dict.fromkeys(base_name(metric) for result in report.results for metric in result.metrics)
    return environment.get_template("report.html").render(
        report=report,
        tables=metric_tables(report.results),
        slices=[table for metric in report.headline for table in slice_tables(report.results, metric)],
        curves=[Markup(training_curves(curves)) for curves in report.curves],
        bars=[Markup(plot) for plot in _bars(report)],
        tasks=[Markup(plot) for plot in _task_plots(report.results)],
        meanings={name: MEANINGS[name][0] for name in used if name in MEANINGS},
    )


def _tables(report: Report) -> list[Table]:
    return [*metric_tables(report.results), *(table for metric in report.headline for table in slice_tables(report.results, metric))]


def _bars(report: Report) -> list[str]:
    """A bar plot per split and headline metric."""
    plots = []
    for split in dict.fromkeys(result.split for result in report.results):
        shown = sorted((result for result in report.results if result.split == split), key=lambda result: not result.baseline)
        plots += [metric_bars(shown, metric) for metric in report.headline if any(metric in result.metrics for result in shown)]
    return plots


def _task_plots(results: Sequence[Result]) -> list[str]:
    plots = []
    for task in dict.fromkeys(task for result in results for task in result.scores):
        bins = {result.model: result.reliability[task] for result in results if task in result.reliability}
        plots += [reliability_plot(task, bins)] if bins else []
        plots.append(score_histogram(task, {result.model: result.scores[task] for result in results if task in result.scores}))
    return plots


def _lists(record: Any) -> dict[str, list[float]]:
    """A dataclass of arrays as lists."""
    return {name: getattr(record, name).tolist() for name in record.__dataclass_fields__}
