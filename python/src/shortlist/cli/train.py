"""`shortlist train`: a recipe becomes a run directory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.output import Json, print_json
from shortlist.errors import ConfigError


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe in python/recipes, or the path of a .py file.")],
    data: Annotated[str, typer.Option(help="Data set, as in `shortlist data describe`; the recipe's own by default.")] = "",
    out: Annotated[Path, typer.Option(help="Where the run directory goes.")] = Path("runs"),
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="Change a setting: ranker.optimisation.epochs=3. May be repeated.")
    ] = None,
    processes: Annotated[int, typer.Option(help="How many processes share every batch.")] = 1,
    as_json: Json = False,
) -> None:
    """Train the two-tower, the preranker and the ranker; an interrupted run continues.

    Example: shortlist train ml-1m --data ml-1m:../shared/data/ml-1m --set ranker.optimisation.epochs=3
    """
    from shortlist.cli.evaluate import metrics_table
    from shortlist.cli.output import print_table
    from shortlist.training.run import read_record
    from shortlist.training.run import train as run_training

    folder = run_training(recipe, data or None, out, overrides(setting), processes)
    record = read_record(folder)
    metrics = record["metrics"]
    if as_json:
        print_json({"run": folder, "metrics": metrics})
        return
    print_table(metrics_table(metrics["test"]))
    print(f"run       {folder}")
    if record["config"]["until"] == "ranker":
        print(f"next      shortlist export {folder}")


def overrides(settings: list[str] | None) -> dict[str, str]:
    changes = {}
    for setting in settings or ():
        name, separator, value = setting.partition("=")
        if not separator:
            raise ConfigError(f"--set {setting!r} is not a pair", why="there is no '='", fix="write --set ranker.optimisation.epochs=3")
        changes[name] = value
    return changes
