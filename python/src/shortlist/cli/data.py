"""`shortlist data`: make, convert and describe data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shortlist.cli.output import Json, print_json, print_table

data = typer.Typer(help="Make, convert and describe data sets.", no_args_is_help=True, rich_markup_mode=None)

Spec = Annotated[
    str, typer.Argument(help="marketplace[:users=..,items=..], ml-1m:FOLDER, ml-100k:FOLDER, amazon-beauty:FOLDER, MAPPING.json, FOLDER.")
]


@data.command()
def marketplace(
    out: Annotated[Path, typer.Option(help="New folder to write.")],
    users: Annotated[int, typer.Option(help="Number of users.")] = 2_000,
    items: Annotated[int, typer.Option(help="Number of items.")] = 1_500,
    events: Annotated[int, typer.Option(help="Number of events, about.")] = 60_000,
    days: Annotated[int, typer.Option(help="Days of traffic.")] = 60,
    seed: Annotated[int, typer.Option(help="Equal seeds make equal data.")] = 0,
) -> None:
    """Make a synthetic marketplace with real structure.

    Example: shortlist data marketplace --out data/market --users 500
    """
    from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
    from shortlist.data.store import save

    made = make_marketplace(MarketplaceConfig(users=users, items=items, events=events, days=days, seed=seed))
    save(made, out)
    print(f"{out}: {len(made.users)} users, {len(made.items)} items, {len(made.events)} events")


@data.command()
def convert(spec: Spec, out: Annotated[Path, typer.Option(help="New folder to write.")]) -> None:
    """Read a public data set or your own files, and save them in one form.

    Example: shortlist data convert ml-1m:../shared/data/ml-1m --out data/ml-1m
    """
    from shortlist.data.load import load
    from shortlist.data.store import save

    loaded = load(spec)
    save(loaded, out)
    dropped = "".join(f"\n  {reason}: {count}" for reason, count in sorted(loaded.report.items()))
    print(f"{out}: {len(loaded.users)} users, {len(loaded.items)} items, {len(loaded.events)} events{dropped}")


@data.command()
def describe(spec: Spec, as_json: Json = False) -> None:
    """Say what is in a data set: sizes, times, actions, missing values.

    Example: shortlist data describe marketplace:users=500 --json
    """
    from shortlist.data.describe import describe as described
    from shortlist.data.load import load

    facts = described(load(spec))
    if as_json:
        print_json(facts)
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for name, fact in facts.items():
        table.add_row(name, _text(fact))
    print_table(table)


def _text(fact: Any) -> str:
    """A fact on one line, a dict of facts on a line each."""
    if isinstance(fact, dict):
        inner = [
            f"{name}: {', '.join(f'{k} {_text(v)}' for k, v in one.items()) if isinstance(one, dict) else _text(one)}"
            for name, one in fact.items()
        ]
        return "\n".join(inner)
    return f"{fact:.4g}" if isinstance(fact, float) else str(fact)
