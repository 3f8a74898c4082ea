"""The preranker's loss term by term, and that its counters know nothing of the future."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from shortlist.data.splits import leave_one_out
from shortlist.errors import ConfigError
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.batches import LogTensors, fresh_start
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import (
    CandidateSampling,
    Cascade,
    Optimisation,
    PrerankerTraining,
    RankerTraining,
    RunConfig,
    TwoTowerTraining,
    override,
)
from shortlist.training.cross import CrossCounters
from shortlist.training.preranker_stage import PrerankerStage, head_weights
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

TOWER = TwoTowerConfig(width=8, retrieval_width=8, layers=1)
CONFIG = RunConfig(
    name="tiny",
    data="marketplace:users=60,items=120,events=1200,logged_requests=200",
    split="time",
    two_tower=TwoTowerTraining(model=TOWER, optimisation=Optimisation(epochs=0)),
    preranker=PrerankerTraining(
        optimisation=Optimisation(epochs=1),
        sampling=CandidateSampling(positions=4, hard=6, pool=120, uniform=2),
        model=PrerankerConfig(dropout=0.0),
        in_batch_weight=0.5,
    ),
    ranker=RankerTraining(optimisation=Optimisation(epochs=0)),
)


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(CONFIG)


@pytest.fixture(scope="module")
def stages(source: Source) -> dict[str, PrerankerStage]:
    log = LogTensors(source.log, torch.device("cpu"))
    torch.manual_seed(0)
    retriever, cross = FrozenRetriever(TOWER.build(source.log.schema), log), CrossCounters(source.log, source.split)
    fresh = fresh_start(source.log, source.split.train_end, 0.3)
    evaluation = CascadeEvaluation(retriever, cross, source.split.validation[:5], Cascade(retrieve=50, prerank=10))
    changes = {
        "all": {},
        "no in-batch": {"in_batch_weight": "0"},
        "focal": {"focus": "2"},
        "clicks only": {"head_weights": "1,0,0"},
    }
    built = {}
    for name, change in changes.items():
        config = override(CONFIG.preranker, change)
        torch.manual_seed(0)
        model = config.model.build(source.log.schema, TOWER).eval()
        torch.nn.init.normal_(model.heads_out.weight, std=0.1)
        built[name] = PrerankerStage(model, retriever, cross, source.split, fresh, evaluation, config, seed=0)
    return built


def test_the_loss_is_the_weighted_sum_of_its_parts(stages: dict[str, PrerankerStage]) -> None:
    parts = {}
    for name, stage in stages.items():
        torch.manual_seed(1)
        parts[name] = stage.loss(stage.batches(0)[0])
    whole = parts["all"]
    torch.testing.assert_close(whole["loss"], whole["pointwise"] + 10 * whole["listwise"] + 0.5 * whole["in_batch"])
    assert "in_batch" not in parts["no in-batch"]
    torch.testing.assert_close(parts["no in-batch"]["loss"], whole["loss"] - 0.5 * whole["in_batch"])
    assert 0 < parts["focal"]["pointwise"] < whole["pointwise"]
    assert 0 < parts["clicks only"]["pointwise"] < whole["pointwise"]
    torch.testing.assert_close(parts["clicks only"]["listwise"], whole["listwise"])


def test_every_parameter_learns(stages: dict[str, PrerankerStage]) -> None:
    stage = stages["all"]
    stage.model.zero_grad()
    for batch in stage.batches(0):
        stage.loss(batch)["loss"].backward()  # type: ignore[no-untyped-call]
    still = [name for name, parameter in stage.model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not still
    assert all(parameter.grad is None for parameter in stage.retriever.model.parameters())


def test_head_weights_of_the_wrong_number_are_refused(stages: dict[str, PrerankerStage]) -> None:
    stage = stages["all"]
    config = dataclasses.replace(stage.config, head_weights=(1.0,))
    with pytest.raises(ConfigError, match="head_weights has 1 values for 3 tasks"):
        head_weights(config, stage.retriever.log.schema.tasks)


def test_training_counters_do_not_change_with_what_came_later(source: Source) -> None:
    log, split = source.log, source.split
    trained = np.flatnonzero(np.arange(len(log.item)) < np.repeat(split.train_end, np.diff(log.ptr)))
    moment = int(np.median(log.time[trained]))
    other = dataclasses.replace(log, item=np.where(log.time >= moment, (log.item + 1) % len(log.item_ids), log.item))
    before = torch.from_numpy(trained[log.time[trained] <= moment])
    rows = torch.arange(len(log.item_ids)).expand(len(before), -1)
    counters, changed = CrossCounters(log, split), CrossCounters(other, split)
    rates = counters.at_events(before, rows, training=True)
    assert rates.any(dim=0).any(dim=0).all()  # of every cross feature
    assert torch.equal(changed.at_events(before, rows, training=True), rates)
    assert not torch.equal(changed.at_events(before, rows, training=False), counters.at_events(before, rows, training=False))


def test_without_a_common_clock_an_event_still_does_not_count_itself(source: Source) -> None:
    everlasting = tuple(cross for cross in source.log.schema.cross if not cross.window)
    log = dataclasses.replace(source.log, schema=dataclasses.replace(source.log.schema, cross=everlasting))
    split = leave_one_out(log)
    cross = CrossCounters(log, split)
    assert not cross.histories
    events = torch.from_numpy(np.flatnonzero(np.arange(len(log.item)) < np.repeat(split.train_end, np.diff(log.ptr))))
    rows = torch.from_numpy(log.item[events.numpy()]).unsqueeze(-1)
    inside, outside = (cross.at_events(events, rows, training=training) for training in (True, False))
    column = [c.name for c in everlasting].index("gender_item")
    named = torch.from_numpy(cross.segments["gender_item"][events.numpy()] >= 0)
    assert (inside[named, 0, column] < outside[named, 0, column]).all()
