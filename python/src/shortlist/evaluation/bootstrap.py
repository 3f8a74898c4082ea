"""Confidence intervals by the bootstrap over users: targets of one user are not independent, so users are drawn, not targets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import finite

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SAMPLES = 1000
LEVEL = 0.95
_DRAWS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A metric with its interval (95% unless said otherwise); without one (`low` is None) where the metric is no mean over requests."""

    value: float
    low: float | None = None
    high: float | None = None


def estimate_means(values: dict[str, Floats], groups: Ints, seed: int = 0, level: float = LEVEL) -> dict[str, Estimate]:
    """Mean of each metric's values [T] with its interval of that `level`; `groups` [T] names the user of each value."""
    if not values:
        return {}
    table = np.stack([finite(name, column) for name, column in values.items()], axis=1)
    low, high = np.quantile(_resampled_means(table, groups, seed), [(1 - level) / 2, (1 + level) / 2], axis=0)
    return {name: Estimate(float(table[:, i].mean()), float(low[i]), float(high[i])) for i, name in enumerate(values)}


def paired_difference(values: Floats, baseline: Floats, groups: Ints, seed: int = 0) -> Estimate:
    """Mean of values - baseline over the same targets: far tighter than two separate intervals."""
    if values.shape != baseline.shape:
        raise DataError(f"{len(values)} values against {len(baseline)}", why="a paired difference needs the same targets in both")
    return estimate_means({"difference": values - baseline}, groups, seed)["difference"]


def _resampled_means(table: Floats, groups: Ints, seed: int) -> Floats:
    """Means [SAMPLES,M] over users drawn with replacement, from values [T,M]."""
    if len(table) == 0 or len(groups) != len(table):
        raise DataError(f"{len(table)} values of {len(groups)} users", why="each value needs its user, and there must be some")
    _, user = np.unique(groups, return_inverse=True)
    users = int(user.max()) + 1
    sums = np.stack([np.bincount(user, weights=column, minlength=users) for column in table.T], axis=1)
    sizes = np.bincount(user, minlength=users).astype(np.float64)
    random = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // users)
    means = []
    for begin in range(0, SAMPLES, step):
        draws = random.multinomial(users, np.full(users, 1 / users), size=min(step, SAMPLES - begin)).astype(np.float64)
        means.append((draws @ sums) / (draws @ sizes)[:, None])
    return np.concatenate(means)
