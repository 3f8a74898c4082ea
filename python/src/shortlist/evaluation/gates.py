"""The quality gate of a release: a model that does not beat the baselines is not worth serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shortlist.errors import ConfigError
from shortlist.evaluation.bootstrap import paired_difference
from shortlist.evaluation.result import Result


@dataclass(frozen=True, slots=True)
class Gate:
    """The outcome of one gate; `detail` has the numbers behind it."""

    name: str
    passed: bool
    detail: str


def quality_gates(model: Result, baselines: Sequence[Result], metric: str) -> list[Gate]:
    """One gate per baseline: `model` must be better in `metric` on the same targets.

    The mean decides; the interval of the paired difference is told beside it, so that a win within the noise is seen as one.
    """
    if not baselines:
        raise ConfigError(
            "a quality gate without baselines", why="nothing would be checked", fix="evaluate popularity and co-occurrence too"
        )
    return [_beats(model, baseline, metric) for baseline in baselines]


def _beats(model: Result, baseline: Result, metric: str) -> Gate:
    for result in (model, baseline):
        if metric not in result.values:
            raise ConfigError(
                f"{result.model} has no metric {metric!r} per request",
                why=f"it has {', '.join(result.values) or 'none'}",
                fix="use one of them",
            )
    ours, theirs = model.metrics[metric].value, baseline.metrics[metric].value
    difference = paired_difference(model.values[metric], baseline.values[metric], model.groups, weights=model.weights.get(metric))
    detail = (
        f"{metric} {ours:.4f} against {theirs:.4f} of {baseline.model} on {model.targets} {model.split} requests: "
        f"difference {difference.value:+.4f}, 95% interval {difference.low:+.4f} to {difference.high:+.4f}"
    )
    return Gate(f"{model.model} beats {baseline.model}", ours > theirs, detail)
