"""Every way to train the retriever learns, repeats, and refuses what it cannot do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shortlist.errors import CheckpointError, ConfigError
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training import run
from shortlist.training.batches import LogTensors
from shortlist.training.config import Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining, override
from shortlist.training.self_play import Opponent
from shortlist.training.source import Source, load_source
from shortlist.training.two_tower_stage import TwoTowerStage

torch.set_num_threads(1)

STEPS = Optimisation(epochs=1, learning_rate=5e-3, warmup_steps=2)
CONFIG = RunConfig(
    name="retriever",
    data="marketplace:users=120,items=150,events=2500,logged_requests=300",
    split="time",
    fresh_share=0.1,
    threads=1,
    until="two_tower",
    two_tower=TwoTowerTraining(
        model=TwoTowerConfig(width=16, retrieval_width=16, layers=1, dropout=0.1),
        optimisation=STEPS,
        batch_events=512,
        in_batch_negatives=32,
        uniform_negatives=32,
    ),
    preranker=PrerankerTraining(optimisation=STEPS),
    ranker=RankerTraining(model=RankerConfig(width=16, layers=1, heads=1), optimisation=STEPS),
)
WAYS = {
    "sampled softmax": {},
    "inclusion": {"correction": "inclusion", "popularity_negatives": "32"},
    "full softmax": {"loss": "full_softmax"},
    "gbce": {"loss": "gbce", "in_batch_negatives": "0"},
    "sasrec as published": {"loss": "bce", "own_negatives": "1", "model.towers": "tied", "model.positions": "learned"},
    "bert4rec": {"loss": "full_softmax", "model.encoder": "bert4rec", "model.towers": "tied", "model.positions": "learned"},
    "ligr": {"model.encoder": "ligr"},
    "hstu": {"model.encoder": "hstu", "model.time_bias": "true"},
    "counted by a sketch": {"frequencies": "count_min", "sketch_width": "64", "sketch_depth": "2"},
    "gru4rec": {"model.encoder": "gru4rec"},
    "self-play": {"self_play.weight": "0.5", "self_play.after": "0", "self_play.picks": "4"},
}


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(CONFIG)


def stage_of(source: Source, changes: dict[str, str]) -> TwoTowerStage:
    config = override(CONFIG, {f"two_tower.{name}": value for name, value in changes.items()})
    log = LogTensors(source.log, torch.device("cpu"))
    training = run.Training(Path(), config, source, log, run.build_models(config, source.log.schema), {})
    stage, _, _ = next(training.stages())
    assert isinstance(stage, TwoTowerStage)
    return stage


@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_training_lowers_the_loss_and_repeats(way: str, source: Source) -> None:
    curves = []
    for _ in range(2):
        torch.manual_seed(0)
        stage = stage_of(source, WAYS[way])
        optimizer = torch.optim.AdamW(stage.model.parameters(), lr=1e-2)
        batch = max(stage.batches(0), key=len)
        losses = []
        for _ in range(25):
            optimizer.zero_grad()
            loss = stage.loss(batch)["loss"]
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        curves.append(losses)
    assert curves[0] == curves[1]
    assert np.mean(curves[0][-5:]) < 0.9 * np.mean(curves[0][:3])


def test_a_retriever_alone_is_measured_but_is_no_funnel(source: Source, tmp_path: Path) -> None:
    folder = run.train_config(CONFIG, source, tmp_path)
    record = run.read_record(folder)
    assert set(record["metrics"]["test"]) == {"popularity", "cooccurrence", "two_tower"}
    with pytest.raises(CheckpointError, match="trained no stage after the two_tower"):
        run.load_run(folder)


@pytest.mark.parametrize("setting", [{"encoder": "bert4rec"}, {"positions": "learned"}])
def test_states_that_depend_on_later_events_feed_no_later_stage(setting: dict[str, str], source: Source, tmp_path: Path) -> None:
    config = override(CONFIG, {"until": "ranker"} | {f"two_tower.model.{name}": value for name, value in setting.items()})
    with pytest.raises(ConfigError, match="cannot be the first of several stages"):
        run.train_config(config, source, tmp_path)


def test_own_negatives_need_a_binary_loss(source: Source) -> None:
    stage = stage_of(source, {"own_negatives": "2"})
    with pytest.raises(ConfigError, match="own_negatives=2 with loss=sampled_softmax"):
        stage.loss(stage.batches(0)[0])


def test_the_opponent_picks_nothing_seen_and_not_the_answer(source: Source) -> None:
    stage = stage_of(source, WAYS["self-play"])
    batch = max(stage.batches(0), key=len)
    log, sequences = stage.log, stage.sequences
    start, length = torch.from_numpy(sequences.start[batch]), torch.from_numpy(sequences.length[batch])
    index, _ = log.event_index(start, length, int(length.max()))
    row = torch.arange(len(batch))
    place = length - 1
    event = index[row, place]
    opponent: Opponent = stage.opponent
    picks = opponent._picks(index, length, row, place, log.rows(event), event)
    assert picks.shape == (len(batch), 4)
    for user in range(len(batch)):
        met = set(log.rows(index[user, : int(length[user])]).tolist())  # the answer is the last of them
        assert not met & set(picks[user].tolist())
        assert len(set(picks[user].tolist())) == 4
