"""Calibration recovers what a model gets wrong, keeps every order, and is part of the ranker; pages are scored as serving would."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from shortlist.errors import ConfigError
from shortlist.metrics.calibration import expected_calibration_error, reliability_bins
from shortlist.models.calibration import Calibration
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training import run
from shortlist.training.affine import Affine, fit_affine
from shortlist.training.batches import LogTensors
from shortlist.training.calibration import effect, held_out_pages
from shortlist.training.config import Cascade, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining
from shortlist.training.cross import CrossCounters
from shortlist.training.impressions import impressions_of, page_labels, page_logits
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

ONE_EPOCH = Optimisation(epochs=1, learning_rate=3e-3, warmup_steps=2)
CONFIG = RunConfig(
    name="tiny",
    data="marketplace:users=80,items=120,events=1500,logged_requests=400",
    split="time",
    fresh_share=0.2,
    threads=1,
    two_tower=TwoTowerTraining(model=TwoTowerConfig(width=8, retrieval_width=8, layers=1), optimisation=ONE_EPOCH),
    preranker=PrerankerTraining(optimisation=ONE_EPOCH),
    ranker=RankerTraining(model=RankerConfig(width=8, layers=1, heads=1), optimisation=ONE_EPOCH),
    cascade=Cascade(retrieve=40, prerank=20),
)


@pytest.mark.parametrize(("slope", "intercept"), [(0.4, -2.0), (1.0, 0.0), (2.5, 1.5)])
def test_a_known_miscalibration_is_recovered(slope: float, intercept: float) -> None:
    """Labels drawn from slope * logit + intercept; the estimate lies within a few standard errors, and the error of new data goes."""
    random = np.random.default_rng(0)
    logits = random.normal(-0.5, 1.2, 60_000)
    labels = (random.random(len(logits)) < expit(slope * logits + intercept)).astype(np.float64)
    fitted = fit_affine(logits[:40_000], labels[:40_000])
    assert (fitted.slope, fitted.intercept) == pytest.approx((slope, intercept), abs=0.08)
    found = effect(fitted, logits[40_000:], labels[40_000:])
    assert found["after"]["ece"] < 0.01
    assert found["after"]["log_loss"] <= found["before"]["log_loss"] + 1e-4
    if (slope, intercept) != (1.0, 0.0):
        assert found["before"]["ece"] > 5 * found["after"]["ece"]


def test_a_task_without_both_labels_is_left_alone() -> None:
    logits = np.linspace(-3, 3, 10)
    assert fit_affine(logits, np.zeros(10)) == fit_affine(logits, np.ones(10)) == fit_affine(logits[:0], logits[:0]) == Affine()


def test_few_positives_keep_the_slope_near_one_and_it_never_turns() -> None:
    """Labels that contradict the logits: a free slope would be negative and turn the order."""
    logits, labels = np.linspace(-3, 3, 50), np.zeros(50)
    labels[:3] = 1
    fitted = fit_affine(logits, labels)
    assert 0 < fitted.slope < 1
    assert expit(fitted(logits)).mean() == pytest.approx(labels.mean(), abs=1e-4)
    separable = fit_affine(logits, (logits > 2.9).astype(np.float64))
    assert 1 < separable.slope < 20


@settings(max_examples=25, deadline=None)
@given(
    slope=st.floats(0.05, 20),
    intercept=st.floats(-10, 10),
    logits=st.lists(st.floats(-30, 30, width=32), min_size=2, max_size=20),
)
def test_the_order_stays(slope: float, intercept: float, logits: list[float]) -> None:
    calibration = Calibration(1)
    calibration.set([slope], [intercept])
    before = torch.tensor(logits).unsqueeze(-1)
    after = calibration(before)
    ordered = after[before[:, 0].argsort(stable=True), 0]
    assert (ordered.diff() >= 0).all()


@pytest.mark.parametrize(("slope", "intercept"), [(0.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (1.0, float("inf"))])
def test_a_map_that_turns_or_breaks_the_order_is_refused(slope: float, intercept: float) -> None:
    with pytest.raises(ConfigError, match="slopes are positive"):
        Calibration(1).set([slope], [intercept])


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(CONFIG)


@pytest.fixture(scope="module")
def trained(source: Source, tmp_path_factory: pytest.TempPathFactory) -> run.Run:
    return run.load_run(run.train_config(CONFIG, source, tmp_path_factory.mktemp("runs")))


def test_a_run_is_calibrated_on_validation_pages_and_says_so(trained: run.Run) -> None:
    record = trained.record["calibration"]
    assert record["observations"] == "shown items"
    assert list(record["tasks"]) == list(trained.schema.tasks)
    calibration = trained.models.ranker.calibration
    for task, found in enumerate(record["tasks"].values()):
        assert float(calibration.slope[task]) == pytest.approx(found["slope"])
        assert float(calibration.intercept[task]) == pytest.approx(found["intercept"])
        if found["validation"]["positives"]:
            assert found["validation"]["after"]["log_loss"] <= found["validation"]["before"]["log_loss"] + 1e-6
    assert record["tasks"]["click"]["slope"] != 1.0


def test_folded_equals_applied_outside_and_the_record_is_of_the_served_logits(trained: run.Run, source: Source) -> None:
    log = LogTensors(source.log, torch.device("cpu"))
    cross, retriever = CrossCounters(source.log, source.split), FrozenRetriever(trained.models.two_tower, log)
    requests = held_out_pages(log, source.split, CONFIG.seed)["test"]
    models = trained.models
    _, folded = page_logits(retriever, models.preranker, models.ranker, cross, requests)
    record, labels = trained.record["calibration"]["tasks"]["click"], page_labels(log, requests)
    bins = reliability_bins(labels[:, 0], expit(folded[:, 0].astype(np.float64)), edges="mass")
    assert expected_calibration_error(bins) == pytest.approx(record["test"]["after"]["ece"], abs=1e-4)
    slope, intercept = models.ranker.calibration.slope.clone(), models.ranker.calibration.intercept.clone()
    models.ranker.calibration.reset()
    _, plain = page_logits(retriever, models.preranker, models.ranker, cross, requests)
    models.ranker.calibration.set(slope.tolist(), intercept.tolist())
    np.testing.assert_array_equal(folded, plain * slope.numpy() + intercept.numpy())


def test_pages_are_scored_one_by_one_as_together(trained: run.Run, source: Source) -> None:
    """Each request's items come out in the log's order, whatever the batches."""
    log = LogTensors(source.log, torch.device("cpu"))
    cross, retriever = CrossCounters(source.log, source.split), FrozenRetriever(trained.models.two_tower, log)
    requests, models = held_out_pages(log, source.split, 0)["validation"][:7][::-1].copy(), trained.models
    whole = page_logits(retriever, models.preranker, models.ranker, cross, requests)
    single = [page_logits(retriever, models.preranker, models.ranker, cross, requests[i : i + 1]) for i in range(len(requests))]
    for model in (0, 1):
        np.testing.assert_allclose(whole[model], np.concatenate([pair[model] for pair in single]), atol=1e-5, rtol=1e-4)
    impressions = impressions_of(log)
    sizes = np.diff(impressions.ptr)[requests]
    assert whole[0].shape == page_labels(log, requests).shape == (sizes.sum(), len(log.schema.tasks))


def test_without_pages_the_funnels_own_candidates_calibrate(source: Source, tmp_path: Path) -> None:
    from dataclasses import replace

    plain = Source(source.dataset, replace(source.log, impressions=None), source.split)
    record = run.load_run(run.train_config(CONFIG, plain, tmp_path)).record["calibration"]
    assert record["observations"] == "candidates"
    click = record["tasks"]["click"]["validation"]
    assert 0 < click["positives"] < click["observations"]
    assert click["after"]["ece"] < click["before"]["ece"]
