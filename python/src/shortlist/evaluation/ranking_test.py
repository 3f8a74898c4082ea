from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shortlist.data.dataset import EncodedImpressions, EncodedLog
from shortlist.errors import DataError
from shortlist.evaluation.ranking import evaluate_impressions, predict_impressions
from shortlist.metrics.auc import auc
from shortlist.testing.logs import random_log

REQUESTS, SHOWN = 300, 10


def log_with_impressions() -> tuple[EncodedLog, np.ndarray]:
    """A log with two tasks, of which the second never happens, and the true probabilities of the first."""
    random = np.random.default_rng(0)
    log = random_log()
    truth = random.beta(1, 4, REQUESTS * SHOWN)
    labels = np.stack([random.random(len(truth)) < truth, np.zeros(len(truth))], axis=1).astype(np.float32)
    impressions = EncodedImpressions(
        ptr=np.arange(0, REQUESTS * SHOWN + 1, SHOWN),
        user=random.integers(0, 40, REQUESTS),
        history_end=np.zeros(REQUESTS, dtype=np.int64),
        time=np.arange(REQUESTS),
        context={},
        item=random.integers(0, 30, REQUESTS * SHOWN),
        position=np.tile(np.arange(SHOWN), REQUESTS),
        labels=labels,
    )
    return replace(log, schema=replace(log.schema, tasks=("click", "purchase")), impressions=impressions), truth


class Oracle:
    """Knows the truth; repeats it in the order asked for."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth

    def predict(self, log: EncodedLog, requests: np.ndarray) -> np.ndarray:
        truth = self.truth.reshape(REQUESTS, SHOWN)[requests].ravel()
        return np.stack([truth, np.full(len(truth), 0.001)], axis=1).astype(np.float32)


def test_the_truth_is_calibrated_and_metrics_are_those_of_the_chosen_requests() -> None:
    log, truth = log_with_impressions()
    assert log.impressions is not None
    requests = np.array([7, 3, *range(100, 300)])
    probabilities = predict_impressions(log, Oracle(truth), requests, chunk=50)
    result = evaluate_impressions("oracle", log, requests, probabilities)
    labels = log.impressions.labels.reshape(REQUESTS, SHOWN, 2)[requests][..., 0].ravel()
    assert result.metrics["auc:click"].value == auc(labels, probabilities[:, 0])
    assert result.metrics["calibration:click"].value == pytest.approx(1, abs=0.1)
    assert result.metrics["ece:click"].value < 0.04
    assert result.metrics["normalized_entropy:click"].value < 1
    low, high = result.metrics["request_auc:click"].low, result.metrics["request_auc:click"].high
    assert low is not None
    assert high is not None
    assert 0.5 < low < result.metrics["request_auc:click"].value < high
    assert result.reliability["click"].count.sum() == result.scores["click"].counts.sum() == len(requests) * SHOWN


def test_metrics_that_one_class_does_not_define_are_left_out() -> None:
    log, truth = log_with_impressions()
    requests = np.arange(REQUESTS)
    result = evaluate_impressions("oracle", log, requests, Oracle(truth).predict(log, requests))
    assert {name for name in result.metrics if name.endswith(":purchase")} == {"log_loss:purchase", "ece:purchase"}


def test_bad_input_is_refused() -> None:
    log, _ = log_with_impressions()
    requests = np.arange(5)
    with pytest.raises(DataError, match="has no impressions"):
        evaluate_impressions("oracle", random_log(), requests, np.zeros((50, 2), dtype=np.float32))
    with pytest.raises(DataError, match=r"probabilities have shape \[40, 2\]"):
        evaluate_impressions("oracle", log, requests, np.zeros((40, 2), dtype=np.float32))
    with pytest.raises(DataError, match=r"range from 0\.5 to 1\.4899"):
        evaluate_impressions("oracle", log, requests, np.linspace(0.5, 1.5, 100, dtype=np.float32).reshape(50, 2))
    with pytest.raises(DataError, match="no requests"):
        evaluate_impressions("oracle", log, requests[:0], np.zeros((0, 2), dtype=np.float32))
