"""Area under the ROC curve: the probability that a positive scores above a negative, ties counting half; overall and per request."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import binary, finite, same_shape


def auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """AUC over all observations [N]. Raises DataError when there is only one class."""
    label, score = binary("labels", labels), finite("scores", scores)
    same_shape(labels=label, scores=score)
    positives = label.sum()
    if positives in (0, len(label)):
        raise DataError(
            f"AUC of {len(label)} labels that are all {int(label[0])}", why="it compares two classes", fix="use a larger sample"
        )
    values, _ = per_request_auc(label, score, np.array([0, len(label)]))
    return float(values[0])


def per_request_auc(
    labels: npt.ArrayLike, scores: npt.ArrayLike, ptr: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """AUC inside each request, whose observations are `ptr[r]:ptr[r+1]`.

    Returns (values [D], requests [D]) of the D requests that have both classes; in the others there is nothing to order.
    """
    label, score = binary("labels", labels), finite("scores", scores)
    same_shape(labels=label, scores=score)
    if ptr[0] != 0 or ptr[-1] != len(label) or (np.diff(ptr) < 0).any():
        raise DataError("ptr does not cut the observations into requests", why=f"it must rise from 0 to {len(label)}")
    requests = len(ptr) - 1
    request = np.repeat(np.arange(requests), np.diff(ptr))
    order = np.lexsort((score, request))
    # Within a run of equal scores of one request everybody has the mean of the run's ranks.
    changed = (np.diff(score[order]) != 0) | (np.diff(request[order]) != 0)
    run = np.concatenate([[0], np.cumsum(changed)])
    place = np.arange(len(order)) - ptr[request[order]] + 1.0
    mean_rank = (np.bincount(run, weights=place) / np.bincount(run))[run]
    positives = np.bincount(request, weights=label, minlength=requests)
    negatives = np.diff(ptr) - positives
    rank_sum = np.bincount(request[order], weights=mean_rank * label[order], minlength=requests)
    defined = np.nonzero((positives > 0) & (negatives > 0))[0]
    p, n = positives[defined], negatives[defined]
    return (rank_sum[defined] - p * (p + 1) / 2) / (p * n), defined
