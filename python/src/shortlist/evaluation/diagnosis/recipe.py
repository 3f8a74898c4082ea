"""From a diagnosis to a recipe that `shortlist train` takes: Python text, each setting with its reason.

The text names the configuration of `shortlist.training`, which evaluation does not import; a test of the command line loads it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shortlist.evaluation.diagnosis.diagnose import Diagnosis
from shortlist.evaluation.diagnosis.rules import Finding, Measured

_WIDTH = 120
_STEPS = 3000  # of the two-tower: what ml-1m needed to beat co-occurrence (docs/log.md)
_SMALL = 100_000  # events below which a data set is small
_LARGE = 500_000
_SEQUENTIAL = {"order", "drift", "sessions"}  # properties that a bag of items loses

# The groups of a RunConfig and the classes that hold them.
_CLASSES = {
    "": "RunConfig",
    "two_tower": "TwoTowerTraining",
    "two_tower.model": "TwoTowerConfig",
    "two_tower.optimisation": "Optimisation",
    "preranker": "PrerankerTraining",
    "preranker.optimisation": "Optimisation",
    "ranker": "RankerTraining",
    "ranker.model": "RankerConfig",
    "ranker.optimisation": "Optimisation",
    "ranker.sampling": "CandidateSampling",
    "cascade": "Cascade",
}
_IMPORTS = """\
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import (
    CandidateSampling,
    Cascade,
    Optimisation,
    PrerankerTraining,
    RankerTraining,
    RunConfig,
    TwoTowerTraining,
)"""


@dataclass(frozen=True, slots=True)
class Setting:
    """A value of a RunConfig by its dotted name, and why it is that; no reason where it only follows the settings around it."""

    name: str
    value: Any
    why: str = ""


def settings(diagnosis: Diagnosis, data: str) -> list[Setting]:
    """What to train. `data` is a spec of `shortlist.data.load`."""
    found, events, items = set(diagnosis.found), diagnosis.sizes["events"], diagnosis.sizes["items"]
    small, short = events < _SMALL, "short_histories" in found
    sequence = bool(_SEQUENTIAL & found) and not short
    layers = 2 if sequence else 1
    batch_events = 2048 if small else 4096
    epochs = min(40, max(5, round(_STEPS * batch_events * 0.8 / events)))
    dropout = 0.2 if small or short or "cold_items" in found else 0.1
    retrieve = min(500, max(20, items // 4))
    fresh = 0.1 if small or "trends" in found else 0.05 if events < _LARGE else 0.03
    rate_ranker = 1e-3 if small else 5e-4
    return [
        Setting("name", slug(diagnosis.data)),
        Setting("data", data),
        Setting("split", diagnosis.split, _split_reason(diagnosis)),
        Setting("fresh_share", fresh, _fresh_reason(found, small)),
        Setting("two_tower.model.layers", layers, _layers_reason(found, short, sequence)),
        Setting("two_tower.model.dropout", dropout, _dropout_reason(found, small, short)),
        Setting("two_tower.optimisation.epochs", epochs, f"About {_STEPS:,} steps; validation stops it earlier when nothing is gained."),
        Setting("two_tower.optimisation.learning_rate", 2e-3),
        Setting("two_tower.optimisation.patience", 5),
        Setting("two_tower.optimisation.warmup_steps", 20 if small else 100),
        Setting("two_tower.batch_events", batch_events, "More and smaller steps where there are few events." if small else ""),
        Setting("two_tower.in_batch_negatives", 512 if "popularity_bias" in found else 256, _negatives_reason(found)),
        Setting("two_tower.correction", "expected", "The LogQ correction: each negative counts by how often it was expected to be drawn."),
        Setting("two_tower.uniform_negatives", 256, "Items of the tail hardly come as in-batch negatives; uniform ones cover them."),
        Setting("preranker.optimisation.epochs", 4 if small else 2),
        Setting("preranker.optimisation.learning_rate", 2e-3 if small else 1e-3),
        Setting("ranker.model.layers", layers, "As deep as the two-tower, for the same reason."),
        Setting("ranker.model.heads", 2),
        Setting("ranker.model.dropout", dropout),
        Setting("ranker.optimisation.epochs", 5 if small else 2),
        Setting("ranker.optimisation.learning_rate", rate_ranker),
        Setting("ranker.sampling.positions", 4 if short else 8, "Few positions a user, since histories are short." if short else ""),
        Setting("ranker.sampling.hard", min(24, retrieve)),
        Setting("ranker.sampling.pool", retrieve, f"A funnel for a catalog of {items:,} items."),
        Setting("cascade.retrieve", retrieve),
        Setting("cascade.prerank", max(10, retrieve * 2 // 5)),
    ]


def recipe_text(diagnosis: Diagnosis, data: str) -> str:
    """A module with `recipe() -> RunConfig`."""
    tree: dict[str, Any] = {}
    for setting in settings(diagnosis, data):
        *groups, leaf = setting.name.split(".")
        place = tree
        for group in groups:
            place = place.setdefault(group, {})
        place[leaf] = setting
    title = f"{_one_line(diagnosis.data)}: a first recipe, written by `shortlist diagnose`."
    head = [f'"""{_quoted(title)}', "", *_docstring(diagnosis), '"""', "", "from __future__ import annotations", "", _IMPORTS, "", ""]
    body = ["def recipe() -> RunConfig:", *_warning(diagnosis), f"    return {_CLASSES['']}(", *_arguments(tree, "", 8), "    )", ""]
    return "\n".join([*head, *body])


def slug(name: str) -> str:
    """A name that is fit for a directory."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "data"


def evidence_text(measured: Measured) -> str:
    """An evidence in words: its value, its interval and the threshold."""
    estimate = measured.estimate
    assert estimate.low is not None
    assert estimate.high is not None
    sign = "+" if " over " in measured.name else ""
    value, low, high = (f"{number:{sign}.1%}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{measured.name}: {value} ({low} to {high}, needs more than {measured.above:.0%})"


def _docstring(diagnosis: Diagnosis) -> Iterator[str]:
    """What was found and what to do that no setting does."""
    named = [finding for finding in diagnosis.findings if finding.state == "found"]
    if not named:
        yield "Nothing but tastes and popularity was found, so this is a plain start."
    for finding in named:
        yield from _wrapped(f"{finding.rule.property}: {_evidence(finding)}. {finding.rule.advice}", "- ", "  ", _quoted)
    for note in diagnosis.notes:
        yield from _wrapped(note, "- ", "  ", _quoted)


def _warning(diagnosis: Diagnosis) -> list[str]:
    if "leak" not in diagnosis.found:
        return []
    return ["    # STOP: the data may leak what it should not know (above). A model trained on it looks better than it is."]


def _arguments(tree: Mapping[str, Any], path: str, indent: int) -> Iterator[str]:
    for name, value in tree.items():
        if isinstance(value, Setting):
            if value.why:
                yield from _wrapped(value.why, " " * indent + "# ", " " * indent + "# ")
            yield f"{' ' * indent}{name}={value.value!r},"
        else:
            inner = f"{path}.{name}".lstrip(".")
            yield f"{' ' * indent}{name}={_CLASSES[inner]}("
            yield from _arguments(value, inner, indent + 4)
            yield f"{' ' * indent}),"


def _evidence(finding: Finding) -> str:
    return "; ".join(evidence_text(measured) for measured in finding.measured if measured.holds)


def _split_reason(diagnosis: Diagnosis) -> str:
    if diagnosis.split == "time":
        return "Times are a common clock: what is later must not train."
    return "The last events of users are held out: see the notes above." if diagnosis.notes else "Times are no common clock."


def _fresh_reason(found: set[str], small: bool) -> str:
    if "trends" in found:
        return "What is popular changes, so the later stages learn from more of the newest events."
    return "Few events: the later stages need a larger share of them." if small else "Enough for the later stages to learn from."


def _layers_reason(found: set[str], short: bool, sequence: bool) -> str:
    if short:
        return "One layer is enough for histories of a few events."
    if sequence:
        return f"The sequence matters ({' and '.join(sorted(_SEQUENTIAL & found))}): it takes two layers to combine events."
    return "The order of events tells no more than the bag of them: one layer reads the history."


def _dropout_reason(found: set[str], small: bool, short: bool) -> str:
    reasons = ["few events"] * small + ["short histories"] * short + ["cold items"] * ("cold_items" in found)
    return f"More than the usual 0.1, against learning by heart: {', '.join(reasons)}." if reasons else ""


def _negatives_reason(found: set[str]) -> str:
    if "popularity_bias" in found:
        return "In-batch negatives come by popularity and the loss corrects for that (LogQ): popular items must earn their rank."
    return "Popularity does not crowd out tastes: no more in-batch negatives than uniform ones."


def _wrapped(text: str, first: str, rest: str, clean: Callable[[str], str] = str) -> list[str]:
    return textwrap.wrap(clean(_one_line(text)), _WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(text: str) -> str:
    """Text that may stand in a docstring, whatever columns are called."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
