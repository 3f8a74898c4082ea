"""The diagnosis as JSON, one self-contained HTML page, and the recipe that follows from it."""

from __future__ import annotations

import json
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from shortlist.evaluation.diagnosis.diagnose import LEVEL, METRIC, Diagnosis
from shortlist.evaluation.diagnosis.recipe import evidence_text, recipe_text, settings, slug
from shortlist.evaluation.diagnosis.sessions import PAUSE
from shortlist.evaluation.plots import interval_rows, metric_bars, value_histogram
from shortlist.evaluation.result import Result


def write_diagnosis(diagnosis: Diagnosis, data: str, folder: Path) -> list[Path]:
    """Write `diagnosis.json`, `diagnosis.html` and the recipe for the spec `data`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "diagnosis.json": json.dumps(diagnosis.to_json(), indent=2, allow_nan=False) + "\n",
        "diagnosis.html": to_html(diagnosis, data),
        f"{slug(diagnosis.data).replace('-', '_')}.py": recipe_text(diagnosis, data),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def to_html(diagnosis: Diagnosis, data: str) -> str:
    """One page without outside resources: plots are inline SVG, values from outside are escaped."""
    environment = Environment(
        loader=PackageLoader("shortlist.evaluation.diagnosis", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    order = {"found": 0, "not found": 1, "not measurable": 2}
    return environment.get_template("diagnosis.html").render(
        diagnosis=diagnosis,
        findings=sorted(diagnosis.findings, key=lambda finding: order[finding.state]),
        evidence_text=evidence_text,
        settings=[setting for setting in settings(diagnosis, data) if setting.why],
        plots=[Markup(plot) for plot in _plots(diagnosis)],
        level=f"{LEVEL:.0%}",
        metric=METRIC,
    )


def _plots(diagnosis: Diagnosis) -> list[str]:
    measured = {one.name: one for finding in diagnosis.findings for one in finding.measured}
    gains = [(one.name, one.estimate, one.above) for one in measured.values() if " over " in one.name]
    shares = [(one.name, one.estimate, one.above) for one in measured.values() if " over " not in one.name]
    best = max(diagnosis.variants, key=lambda name: diagnosis.variants[name][METRIC].value)
    ordered = sorted(diagnosis.variants.items(), key=lambda pair: -pair[1][METRIC].value)
    results = [Result(name, "validation", diagnosis.targets, dict(metrics), baseline=name != best) for name, metrics in ordered]
    plots = [interval_rows(f"Gains in {METRIC}", gains), interval_rows("Shares", shares), metric_bars(results, METRIC)]
    plots.append(value_histogram("Histories of validation targets", "events before the target", diagnosis.histories))
    if len(diagnosis.pauses):
        plots.append(value_histogram("Time between events of a user", "seconds; red: a new visit begins", diagnosis.pauses, PAUSE))
    return plots
