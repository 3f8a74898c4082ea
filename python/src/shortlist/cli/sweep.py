"""`shortlist sweep`: a recipe under many settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.output import Json, print_json
from shortlist.cli.train import overrides
from shortlist.errors import ConfigError


def sweep(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in python/recipes, or the path of a .py file.")],
    setting: Annotated[list[str], typer.Option("--set", help="Values to try: seed=0,1,2. May be repeated: every combination is a trial.")],
    data: Annotated[str, typer.Option(help="Data set, as in `shortlist data describe`; the recipe's own by default.")] = "",
    out: Annotated[Path, typer.Option(help="Where the directory of the sweep goes.")] = Path("runs"),
    trials: Annotated[int, typer.Option(help="Try so many combinations, drawn at random; 0: all.")] = 0,
    workers: Annotated[int, typer.Option(help="Trials at a time; more than one needs Ray: pip install 'shortlist[scale]'.")] = 1,
    as_json: Json = False,
) -> None:
    """Train a run for every combination of settings and compare them on validation.

    Example: shortlist sweep ml-1m --set two_tower.optimisation.learning_rate=1e-3,2e-3 --set seed=0,1 --set until=two_tower
    """
    from rich.table import Table

    from shortlist.cli.output import print_table
    from shortlist.training.sweep import sweep as run_sweep

    found = run_sweep(recipe, data, out, overrides(setting), trials=trials, workers=workers)
    if as_json:
        print_json(found)
    else:
        stages = list(dict.fromkeys(stage for trial in found for stage in trial.values))
        table = Table("trial", *stages, "")
        for trial in found:
            table.add_row(
                trial.folder.name, *(f"{trial.values[stage]:.4f}" if stage in trial.values else "" for stage in stages), trial.error
            )
        print_table(table)
    if all(trial.error for trial in found):
        raise ConfigError("every trial failed", why=found[0].error, fix="mend the settings and call the same command again")
