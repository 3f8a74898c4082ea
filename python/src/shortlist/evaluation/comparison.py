"""Several runs side by side: seeds of one recipe pooled, every model against a chosen base on the same targets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from shortlist.errors import ConfigError
from shortlist.evaluation.bootstrap import Estimate, difference_over_seeds, estimate_over_seeds
from shortlist.evaluation.plots import Curve, TrainingCurves
from shortlist.evaluation.report import Report
from shortlist.evaluation.result import Result, SliceResult

HEADLINE = ("ndcg@10", "recall@100")


@dataclass(frozen=True)
class ComparedRun:
    """Runs of one `recipe` differ in their seed alone."""

    name: str
    recipe: str
    seed: int
    report: Report


@dataclass(frozen=True)
class Group:
    """One model of one recipe: a result per seed. A baseline has no seed, so one run's stands for all."""

    recipe: str
    model: str
    seeds: tuple[int, ...]
    results: tuple[Result, ...]

    @property
    def label(self) -> str:
        return self.model if self.results[0].baseline else f"{self.recipe}/{self.model}"


@dataclass(frozen=True)
class Comparison:
    """What the comparison page says. `differences` are those of each group from the base, by label and metric."""

    title: str
    runs: Sequence[ComparedRun]
    groups: Sequence[Group]
    base: str
    differences: Mapping[str, Mapping[str, Estimate]]
    facts: Mapping[str, str] = field(default_factory=dict)
    headline: Sequence[str] = HEADLINE


def compare(title: str, runs: Sequence[ComparedRun], base: str = "", facts: Mapping[str, str] | None = None) -> Comparison:
    """Pool and compare runs of the same data and split.

    `base` is a recipe, whose models are compared stage by stage, or one model of it ("recipe/model"), or a baseline; the first run's
    recipe where it is empty. Raises ConfigError when it is none of these or when runs were evaluated on different targets.
    """
    if not runs:
        raise ConfigError("there are no runs to compare", fix="name run directories")
    _check_targets(runs)
    groups = _groups(runs)
    base = base or runs[0].recipe
    if base not in {group.recipe for group in groups} | {group.label for group in groups}:
        known = dict.fromkeys(name for group in groups for name in (group.recipe, group.label) if name)
        raise ConfigError(
            f"there is no base {base!r}", why="it must be a recipe, recipe/model or a baseline", fix=f"use one of {', '.join(known)}"
        )
    differences = {}
    for group in groups:
        against = _base_of(group, groups, base)
        found = _differences(group, against) if against is not None and against is not group else {}
        if found:  # results on logged pages have no values of requests that could be paired
            differences[group.label] = found
    return Comparison(title, runs, groups, base, differences, facts or {})


def pooled(group: Group) -> Result:
    """The group as one result: means over seeds with Student's intervals; a single seed keeps its own, over users."""
    first = group.results[0]
    if len(group.results) == 1:
        return _named(first, group.label, first.metrics, first.slices)
    metrics = {name: estimate_over_seeds([result.metrics[name].value for result in group.results]) for name in first.metrics}
    slices = {}
    for name, part in first.slices.items():
        of_slice = {
            metric: estimate_over_seeds([result.slices[name].metrics[metric].value for result in group.results]) for metric in part.metrics
        }
        slices[name] = SliceResult(part.targets, of_slice)
    return _named(first, f"{group.label} ({len(group.seeds)} seeds)", metrics, slices)


def pooled_curves(runs: Sequence[ComparedRun]) -> list[TrainingCurves]:
    """A plot per stage and metric with a line for each run; the lines of a recipe share a colour."""
    plots: dict[tuple[str, str], list[Curve]] = {}
    levels: dict[tuple[str, str], Mapping[str, float]] = {}
    for run in runs:
        for plot in run.report.curves:
            key = (plot.stage, plot.metric)
            plots.setdefault(key, []).extend(Curve(run.recipe, curve.steps, curve.values) for curve in plot.curves)
            levels.setdefault(key, plot.baselines)
    return [TrainingCurves(stage, metric, curves, levels[stage, metric]) for (stage, metric), curves in plots.items()]


def _groups(runs: Sequence[ComparedRun]) -> list[Group]:
    """Baselines of the first run, then the models of every recipe in the order given."""
    groups = [Group("", result.model, (), (result,)) for result in runs[0].report.results if result.baseline]
    recipes: dict[str, list[ComparedRun]] = {}
    for run in runs:
        recipes.setdefault(run.recipe, []).append(run)
    for recipe, members in recipes.items():
        for model in dict.fromkeys(result.model for result in members[0].report.results if not result.baseline):
            found = [
                (run.seed, result) for run in members for result in run.report.results if result.model == model and not result.baseline
            ]
            groups.append(Group(recipe, model, tuple(seed for seed, _ in found), tuple(result for _, result in found)))
    return groups


def _base_of(group: Group, groups: Sequence[Group], base: str) -> Group | None:
    """The group that this one is compared with."""
    for other in groups:
        if other.label == base or (other.recipe == base and other.model == group.model):
            return other
    return None


def _differences(group: Group, base: Group) -> dict[str, Estimate]:
    ours, theirs = group.results, base.results
    return {
        metric: difference_over_seeds(
            [result.values[metric] for result in ours],
            [result.values[metric] for result in theirs],
            ours[0].groups,
            weights=ours[0].weights.get(metric),
        )
        for metric in ours[0].values
        if metric in theirs[0].values
    }


def _check_targets(runs: Sequence[ComparedRun]) -> None:
    first = runs[0].report.results[0]
    for run in runs:
        for result in run.report.results:
            if result.values and (result.split, result.targets) != (first.split, first.targets):
                raise ConfigError(
                    f"run {run.name} has {result.targets} {result.split} targets and run {runs[0].name} {first.targets} of {first.split}",
                    why="paired differences need the same targets",
                    fix="compare runs of the same data and split",
                )


def _named(result: Result, name: str, metrics: dict[str, Estimate], slices: dict[str, SliceResult]) -> Result:
    return Result(name, result.split, result.targets, metrics, slices, result.baseline, result.reliability)
