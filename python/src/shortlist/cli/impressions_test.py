"""What `impression_results` reports is what training recorded of the calibration, and only data with pages has it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shortlist.cli.impressions import impression_results
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training import run
from shortlist.training.config import Cascade, Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

ONE_EPOCH = Optimisation(epochs=1, learning_rate=3e-3, warmup_steps=2)
CONFIG = RunConfig(
    name="tiny",
    data="marketplace:users=60,items=100,events=900,logged_requests=300",
    split="time",
    fresh_share=0.2,
    threads=1,
    two_tower=TwoTowerTraining(model=TwoTowerConfig(width=8, retrieval_width=8, layers=1), optimisation=ONE_EPOCH),
    preranker=PrerankerTraining(optimisation=ONE_EPOCH),
    ranker=RankerTraining(model=RankerConfig(width=8, layers=1, heads=1), optimisation=ONE_EPOCH),
    cascade=Cascade(retrieve=40, prerank=20),
)


def test_results_on_test_pages(tmp_path: Path) -> None:
    source = load_source(CONFIG)
    trained = run.load_run(run.train_config(CONFIG, source, tmp_path))
    results = {result.model: result for result in impression_results(trained, source)}
    assert list(results) == ["preranker", "ranker before calibration", "ranker"]
    recorded = trained.record["calibration"]["tasks"]["click"]["test"]
    for name, when in (("ranker before calibration", "before"), ("ranker", "after")):
        metrics = results[name].metrics
        assert metrics["ece:click"].value == pytest.approx(recorded[when]["ece"], abs=1e-4)
        assert metrics["log_loss:click"].value == pytest.approx(recorded[when]["log_loss"], abs=1e-4)
    before, after = (results[name].metrics["auc:click"].value for name in ("ranker before calibration", "ranker"))
    assert after == pytest.approx(before, abs=1e-3)  # the order within a task stays
    plain = Source(source.dataset, replace(source.log, impressions=None), source.split)
    assert impression_results(trained, plain) == []
