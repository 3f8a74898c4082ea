"""Results as tables: models in rows, baselines first; metrics in columns. What each metric means and which way is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.result import Result

# Base name -> (what it is, +1 higher is better, -1 lower, 0 neither).
MEANINGS: dict[str, tuple[str, int]] = {
    "hr": ("share of requests with the true item among the first k", 1),
    "ndcg": ("the same, discounted by the logarithm of the item's rank", 1),
    "recall": ("share of true items among the first k", 1),
    "mrr": ("mean of 1 / rank of the true item", 1),
    "coverage": ("share of the catalog that is in somebody's first k", 1),
    "novelty": ("mean bits of surprise in the first k, by training popularity", 0),
    "diversity": ("mean distance between the items of the first k", 0),
    "popularity": ("mean popularity percentile of the first k; 1 is the most popular item", 0),
    "popularity_lift": ("mean popularity of the first k over that of the true items; 1 is unbiased", 0),
    "auc": ("chance that a positive impression scores above a negative one", 1),
    "request_auc": ("the same inside one request, averaged over requests", 1),
    "log_loss": ("mean negative log-likelihood, in nats", -1),
    "normalized_entropy": ("log-loss over that of the base rate; below 1 is better than knowing nothing", -1),
    "calibration": ("predicted over observed positives; 1 is right", 0),
    "ece": ("expected calibration error over bins of equal mass", -1),
}


@dataclass(frozen=True)
class Row:
    model: str
    baseline: bool
    cells: list[Estimate | None]
    best: list[bool]


@dataclass(frozen=True)
class Table:
    title: str
    columns: list[str]
    rows: list[Row]


def base_name(metric: str) -> str:
    """`ndcg@10` and `auc:click` are `ndcg` and `auc`."""
    return metric.partition("@")[0].partition(":")[0]


def metric_tables(results: Sequence[Result]) -> list[Table]:
    """One table per split for ranking metrics, then one per split and task for impressions."""
    ordered = sorted(results, key=lambda result: not result.baseline)
    columns: dict[str, list[str]] = {}  # of each title, in order of first appearance
    members: dict[str, list[tuple[Result, dict[str, Estimate]]]] = {}
    for result in ordered:
        parts: dict[str, dict[str, Estimate]] = {}
        for metric, estimate in result.metrics.items():
            name, _, task = metric.partition(":")
            title = f"Impressions, {task} ({result.split})" if task else f"Full ranking ({result.split})"
            parts.setdefault(title, {})[name] = estimate
        for title, metrics in parts.items():
            known = columns.setdefault(title, [])
            known += [metric for metric in metrics if metric not in known]
            members.setdefault(title, []).append((result, metrics))
    return [_table(title, names, members[title]) for title, names in columns.items()]


def slice_tables(results: Sequence[Result], metric: str) -> list[Table]:
    """One table per split: the metric overall and in each slice."""
    tables = []
    for split in dict.fromkeys(result.split for result in results):
        shown = [result for result in results if result.split == split and result.slices and metric in result.metrics]
        sizes = {name: part.targets for result in shown for name, part in result.slices.items()}
        if not sizes:
            continue
        members = []
        for result in sorted(shown, key=lambda result: not result.baseline):
            cells = {f"all ({result.targets:,})": result.metrics[metric]}
            cells |= {f"{name} ({part.targets:,})": part.metrics[metric] for name, part in result.slices.items() if metric in part.metrics}
            members.append((result, cells))
        columns = list(dict.fromkeys(name for _, cells in members for name in cells))
        tables.append(_table(f"{metric} by slice ({split})", columns, members, direction=MEANINGS.get(base_name(metric), ("", 0))[1]))
    return tables


def _table(title: str, columns: list[str], members: list[tuple[Result, dict[str, Estimate]]], direction: int | None = None) -> Table:
    best = {}
    for column in columns:
        way = MEANINGS.get(base_name(column), ("", 0))[1] if direction is None else direction
        values = [cells[column].value for _, cells in members if column in cells]
        if way and len(set(values)) > 1:
            best[column] = max(values) if way > 0 else min(values)
    rows = []
    for result, cells in members:
        estimates = [cells.get(column) for column in columns]
        marks = [cell is not None and best.get(column) == cell.value for column, cell in zip(columns, estimates, strict=True)]
        rows.append(Row(result.model, result.baseline, estimates, marks))
    return Table(title, columns, rows)


def markdown(table: Table) -> str:
    """A Markdown table; the best value of a column is bold, intervals are left to the HTML report."""
    lines = [f"| model | {' | '.join(table.columns)} |", f"|---|{'---:|' * len(table.columns)}"]
    for row in table.rows:
        cells = [_markdown_cell(cell, best) for cell, best in zip(row.cells, row.best, strict=True)]
        lines.append(f"| {row.model.replace('|', chr(92) + '|')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _markdown_cell(cell: Estimate | None, best: bool) -> str:
    if cell is None:
        return ""
    return f"**{cell.value:.4f}**" if best else f"{cell.value:.4f}"
