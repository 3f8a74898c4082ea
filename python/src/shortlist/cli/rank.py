"""`shortlist rank`: ask a running service and read the answer as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shortlist.cli.output import Json, print_json, print_table
from shortlist.errors import ConfigError

if TYPE_CHECKING:
    from rich.table import Table

    from shortlist.client import Recommendation
    from shortlist.client.types import FeatureValue, Ids, RequestOptions


def rank(
    user: Annotated[str, typer.Option(help="Id of a user that the server stores.")] = "",
    history: Annotated[str, typer.Option(help="Items the user engaged with, oldest first, instead of the stored history: 1,2,3.")] = "",
    times: Annotated[str, typer.Option(help="Unix seconds of the --history's events, for releases whose models read them: 1,2,3.")] = "",
    candidates: Annotated[str, typer.Option(help="Rank these items only: 1,2,3. Without it the whole funnel runs.")] = "",
    feature: Annotated[list[str] | None, typer.Option(help="A user column: --feature gender=F. May be repeated.")] = None,
    context: Annotated[list[str] | None, typer.Option(help="A context column: --context 'query=red shoes'. May be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="Items wanted; 0 is the release's default.")] = 10,
    time: Annotated[int, typer.Option(help="Unix seconds that count as now (availability); 0 is the server's clock.")] = 0,
    string_ids: Annotated[
        bool, typer.Option("--string-ids", help="Items are named by strings, also where these look like numbers.")
    ] = False,
    target: Annotated[str, typer.Option(help="Address of the service.")] = "127.0.0.1:7070",
    timeout: Annotated[float, typer.Option(help="Deadline in seconds.")] = 2.0,
    models: Annotated[Path, typer.Option(help="Model repository, for item titles.")] = Path("models"),
    as_json: Json = False,
) -> None:
    """Rank items for a user by calling the service.

    Example: shortlist rank --user 42 --context 'query=red shoes' --limit 5
    """
    from shortlist.client import Client, History

    options: RequestOptions = {
        "limit": limit,
        "time": time,
        "features": columns(feature, "--feature"),
        "context": columns(context, "--context"),
    }
    if history:
        options["history"] = History(items=ids(history, string_ids), times=seconds(times))
    elif not user:
        options["history"] = History()
    if candidates:
        options["candidates"] = ids(candidates, string_ids)
    with Client(target, timeout=timeout) as client:
        answer = client.rank(user, **options) if candidates else client.recommend(user, **options)
    if as_json:
        print_json(answer)
        return
    from shortlist.cli.titles import titles

    print_table(ranking_table(answer, titles(models, answer.release_id, answer.items)))
    print("\n".join(summary(answer)))


def ids(text: str, string_ids: bool) -> Ids:
    """Ids parted by commas: integers where all look like integers, unless `string_ids`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not string_ids and all(part.removeprefix("-").isdecimal() for part in parts):
        return [int(part) for part in parts]
    return parts


def seconds(text: str) -> list[int]:
    """Whole numbers parted by commas. Raises ConfigError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if wrong := [part for part in parts if not part.isdecimal()]:
        raise ConfigError(f"--times {wrong[0]!r} is no time", why="times are whole unix seconds", fix="write --times 1750000000,1750000060")
    return [int(part) for part in parts]


def columns(pairs: list[str] | None, option: str) -> dict[str, FeatureValue]:
    """`name=value` pairs. A value that reads as a JSON number or list of texts is one; anything else is text."""
    given: dict[str, FeatureValue] = {}
    for pair in pairs or ():
        name, separator, text = pair.partition("=")
        if not separator or not name:
            raise ConfigError(
                f"{option} {pair!r} is not a pair", why="there is no '=' with a name before it", fix=f"write {option} name=value"
            )
        given[name] = _value(text)
    return given


def _value(text: str) -> FeatureValue:
    try:
        value = json.loads(text)
    except ValueError:
        return text
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return value
    return text


def ranking_table(answer: Recommendation, title_of: dict[int | str, str]) -> Table:
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("#", "item", *(("title",) if title_of else ()), "score", *answer.tasks):
        table.add_column(name, justify="left" if name in ("item", "title") else "right", overflow="ellipsis", no_wrap=True)
    for position, score in enumerate(answer.scores):
        item = answer.items[position]
        title = (title_of.get(item, ""),) if title_of else ()
        predictions = (f"{values[position]:.4f}" for values in answer.tasks.values())
        table.add_row(str(position + 1), str(item), *title, f"{score:.5f}", *predictions)
    return table


def summary(answer: Recommendation) -> list[str]:
    """The stages with their counts and times, what was dropped, and how complete the answer is."""
    stages = " -> ".join(f"{stage.stage} {stage.items_in}:{stage.items_out} ({stage.micros / 1000:.1f} ms)" for stage in answer.stages)
    lines = [f"stages    {stages}"]
    if answer.dropped:
        lines.append("dropped   " + ", ".join(f"{count} {reason}" for reason, count in sorted(answer.dropped.items())))
    why = "; ".join(f"{one.stage}: {one.reason}" for one in answer.coverage.degradations)
    lines.append(f"coverage  {answer.coverage.rung}" + (f" (degraded: {why})" if answer.coverage.degraded else ""))
    lines.append(f"release   {answer.release_id}, {answer.micros / 1000:.1f} ms")
    return lines
