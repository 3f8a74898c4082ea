"""Confidence intervals by the bootstrap over users: targets of one user are not independent, so users are drawn, not targets.

Where a recipe was trained with several seeds, seeds are drawn too: a difference that one lucky seed makes is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from shortlist.errors import DataError
from shortlist.metrics.checks import finite

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLES = 1000
LEVEL = 0.95
_BOUNDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its interval (95% unless said otherwise); without one (`low` is None) where the metric is no mean over requests."""

    value: float
    low: float | None = None
    high: float | None = None


def estimate_means(
    values: dict[str, Floats], groups: Ints, seed: int = 0, level: float = LEVEL, weights: Floats | None = None
) -> dict[str, Estimate]:
    """Mean of each metric's values [T] with its interval of that `level`; `groups` [T] names the user of each value, `weights` [T] make it
    a weighted mean."""
    if not values:
        return {}
    table = np.stack([finite(name, column) for name, column in values.items()], axis=1)
    bounds = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(_resampled_means(table, groups, np.random.default_rng(seed), weights), bounds, axis=0)
    means = np.average(table, axis=0, weights=weights) if weights is not None else table.mean(axis=0)
    return {name: Estimate(float(means[i]), float(low[i]), float(high[i])) for i, name in enumerate(values)}


def paired_difference(values: Floats, baseline: Floats, groups: Ints, seed: int = 0, weights: Floats | None = None) -> Estimate:
    """Mean of values - baseline over the same targets: far tighter than two separate intervals."""
    if values.shape != baseline.shape:
        raise DataError(f"{len(values)} values against {len(baseline)}", why="a paired difference needs the same targets in both")
    return estimate_means({"difference": values - baseline}, groups, seed, weights=weights)["difference"]


def difference_over_seeds(
    values: Sequence[Floats], baseline: Sequence[Floats], groups: Ints, seed: int = 0, weights: Floats | None = None
) -> Estimate:
    """Mean over seeds of values [T] minus that of the baseline's, over the same targets; users and the seeds of both sides are drawn.

    With one seed on each side this is `paired_difference`. Few seeds say little about their spread: two or three make the interval narrow.
    """
    if len({len(column) for column in (*values, *baseline)}) != 1:
        raise DataError(f"values of {len(values)} and {len(baseline)} seeds differ in length", why="they need the same targets")
    table = np.stack([finite("values", column) for column in (*values, *baseline)], axis=1)
    signs = np.concatenate([np.full(len(values), 1 / len(values)), np.full(len(baseline), -1 / len(baseline))])
    random = np.random.default_rng(seed)
    means = _resampled_means(table, groups, random, weights)
    drawn = [random.multinomial(count, np.full(count, 1 / count), size=SAMPLES) for count in (len(values), len(baseline))]
    low, high = np.quantile((means * np.concatenate(drawn, axis=1) * signs).sum(axis=1), _BOUNDS)
    return Estimate(float(np.average(table, axis=0, weights=weights) @ signs), float(low), float(high))


def estimate_over_seeds(values: Sequence[float]) -> Estimate:
    """Mean of a metric over runs that differ in their seed, with Student's interval; without one where there is a single run."""
    column = finite("values", values)
    mean = float(column.mean())
    if len(column) < 2:
        return Estimate(mean)
    half = float(stats.t.ppf((1 + LEVEL) / 2, len(column) - 1) * column.std(ddof=1) / np.sqrt(len(column)))
    return Estimate(mean, mean - half, mean + half)


def _resampled_means(table: Floats, groups: Ints, random: np.random.Generator, weights: Floats | None = None) -> Floats:
    """(Weighted) means [SAMPLES,M] over users drawn with replacement, from values [T,M]."""
    if len(table) == 0 or len(groups) != len(table):
        raise DataError(f"{len(table)} values of {len(groups)} users", why="each value needs its user, and there must be some")
    weight = np.ones(len(table)) if weights is None else weights
    counted = weight > 0  # a sample without any weight would have no mean; this keeps only users that matter
    _, user = np.unique(groups[counted], return_inverse=True)
    users = int(user.max()) + 1
    sums = np.stack([np.bincount(user, weights=column * weight[counted], minlength=users) for column in table[counted].T], axis=1)
    sizes = np.bincount(user, weights=weight[counted], minlength=users)
    step = max(1, _DRAWS_AT_ONCE // users)
    means = []
    for begin in range(0, SAMPLES, step):
        count = min(step, SAMPLES - begin)
        drawn = random.integers(users, size=(count, users)) + users * np.arange(count)[:, None]
        draws = np.bincount(drawn.ravel(), minlength=count * users).reshape(count, users).astype(np.float64)  # how often each user [c,U]
        means.append((draws @ sums) / (draws @ sizes)[:, None])
    return np.concatenate(means)
