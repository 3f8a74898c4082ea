"""Tables of the reports, and what each metric means. A table is text: pages and Markdown lay it out alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.costs import StageCost
from shortlist.evaluation.result import Result

# Base name -> (what it is, +1 higher is better, -1 lower, 0 neither).
MEANINGS: dict[str, tuple[str, int]] = {
    "hr": ("share of requests with the true item among the first k", 1),
    "ndcg": ("the same, discounted by the logarithm of the item's rank", 1),
    "recall": ("share of true items among the first k", 1),
    "mrr": ("mean of 1 / rank of the true item", 1),
    "value": ("mean value of the true items among the first k, in the unit of the log's values", 1),
    "value_hr": ("share of the money of all requests whose true item is among the first k", 1),
    "value_ndcg": ("ndcg where each request weighs what its true item is worth", 1),
    "coverage": ("share of the catalog that is in somebody's first k", 1),
    "novelty": ("mean bits of surprise in the first k, by training popularity", 0),
    "diversity": ("mean distance between the items of the first k, by their categories", 0),
    "popularity": ("mean popularity percentile of the first k; 1 is the most popular item", 0),
    "popularity_lift": ("mean popularity of the first k over that of the true items; 1 is unbiased", 0),
    "auc": ("chance that a positive impression scores above a negative one", 1),
    "request_auc": ("the same inside one request, averaged over requests", 1),
    "log_loss": ("mean negative log-likelihood, in nats", -1),
    "normalized_entropy": ("log-loss over that of the base rate; below 1 is better than knowing nothing", -1),
    "calibration": ("predicted over observed positives; 1 is right", 0),
    "ece": ("expected calibration error over bins of equal mass", -1),
}
_VALUE = ("value", "value_hr", "value_ndcg")
_BEYOND = ("coverage", "novelty", "diversity", "popularity", "popularity_lift")

Mark = Literal["", "best", "better", "worse"]


@dataclass(frozen=True)
class Cell:
    text: str
    interval: str = ""
    mark: Mark = ""


@dataclass(frozen=True)
class Row:
    label: str
    cells: list[Cell]
    baseline: bool = False


@dataclass(frozen=True)
class Table:
    """`head` names the first column; `meanings` explain columns."""

    title: str
    head: str
    columns: list[str]
    rows: list[Row]
    meanings: Mapping[str, str] = field(default_factory=dict)


def base_name(metric: str) -> str:
    """`ndcg@10` and `auc:click` are `ndcg` and `auc`."""
    return metric.partition("@")[0].partition(":")[0]


def direction(metric: str) -> int:
    """+1 where higher is better, -1 where lower is, 0 where neither."""
    return MEANINGS.get(base_name(metric), ("", 0))[1]


def family(metric: str) -> str:
    """The table that a metric belongs to."""
    name, _, task = metric.partition(":")
    if task:
        return f"Impressions, {task}"
    base = base_name(name)
    return "Value" if base in _VALUE else "Beyond relevance" if base in _BEYOND else "Full ranking"


def number(value: float) -> str:
    """Four decimals where values are near 1, fewer where they are large."""
    return f"{value:.4f}" if abs(value) < 100 else f"{value:,.2f}" if abs(value) < 10_000 else f"{value:,.0f}"


def estimate_cell(estimate: Estimate | None, mark: Mark = "") -> Cell:
    if estimate is None:
        return Cell("")
    interval = f"{number(estimate.low)} to {number(estimate.high)}" if estimate.low is not None and estimate.high is not None else ""
    return Cell(number(estimate.value), interval, mark)


def difference_cell(estimate: Estimate | None, metric: str) -> Cell:
    """A difference with its sign; better or worse where its interval leaves 0 out and the metric has a good end."""
    if estimate is None or estimate.low is None or estimate.high is None:
        return Cell("" if estimate is None else f"{estimate.value:+.4f}")
    sign = (1 if estimate.low > 0 else -1 if estimate.high < 0 else 0) * direction(metric)
    text, interval = f"{estimate.value:+.4f}", f"{estimate.low:+.4f} to {estimate.high:+.4f}"
    return Cell(text, interval, "better" if sign > 0 else "worse" if sign < 0 else "")


def estimate_table(title: str, head: str, rows: Sequence[tuple[str, bool, Mapping[str, Estimate]]]) -> Table:
    """Rows of (label, is a baseline, estimates by metric); the best of a column is marked, of the metrics that have a good end."""
    columns = list(dict.fromkeys(metric for _, _, cells in rows for metric in cells))
    best = {column: _best([cells[column].value for _, _, cells in rows if column in cells], direction(column)) for column in columns}
    body = []
    for label, baseline, estimates in rows:
        cells = [_marked(estimates.get(column), best[column]) for column in columns]
        body.append(Row(label, cells, baseline))
    return Table(title, head, [column.partition(":")[0] for column in columns], body, meanings_of(columns))


def metric_tables(results: Sequence[Result]) -> list[Table]:
    """Per split a table of each family of metrics: models in rows, baselines first."""
    ordered = sorted(results, key=lambda result: not result.baseline)
    members: dict[str, list[tuple[str, bool, dict[str, Estimate]]]] = {}
    for result in ordered:
        parts: dict[str, dict[str, Estimate]] = {}
        for metric, estimate in result.metrics.items():
            parts.setdefault(f"{family(metric)} ({result.split})", {})[metric] = estimate
        for title, metrics in parts.items():
            members.setdefault(title, []).append((result.model, result.baseline, metrics))
    return [estimate_table(title, "model", rows) for title, rows in members.items()]


def slice_tables(results: Sequence[Result], metric: str) -> list[Table]:
    """Per split the metric overall and in each slice: slices in rows, models in columns, baselines first."""
    tables = []
    for split in dict.fromkeys(result.split for result in results):
        shown = [result for result in results if result.split == split and result.slices and metric in result.metrics]
        shown.sort(key=lambda result: not result.baseline)
        names = dict.fromkeys(name for result in shown for name in result.slices)
        if not names:
            continue
        columns = [{"all": (result.targets, result.metrics[metric])} | _in_slices(result, metric) for result in shown]
        rows = []
        for name in ("all", *names):
            found = [column[name] for column in columns if name in column]
            best = _best([estimate.value for _, estimate in found], direction(metric))
            cells = [_marked(column[name][1] if name in column else None, best) for column in columns]
            rows.append(Row(f"{name} ({found[0][0]:,})", cells))
        tables.append(Table(f"{metric} by slice ({split})", "slice (targets)", [result.model for result in shown], rows))
    return tables


def cost_table(costs: Sequence[tuple[str, StageCost]]) -> Table:
    """Labelled stages: what they took. Old runs did not record everything."""
    columns = ["time", "epochs", "best epoch", "steps", "events/s", "making batches", "validation", "peak memory"]
    rows = []
    for label, cost in costs:
        texts = [
            duration(cost.seconds),
            str(cost.epochs),
            str(cost.best_epoch),
            f"{cost.steps:,}",
            "" if cost.events_per_second is None else f"{cost.events_per_second:,.0f}",
            "" if cost.batch_share is None else f"{cost.batch_share:.0%}",
            "" if cost.validation_seconds is None else duration(cost.validation_seconds),
            "" if cost.peak_rss_mib is None else f"{cost.peak_rss_mib:,.0f} MiB",
        ]
        rows.append(Row(label, [Cell(text) for text in texts]))
    return Table("Time and memory of training", "stage", columns, rows)


def duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 100 else f"{int(seconds) // 60} min {int(seconds) % 60:02d} s"


def meanings_of(metrics: Iterable[str]) -> dict[str, str]:
    """Of the metrics that have one, by base name."""
    return {base_name(metric): MEANINGS[base_name(metric)][0] for metric in metrics if base_name(metric) in MEANINGS}


def markdown(table: Table) -> str:
    """A Markdown table; the best value of a column is bold, intervals are left to the page."""
    lines = [f"| {table.head} | {' | '.join(table.columns)} |", f"|---|{'---:|' * len(table.columns)}"]
    for row in table.rows:
        cells = [f"**{cell.text}**" if cell.mark == "best" else cell.text for cell in row.cells]
        lines.append(f"| {row.label.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _in_slices(result: Result, metric: str) -> dict[str, tuple[int, Estimate]]:
    return {name: (part.targets, part.metrics[metric]) for name, part in result.slices.items() if metric in part.metrics}


def _best(values: Sequence[float], way: int) -> float | None:
    """The best of values that differ."""
    if not way or len(set(values)) < 2:
        return None
    return max(values) if way > 0 else min(values)


def _marked(estimate: Estimate | None, best: float | None) -> Cell:
    return estimate_cell(estimate, "best" if estimate is not None and estimate.value == best else "")
