"""Log-loss of predicted probabilities, and the same as a share of what a constant prediction loses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import binary, finite, same_shape

# A float32 sigmoid saturates at 0 and 1; one confident mistake then costs -log(EPSILON) = 16 nats, not infinity.
EPSILON = 1e-7


def log_losses(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """-log p(label) of each observation, in nats."""
    label, p = binary("labels", labels), checked_probabilities(probabilities)
    same_shape(labels=label, probabilities=p)
    p = np.clip(p, EPSILON, 1 - EPSILON)
    return np.asarray(-(label * np.log(p) + (1 - label) * np.log1p(-p)))


def log_loss(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    return float(log_losses(labels, probabilities).mean())


def normalized_entropy(labels: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Log-loss / log-loss of always predicting the mean label (He et al., 2014): below 1 is better than knowing the base rate."""
    label = binary("labels", labels)
    loss = log_loss(label, probabilities)
    rate = label.mean()
    if rate in (0.0, 1.0):
        raise DataError(f"all labels are {int(rate)}", why="the base rate then has no entropy to compare with", fix="use a larger sample")
    return float(loss / -(rate * np.log(rate) + (1 - rate) * np.log1p(-rate)))


def checked_probabilities(probabilities: npt.ArrayLike) -> npt.NDArray[np.float64]:
    p = finite("probabilities", probabilities)
    if ((p < 0) | (p > 1)).any():
        raise DataError(
            f"probabilities range from {p.min():.6g} to {p.max():.6g}",
            why="they must be between 0 and 1",
            fix="apply the sigmoid to logits",
        )
    return p
