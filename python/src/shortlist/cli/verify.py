"""`shortlist verify`: does a release directory still prove itself?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shortlist.cli.output import Json, print_json


def verify(
    release: Annotated[Path, typer.Argument(help="Release directory, or a model folder whose current release is meant.")],
    as_json: Json = False,
) -> None:
    """Check digests, graphs, laws and the golden requests; the exit code is 1 when something is wrong.

    Example: shortlist verify models/toy
    """
    from shortlist.export.layout import current
    from shortlist.export.verify import verify as verified

    report = verified(current(release) if (release / "current").is_file() else release)
    if as_json:
        print_json({"passed": report.passed, "report": report})
    else:
        print("\n".join(f"violation  {violation}" for violation in report.violations) or "no violations")
        verdict = "PASS" if report.passed else "FAIL"
        print(f"{verdict}  {report.release_id}: {report.cases} golden cases, worst difference {report.worst_ratio:.3g} of the tolerance")
    if not report.passed:
        raise typer.Exit(1)
