"""A tiny marketplace through all three stages: resumption, the run directory, and the offline funnel."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shortlist.errors import CheckpointError, ConfigError, ShortlistError
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training import loop, run
from shortlist.training.batches import LogTensors
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
from shortlist.training.retrieval import retrieval_ranks
from shortlist.training.run import write_record
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

OPTIMISATION = Optimisation(epochs=2, learning_rate=3e-3, warmup_steps=2, ema_decay=0.9)
SAMPLING = CandidateSampling(positions=2, hard=4, pool=50, uniform=2)
CONFIG = RunConfig(
    name="tiny",
    data="marketplace:users=120,items=150,events=2500,logged_requests=300",
    split="time",
    fresh_share=0.2,
    threads=1,
    two_tower=TwoTowerTraining(
        model=TwoTowerConfig(width=16, retrieval_width=16, layers=1), optimisation=OPTIMISATION, batch_events=512, in_batch_negatives=32
    ),
    preranker=PrerankerTraining(optimisation=OPTIMISATION, sampling=SAMPLING, batch_events=1024),
    ranker=RankerTraining(
        model=RankerConfig(width=16, layers=1, heads=1), optimisation=OPTIMISATION, sampling=SAMPLING, old_positions=2, batch_events=1024
    ),
    cascade=Cascade(retrieve=60, prerank=30),
)


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(CONFIG)


@pytest.fixture(scope="module")
def finished(source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run.train_config(CONFIG, source, tmp_path_factory.mktemp("runs"))


def test_a_run_directory_loads_again(finished: Path, source: Source) -> None:
    loaded = run.load_run(finished)
    assert loaded.config == CONFIG
    assert loaded.schema == source.log.schema
    assert loaded.record["data"]["digest"] == source.digest()
    assert {path.name for path in finished.glob("*.safetensors")} == {
        f"{name}.safetensors" for name in ("two_tower", "preranker", "ranker")
    }
    for part in ("validation", "test"):
        models = loaded.record["metrics"][part]
        assert set(models) == {"popularity", "cooccurrence", "two_tower", "preranker", "cascade"}
        assert all(0 <= value <= 1 for metrics in models.values() for value in metrics.values())
    lines = [json.loads(line) for line in (finished / "logs" / "ranker.jsonl").read_text().splitlines()]
    assert lines[-1]["epoch"] == 2


def test_the_two_tower_learns(finished: Path) -> None:
    metrics = run.load_run(finished).record["metrics"]["validation"]
    assert metrics["two_tower"]["recall@100"] > 100 / 150
    assert metrics["cascade"]["recall@100"] <= 1


@pytest.mark.parametrize("stage", ["two_tower", "preranker", "ranker"])
def test_an_interrupted_run_continues_bit_for_bit(
    stage: str, finished: Path, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after the stage's first epoch, in the middle of its second."""
    epoch = loop._epoch

    def interrupted(trained: loop.Stage, *rest: object) -> dict[str, float]:
        state = rest[3]
        assert isinstance(state, loop.Progress)
        if trained.name == stage and state.epoch == 1:
            torch.rand(3)  # the generator moves on before the process dies
            raise KeyboardInterrupt
        return epoch(trained, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run.train_config(CONFIG, source, tmp_path)
    torch.manual_seed(99)
    folder = run.train_config(CONFIG, source, tmp_path)
    for name in ("two_tower", "preranker", "ranker"):
        ours, whole = load_file(folder / f"{name}.safetensors"), load_file(finished / f"{name}.safetensors")
        assert ours.keys() == whole.keys()
        assert all(torch.equal(ours[key], whole[key]) for key in whole), name
    assert run.load_run(folder).record["metrics"] == run.load_run(finished).record["metrics"]


def test_a_record_from_before_a_setting_existed_is_of_its_default(finished: Path, source: Source) -> None:
    record = run.read_record(finished)
    del record["config"]["two_tower"]["frequencies"]
    older = finished.parent / "older"
    run.write_record(older, record)
    assert run.begin(older, CONFIG, source) == record
    record["config"]["two_tower"]["forgotten"] = 1
    run.write_record(older, record)
    with pytest.raises(CheckpointError, match="another configuration"):
        run.begin(older, CONFIG, source)


def test_another_configuration_does_not_overwrite_a_run(finished: Path, source: Source) -> None:
    with pytest.raises(CheckpointError, match="another configuration"):
        run.train_config(override(CONFIG, {"seed": "1"}), source, finished.parent)


def test_incomplete_and_foreign_directories_are_refused(finished: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no run directory"):
        run.load_run(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    record = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(record | {"complete": False}))
    with pytest.raises(CheckpointError, match="not complete"):
        run.load_run(copy)
    (copy / "run.json").write_text(json.dumps(record))
    (copy / "ranker.safetensors").write_bytes((copy / "preranker.safetensors").read_bytes())
    with pytest.raises(CheckpointError, match=r"ranker\.safetensors does not fit"):
        run.load_run(copy)
    (copy / "ranker.safetensors").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.load_run(copy)


def test_a_loss_that_is_not_finite_stops_the_run(source: Source, tmp_path: Path) -> None:
    config = override(CONFIG, {"two_tower.optimisation.learning_rate": "1e30", "two_tower.optimisation.clip_norm": "1e30"})
    with pytest.raises(ShortlistError, match="two_tower: the loss is"):
        run.train_config(config, source, tmp_path)


def test_the_first_stage_of_the_funnel_ranks_as_full_ranking_does(finished: Path, source: Source) -> None:
    """Retrieval inside the funnel and the two-tower's own evaluation are two paths to the same ranks."""
    models = run.load_run(finished).models
    log = LogTensors(source.log, torch.device("cpu"))
    target = source.split.validation[:80]
    evaluation = CascadeEvaluation(FrozenRetriever(models.two_tower, log), CrossCounters(source.log, source.split), target, CONFIG.cascade)
    ranks = evaluation.ranks(models.preranker, models.ranker)
    assert (ranks["two_tower"] == retrieval_ranks(models.two_tower, log, target)).all()
    kept = ranks["cascade"] <= CONFIG.cascade.prerank
    assert (kept == (ranks["preranker"] <= CONFIG.cascade.prerank)).all()
    assert ((ranks["preranker"] <= CONFIG.cascade.retrieve) == (ranks["two_tower"] <= CONFIG.cascade.retrieve)).all()
    items = source.log.item[target]
    for model, (found, heads) in evaluation.ranked(models.preranker, models.ranker, depth=10).items():
        np.testing.assert_array_equal(found, ranks[model])
        np.testing.assert_array_equal(found <= 10, (heads == items[:, None]).any(axis=1))
        inside = np.flatnonzero(found <= 10)
        np.testing.assert_array_equal(heads[inside, found[inside] - 1], items[inside])


def test_a_refit_learns_the_fresh_events_and_changes_nothing_else(finished: Path, source: Source, tmp_path: Path) -> None:
    config = override(CONFIG, {"refit.epochs": "2", "refit.learning_rate": "1e-3", "name": "again"})
    with pytest.MonkeyPatch.context() as patch:  # interrupted between its weights and its record: it must end the same
        patch.setattr(run, "write_record", fails_with_refit)
        with pytest.raises(KeyboardInterrupt):
            run.train_config(config, source, tmp_path)
    loaded = run.load_run(run.train_config(config, source, tmp_path))
    for name in ("preranker", "ranker"):
        ours, plain = load_file(tmp_path / "again" / f"{name}.safetensors"), load_file(finished / f"{name}.safetensors")
        changed = {key for key in plain if not torch.equal(ours[key], plain[key])}
        assert all(key.startswith("calibration.") for key in changed), name  # fitted to what the refit funnel gives
    record = loaded.record["stages"]["refit"]
    assert record["best"] == max(epoch["ndcg@10"] for epoch in record["epochs"])
    watched = loaded.record["stages"]["ranker"]
    assert record["epochs"][0]["ndcg@10"] == pytest.approx(watched["best"])  # begins as the funnel ended
    before, after = (load_file(folder / "two_tower.safetensors") for folder in (finished, tmp_path / "again"))
    assert any(not torch.equal(before[key], after[key]) for key in before) == (record["best_epoch"] > 0)


def fails_with_refit(folder: Path, record: dict[str, Any]) -> None:
    if "refit" in record["stages"]:
        raise KeyboardInterrupt
    write_record(folder, record)


def test_a_refit_needs_a_later_stage(source: Source, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="refit after the two-tower alone"):
        run.train_config(override(CONFIG, {"refit.epochs": "1", "until": "two_tower"}), source, tmp_path)


def test_the_funnel_gives_a_time_bias_its_times(source: Source) -> None:
    config = override(CONFIG, {"two_tower.model.encoder": "hstu", "two_tower.model.time_bias": "true"})
    models = run.build_models(config, source.log.schema)
    bias = models.two_tower.encoder.bias
    assert bias is not None
    assert bias.time is not None
    torch.nn.init.normal_(bias.time)
    log = LogTensors(source.log, torch.device("cpu"))
    target = source.split.validation[:40]
    evaluation = CascadeEvaluation(FrozenRetriever(models.two_tower, log), CrossCounters(source.log, source.split), target, CONFIG.cascade)
    ranks = evaluation.ranks(models.preranker, models.ranker)["two_tower"]
    assert (ranks == retrieval_ranks(models.two_tower, log, target)).all()
