"""The entry point: registers the commands and turns errors into what, why and how to fix."""

from __future__ import annotations

import importlib.util
import sys


def app() -> None:
    """Run the command line; exits with 0, 1 (an error explained) or 2 (a wrong call, or an error nobody foresaw)."""
    if importlib.util.find_spec("typer") is None:
        sys.exit(
            "error: the commands need the factory's packages\n  why: this is a client-only install\n  fix: pip install 'shortlist[factory]'"
        )

    from shortlist.cli.commands import commands
    from shortlist.cli.output import explain
    from shortlist.errors import ShortlistError

    # Taken anywhere, since it is added to the end of a command that just failed.
    debug = "--debug" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--debug"]
    try:
        commands(arguments)
    except ShortlistError as error:
        if debug:
            raise
        sys.exit(explain(error))
    except Exception as error:
        if debug:
            raise
        print(
            f"error: unexpected {type(error).__name__}: {error}\n  fix: run it again with --debug and report what it prints",
            file=sys.stderr,
        )
        sys.exit(2)
