"""`shortlist evaluate`: the metrics of a run beside those of the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shortlist.cli.output import Json, print_json, print_table
from shortlist.errors import CheckpointError, ConfigError

if TYPE_CHECKING:
    from rich.table import Table


def evaluate(
    run: Annotated[Path, typer.Argument(help="Run directory that training wrote.")],
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    report: Annotated[Path | None, typer.Option(help="Evaluate again with intervals and slices, and write the report here.")] = None,
    data: Annotated[str, typer.Option(help="Where the data is now, for --report; where it was in training by default.")] = "",
    as_json: Json = False,
) -> None:
    """Show what each stage and each baseline reaches: full ranking, nothing sampled.

    Example: shortlist evaluate runs/ml-1m --split validation
    """
    from shortlist.training.run import read_record

    record = read_record(run)
    if not record.get("complete"):
        raise CheckpointError(f"the run {run} is not complete", fix="train again with the same recipe and directory: it continues")
    metrics = record["metrics"]
    if split not in metrics:
        raise ConfigError(f"there is no split {split!r}", why=f"the run has {', '.join(metrics)}", fix="name one of them")
    if report is not None:
        from shortlist.cli.evaluation_report import run_report
        from shortlist.evaluation.report import write_report

        paths = write_report(run_report(run, data=data, split=split), report)
        print_json({"report": [str(path) for path in paths]}) if as_json else print("\n".join(map(str, paths)))
        return
    if as_json:
        print_json(metrics[split])
        return
    print_table(metrics_table(metrics[split]))


def metrics_table(metrics: Mapping[str, Mapping[str, float]]) -> Table:
    """A row per model, a column per metric."""
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model")
    names = list(dict.fromkeys(name for values in metrics.values() for name in values))
    for name in names:
        table.add_column(name, justify="right")
    for model, values in metrics.items():
        table.add_row(model, *(f"{values[name]:.4f}" if name in values else "" for name in names))
    return table
