"""`shortlist export`: a run becomes a release, or is refused with every reason."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shortlist.cli.output import Json, print_json
from shortlist.errors import ConfigError

if TYPE_CHECKING:
    from shortlist.export.hnsw import HnswConfig


def export(
    run: Annotated[Path, typer.Argument(help="Run directory that training wrote.")],
    data: Annotated[str, typer.Option(help="Where the training data is now; where it was in training by default.")] = "",
    models: Annotated[Path, typer.Option(help="Model repository to publish into.")] = Path("models"),
    name: Annotated[str, typer.Option(help="Name of the model; the run's by default.")] = "",
    value: Annotated[list[str] | None, typer.Option(help="Weight of a task in the score: --value purchase=20. May be repeated.")] = None,
    override: Annotated[list[str] | None, typer.Option(help="Release although this quality gate fails. May be repeated.")] = None,
    precision: Annotated[str, typer.Option(help="fp32, int8 (CPU) or fp16 (CUDA); refused unless it ranks as fp32 does.")] = "fp32",
    graph: Annotated[list[str] | None, typer.Option(help="Reduce this graph only. May be repeated.")] = None,
    vectors: Annotated[list[str] | None, typer.Option(help="Store retrieval vectors also as int8 or int4. May be repeated.")] = None,
    index: Annotated[str, typer.Option(help="How servers search: graph, fp32, int8, int4 or hnsw; their choice by default.")] = "",
    hnsw: Annotated[
        list[str] | None,
        typer.Option(help="Setting for --index hnsw: m, ef_construction, ef_search, queries, or min_recall=0.98. May be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Export, prove and publish a release, and make it the current one.

    Example: shortlist export runs/marketplace --value click=1 --value purchase=20
    """
    import logging
    import warnings

    from shortlist.cli.plan import release_plan
    from shortlist.export.precision import Precision
    from shortlist.export.release import export_release

    # The exporter warns of axis names that it merges and of packages that it does not need; what matters is checked by gates.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module="torch.onnx")
    plan = release_plan(
        run,
        data=data,
        name=name,
        value=weights(value),
        precision=Precision(kind=precision, graphs=tuple(graph or ())),
        small_vectors=vectors or (),
        index=index,
        hnsw=hnsw_config(hnsw),
    )
    final = export_release(plan, models, override=override or ())
    if as_json:
        print_json({"release": final.name, "folder": final})
        return
    print(f"release   {final.name}\nfolder    {final}\nnext      make serve MODEL={final.parent}")


def weights(pairs: list[str] | None) -> dict[str, float]:
    given = {}
    for pair in pairs or ():
        task, _, number = pair.partition("=")
        try:
            given[task] = float(number)
        except ValueError:
            raise ConfigError(
                f"--value {pair!r} is not a pair", why="after '=' there must be a number", fix="write --value purchase=20"
            ) from None
    return given


def hnsw_config(pairs: list[str] | None) -> HnswConfig:
    """Settings like "ef_search=1000". Raises ConfigError."""
    from shortlist.export.hnsw import HnswConfig

    defaults = HnswConfig()
    kinds = {setting.name: type(getattr(defaults, setting.name)) for setting in fields(defaults)}
    given = {}
    for pair in pairs or ():
        name, _, text = pair.partition("=")
        if name not in kinds:
            raise ConfigError(f"--hnsw {pair!r} names no setting", fix=f"choose of {list(kinds)}")
        try:
            given[name] = kinds[name](text)
        except ValueError:
            raise ConfigError(f"--hnsw {pair!r} has no number after '='", fix="write --hnsw ef_search=1000") from None
    return HnswConfig(**given)
