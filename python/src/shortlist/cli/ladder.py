"""`shortlist ladder`: every model of the factory on one data set, under one protocol, as one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shortlist.cli.output import Json, print_json, print_table
from shortlist.cli.train import overrides

if TYPE_CHECKING:
    from rich.table import Table

    from shortlist.cli.ladder_table import Step


def ladder(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in python/recipes, or the path of a .py file.")],
    data: Annotated[str, typer.Option(help="Data set, as in `shortlist data describe`; the recipe's own by default.")] = "",
    out: Annotated[Path, typer.Option(help="Where the directory of the ladder goes.")] = Path("runs"),
    rungs: Annotated[str, typer.Option(help="Which rungs: 'popularity*,ials,sasrec'. All by default.")] = "*",
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting of the recipe: two_tower.optimisation.epochs=3. May be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit every rung and rank the whole catalog with each: validation chooses settings, test is looked at once.

    Finished rungs are kept: call it again with more of them. Writes ladder.json and a report beside the rungs.

    Example: shortlist ladder ml-1m --data ml-1m:../shared/data/ml-1m --rungs 'popularity*,cooccurrence*,ials'
    """
    from shortlist.cli.ladder_table import climb, content, write_ladder

    climbed = climb(recipe, data, out, rungs, overrides(setting))
    paths = write_ladder(climbed)
    if as_json:
        print_json(content(climbed))
        return
    for split in ("validation", "test"):
        print_table(ladder_table(climbed.steps, split))
        print()
    for name, reason in climbed.left_out.items():
        print(f"left out  {name}: {reason}")
    print("\n".join(f"written   {path}" for path in paths))


def ladder_table(steps: list[Step], split: str) -> Table:
    """A row per rung, best on validation first; a mean with half of its 95% interval."""
    from rich.table import Table

    table = Table(title=split, title_justify="left", box=None, header_style="bold", pad_edge=False)
    costs = split == "validation"
    shown = ("hr@10", "ndcg@10", "recall@100", "mrr") if costs else ("hr@10", "ndcg@10", "recall@100", "mrr", "coverage@10", "novelty@10")
    table.add_column("rung")
    for name in (*shown, *(("tried", "fit s", "CPU s", "MiB") if costs else ())):
        table.add_column(name, justify="right")
    for step in steps:
        cells = []
        for name in shown:
            estimate = step.results[split].metrics[name]
            spread = "" if estimate.low is None or estimate.high is None else f" ±{(estimate.high - estimate.low) / 2:.4f}"
            cells.append(f"{estimate.value:.4f}{spread}" if name != "novelty@10" else f"{estimate.value:.2f}")
        if costs:
            memory = step.record["memory_mib"]
            seconds = (f"{step.record[name]:.1f}" for name in ("fit_seconds", "fit_cpu_seconds"))
            cells += [str(step.record["tried"]), *seconds, "" if memory is None else f"{memory:.0f}"]
        table.add_row(step.name, *cells)
    return table
