"""Evaluation on logged impressions: how well are predicted probabilities ordered and calibrated, task by task?"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedImpressions, EncodedLog
from shortlist.errors import DataError
from shortlist.evaluation.bootstrap import Estimate, estimate_means
from shortlist.evaluation.result import Histogram, Result
from shortlist.evaluation.scorer import in_chunks
from shortlist.metrics.auc import auc, per_request_auc
from shortlist.metrics.calibration import ReliabilityBins, calibration_ratio, expected_calibration_error, reliability_bins
from shortlist.metrics.log_loss import log_losses, normalized_entropy

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_HISTOGRAM_BINS = 30


class Predictor(Protocol):
    """Predicts the tasks of shown items."""

    def predict(self, log: EncodedLog, requests: Ints) -> Floats:
        """Probabilities [n,T] of the shown items of `requests`, one request after the other."""
        ...


def predict_impressions(log: EncodedLog, predictor: Predictor, requests: Ints, *, chunk: int = 1024) -> Floats:
    """Probabilities [n,T] of all shown items of `requests`."""
    impressions = _impressions(log)
    parts = []
    for part in in_chunks(len(requests), 1, chunk):
        probabilities = predictor.predict(log, requests[part])
        shown = int(np.diff(impressions.ptr)[requests[part]].sum())
        if probabilities.shape != (shown, len(log.schema.tasks)):
            raise DataError(
                f"{type(predictor).__name__} gave probabilities {list(probabilities.shape)}",
                why=f"the requests show {shown} items and there are {len(log.schema.tasks)} tasks",
                fix="return one row per shown item, in the order of the log",
            )
        parts.append(probabilities)
    return np.concatenate(parts) if parts else np.zeros((0, len(log.schema.tasks)), dtype=np.float32)


def evaluate_impressions(
    model: str, log: EncodedLog, requests: Ints, probabilities: Floats, *, split_name: str = "test", baseline: bool = False
) -> Result:
    """Per task: AUC, AUC within a request, log-loss, normalised entropy, calibration ratio and error; reliability bins and scores.

    A metric that this sample does not define (a task with one class) is left out. Intervals are over users.
    """
    impressions = _impressions(log)
    if len(requests) == 0:
        raise DataError("there are no requests to evaluate", why="the split holds out none", fix="check the split")
    sizes = np.diff(impressions.ptr)[requests]
    ptr = np.concatenate([[0], np.cumsum(sizes)])
    shown = np.arange(ptr[-1]) + np.repeat(impressions.ptr[requests] - ptr[:-1], sizes)
    labels = impressions.labels[shown]
    if probabilities.shape != labels.shape:
        raise DataError(f"probabilities have shape {list(probabilities.shape)}", why=f"labels have {list(labels.shape)}")
    users = impressions.user[requests]
    metrics: dict[str, Estimate] = {}
    reliability: dict[str, ReliabilityBins] = {}
    scores: dict[str, Histogram] = {}
    for task, name in enumerate(log.schema.tasks):
        label, probability = labels[:, task].astype(np.float64), probabilities[:, task].astype(np.float64)
        metrics |= {f"{metric}:{name}": estimate for metric, estimate in _task_metrics(label, probability, ptr, users).items()}
        counts, edges = np.histogram(probability, bins=_HISTOGRAM_BINS)
        scores[name] = Histogram(edges, counts.astype(np.int64))
        if label.any():  # a task that never happened has no rate to compare with
            reliability[name] = reliability_bins(label, probability, edges="mass")
    return Result(model, split_name, len(requests), metrics, baseline=baseline, reliability=reliability, scores=scores)


def _task_metrics(label: npt.NDArray[np.float64], probability: npt.NDArray[np.float64], ptr: Ints, users: Ints) -> dict[str, Estimate]:
    both = 0 < label.sum() < len(label)
    user_of_item = np.repeat(users, np.diff(ptr))
    metrics = {"auc": Estimate(auc(label, probability))} if both else {}
    within, requests = per_request_auc(label, probability, ptr)
    if len(within):
        metrics |= estimate_means({"request_auc": within}, users[requests])
    metrics |= estimate_means({"log_loss": log_losses(label, probability)}, user_of_item)
    if both:
        metrics["normalized_entropy"] = Estimate(normalized_entropy(label, probability))
    if label.any():
        metrics["calibration"] = Estimate(calibration_ratio(label, probability))
    return metrics | {"ece": Estimate(expected_calibration_error(reliability_bins(label, probability, edges="mass")))}


def _impressions(log: EncodedLog) -> EncodedImpressions:
    if log.impressions is None:
        raise DataError(
            f"data set {log.name!r} has no impressions", why="probabilities are judged on items that were shown", fix="use full ranking"
        )
    return log.impressions
