"""`shortlist compare`: several runs side by side, seeds pooled, differences paired."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.output import Json, print_json


def compare(
    runs: Annotated[list[Path], typer.Argument(help="Run directories that training wrote, of the same data and split.")],
    out: Annotated[Path, typer.Option(help="Where comparison.html, .md and .json go.")] = Path("runs/comparison"),
    base: Annotated[
        str, typer.Option(help="What differences are from: a recipe, recipe/model or a baseline. The first run's recipe by default.")
    ] = "",
    split: Annotated[str, typer.Option(help="validation or test.")] = "test",
    data: Annotated[str, typer.Option(help="Where the data is now; where it was in training by default.")] = "",
    as_json: Json = False,
) -> None:
    """Evaluate runs on the same targets and write one page about them: seeds, intervals, paired differences, slices, time.

    Example: shortlist compare runs/base-0 runs/base-1 runs/wide-0 runs/wide-1 --base base
    """
    from shortlist.cli.evaluation_report import compared_runs
    from shortlist.evaluation.comparison import compare as compare_runs
    from shortlist.evaluation.comparison_page import write_comparison

    found = compared_runs(runs, data=data, split=split)
    facts = {name: found[0].report.facts[name] for name in ("data", "protocol")} | {
        "runs": ", ".join(f"{run.name} ({run.recipe}, seed {run.seed})" for run in found)
    }
    paths = write_comparison(compare_runs(f"Comparison of {len(found)} runs", found, base, facts), out)
    print_json({"comparison": [str(path) for path in paths]}) if as_json else print("\n".join(map(str, paths)))
