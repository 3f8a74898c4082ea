"""How commands speak: tables for people, JSON for programs, errors as what, why and how to fix."""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shortlist.errors import ShortlistError

if TYPE_CHECKING:
    from rich.table import Table

# The option of every command that has a result.
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def explain(error: ShortlistError) -> int:
    """Print an error to stderr; the exit code."""
    lines = [f"error: {error.what}"]
    lines += [f"  {word}: {text}" for word, text in (("why", error.why), ("fix", error.fix)) if text]
    print("\n".join(lines), file=sys.stderr)
    return 1


def print_json(value: Any) -> None:
    """Print dataclasses, paths and plain values as one JSON document."""
    print(json.dumps(value, default=_plain, indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return value.tolist()
    return str(value)


def print_table(table: Table) -> None:
    from rich.console import Console

    # Piped output has no terminal whose width could be taken; 120 keeps rows on one line.
    console = Console()
    Console(width=console.width if console.is_terminal else 120).print(table)
