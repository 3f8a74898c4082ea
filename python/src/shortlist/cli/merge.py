"""`shortlist merge`: several runs become one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.output import Json, print_json


def merge(
    runs: Annotated[list[Path], typer.Argument(help="Run directories of the same data and sizes.")],
    out: Annotated[Path, typer.Option(help="The run directory to write.")],
    anchor: Annotated[
        Path | None, typer.Option(help="The run that the merged weights are drawn back to: the first one, or the common start of all.")
    ] = None,
    data: Annotated[str, typer.Option(help="Data set, as in `shortlist data describe`; the runs' own by default.")] = "",
    as_json: Json = False,
) -> None:
    """Merge the weights of runs on the sphere, and go back to the anchor as far as validation likes.

    Runs to merge should have a common start: train them with `--set start=runs/<anchor>` and different seeds.

    Example: shortlist merge runs/a runs/b --anchor runs/start --out runs/merged
    """
    from shortlist.cli.evaluate import metrics_table
    from shortlist.cli.output import print_table
    from shortlist.training.merge import merge_runs
    from shortlist.training.run import load_run

    folder = merge_runs(runs, out, anchor, data)
    record = load_run(folder).record
    if as_json:
        print_json({"run": folder, "stages": record["stages"], "metrics": record["metrics"]})
        return
    for name, stage in record["stages"].items():
        print(f"{name}  {stage['coefficient']:.2f} of the way from the anchor  {stage.get('why', '')}".rstrip())
    print_table(metrics_table(record["metrics"]["test"]))
    print(f"run       {folder}\nnext      shortlist export {folder}")
