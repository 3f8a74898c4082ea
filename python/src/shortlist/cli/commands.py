"""The list of commands."""

from __future__ import annotations

from typing import Annotated

import typer

from shortlist.cli.compare import compare
from shortlist.cli.data import data
from shortlist.cli.diagnose import diagnose
from shortlist.cli.evaluate import evaluate
from shortlist.cli.export import export
from shortlist.cli.ladder import ladder
from shortlist.cli.merge import merge
from shortlist.cli.rank import rank
from shortlist.cli.sweep import sweep
from shortlist.cli.train import train
from shortlist.cli.verify import verify

commands = typer.Typer(
    name="shortlist",
    help="Train, release and call a ranking funnel. Start with `shortlist data marketplace`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@commands.callback()
def main(debug: Annotated[bool, typer.Option("--debug", help="Show the stack trace of an error.")] = False) -> None:
    """Read by `app` before the command line is parsed; declared here so that help lists it."""


commands.add_typer(data, name="data")
for command in (diagnose, train, sweep, merge, evaluate, compare, ladder, export, verify, rank):
    commands.command()(command)
