"""`shortlist diagnose`: how a data set is made, and what to train on it."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from shortlist.cli.data import Spec
from shortlist.cli.output import Json, print_json

if TYPE_CHECKING:
    from shortlist.evaluation.diagnosis.diagnose import Diagnosis


def diagnose(
    spec: Spec,
    out: Annotated[Path | None, typer.Option(help="Folder for the report and the recipe; diagnosis/<data set> by default.")] = None,
    jobs: Annotated[int, typer.Option(help="Processes of one thread each; 0: one a core.")] = 0,
    targets: Annotated[int, typer.Option(help="Validation targets to rank, at most.")] = 4_000,
    events: Annotated[int, typer.Option(help="Events to look at, about: of larger data, whole users are drawn.")] = 1_500_000,
    split: Annotated[
        Literal["auto", "leave-one-out", "time"], typer.Option(help="What validation is; auto: by time where times are a clock.")
    ] = "auto",
    seed: Annotated[int, typer.Option(help="Equal seeds draw equal samples.")] = 0,
    as_json: Json = False,
) -> None:
    """Say how a data set is made before anything is trained on it, with evidence, and write a recipe. Minutes, without a GPU.

    Example: shortlist diagnose ml-100k:../shared/data/ml-100k
    """
    from shortlist.data.load import load
    from shortlist.evaluation.diagnosis.diagnose import DiagnosisConfig
    from shortlist.evaluation.diagnosis.diagnose import diagnose as run_diagnosis
    from shortlist.evaluation.diagnosis.recipe import slug
    from shortlist.evaluation.diagnosis.report import write_diagnosis

    config = DiagnosisConfig(jobs=jobs, targets=targets, events=events, split=None if split == "auto" else split, seed=seed)
    diagnosis = run_diagnosis(load(spec), config)
    report_json, page, recipe = write_diagnosis(diagnosis, spec, out or Path("diagnosis") / slug(diagnosis.data))
    if as_json:
        print_json({**diagnosis.to_json(), "files": [report_json, page, recipe]})
        return
    print("\n".join(advice(diagnosis)))
    print(f"\nreport    {page}\nrecipe    {recipe}\nnext      shortlist train {recipe}")


def advice(diagnosis: Diagnosis) -> list[str]:
    """The diagnosis for a terminal: facts, then each property that was found with its advice and evidence, then the others by name."""
    from shortlist.evaluation.diagnosis.recipe import evidence_text

    lines = [f"{name:<14}{fact}" for name, fact in diagnosis.facts.items()]
    for note in diagnosis.notes:
        lines += textwrap.wrap(note, 120, initial_indent=f"{'note':<14}", subsequent_indent=" " * 14)
    lines.append("")
    if not diagnosis.found:
        lines.append("Nothing but tastes and popularity was found.")
    for finding in diagnosis.findings:
        if finding.state == "found":
            lines.append(f"{finding.rule.property}: {finding.rule.meaning}")
            lines += [f"    {evidence_text(measured)}" for measured in finding.measured if measured.holds]
            lines += textwrap.wrap(finding.rule.advice, 120, initial_indent="  > ", subsequent_indent="    ")
    for state in ("not found", "not measurable"):
        others = [finding.rule for finding in diagnosis.findings if finding.state == state]
        shown = [rule.property if state == "not found" else f"{rule.property} (needs {rule.needs})" for rule in others]
        lines += [f"{state + ':':<16}{', '.join(shown)}"] * bool(others)
    return lines
