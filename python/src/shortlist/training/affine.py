"""The increasing affine map of a logit under which labels are most likely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

Floats = npt.NDArray[np.float64]

_PRIOR = 1.0  # deviation of log(slope) around 0: a task with few positives keeps its slope near 1


@dataclass(frozen=True)
class Affine:
    """logit -> slope * logit + intercept, slope > 0."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, logits: Floats) -> Floats:
        return self.slope * logits + self.intercept


def fit_affine(logits: Floats, labels: Floats) -> Affine:
    """The map that makes labels [n] most likely under logits [n]; the identity where all labels are equal, which teach no rate.

    The slope is exp(a) with a weak normal prior on a, so it is positive: no order changes.
    """
    if len(labels) == 0 or labels.min() == labels.max():
        return Affine()
    centre, rate = float(logits.mean()), float(labels.mean())
    centred = logits - centre

    def loss(parameters: Floats) -> tuple[float, Floats]:
        slope = np.exp(parameters[0])
        z = slope * centred + parameters[1]
        error = expit(z) - labels
        value = (np.logaddexp(0.0, z) - labels * z).sum() + parameters[0] ** 2 / (2 * _PRIOR**2)
        gradient = np.array([(error * slope * centred).sum() + parameters[0] / _PRIOR**2, error.sum()])
        return float(value) / len(labels), gradient / len(labels)

    start = np.array([0.0, np.log(rate / (1 - rate))])
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"ftol": 1e-15, "gtol": 1e-10})
    slope = float(np.exp(found.x[0]))
    return Affine(slope, float(found.x[1]) - slope * centre)
