"""`shortlist ladder` as a user runs it, on a tiny marketplace: baselines, a retriever and the funnel."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from shortlist.cli import ladder_table
from shortlist.cli.main import app
from shortlist.data.splits import training_mask
from shortlist.evaluation.full_ranking import rank_targets
from shortlist.models.popularity import Popularity
from shortlist.training.batches import LogTensors
from shortlist.training.config import RunConfig, from_json
from shortlist.training.retrieval import first_meetings, retrieval_ranks
from shortlist.training.run import build_models
from shortlist.training.source import Source, load_source

RECIPE = """
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.training.config import *

FAST = Optimisation(epochs=1, learning_rate=3e-3, warmup_steps=2)
SAMPLING = CandidateSampling(positions=2, hard=4, pool=50, uniform=2)


def recipe():
    return RunConfig(
        name="tiny",
        data="marketplace:users=80,items=100,events=1500,logged_requests=200",
        split="time",
        fresh_share=0.2,
        threads=1,
        two_tower=TwoTowerTraining(model=TwoTowerConfig(width=16, retrieval_width=16, layers=1), optimisation=FAST, batch_events=512),
        preranker=PrerankerTraining(optimisation=FAST, sampling=SAMPLING, batch_events=1024),
        ranker=RankerTraining(model=RankerConfig(width=16, layers=1, heads=1), optimisation=FAST, sampling=SAMPLING, batch_events=1024),
        cascade=Cascade(retrieve=60, prerank=30),
    )
"""
RUNGS = ("popularity", "popularity-decay", "cooccurrence", "sasrec", "cascade")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "tiny.py"
    path.write_text(RECIPE)
    return path


def run(*arguments: object) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["shortlist", "ladder", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            app()
    return int(caught.value.code or 0)


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs")
    assert run(recipe, "--out", out, "--rungs", ",".join(RUNGS)) == 0
    return out / "tiny-ladder"


@pytest.fixture(scope="module")
def source(finished: Path) -> Source:
    return load_source(from_json(RunConfig, json.loads((finished / "ground.json").read_text())["config"]))


def test_the_ladder_is_sorted_by_validation_and_complete(finished: Path) -> None:
    found = json.loads((finished / "ladder.json").read_text())
    assert {rung["name"] for rung in found["rungs"]} == set(RUNGS)
    order = [rung["metrics"]["validation"]["ndcg@10"]["value"] for rung in found["rungs"]]
    assert order == sorted(order, reverse=True)
    for rung in found["rungs"]:
        assert rung["fit_seconds"] >= 0
        assert rung["baseline"] == (rung["name"] not in ("sasrec", "cascade"))
        for split in ("validation", "test"):
            metrics = rung["metrics"][split]
            assert {"hr@10", "ndcg@10", "recall@100", "mrr", "coverage@10", "novelty@10"} <= set(metrics)
            assert metrics["ndcg@10"]["low"] <= metrics["ndcg@10"]["value"] <= metrics["ndcg@10"]["high"]
    for name in ("report.html", "report.md"):
        text = (finished / name).read_text()
        assert all(rung in text for rung in RUNGS)


def test_rungs_are_judged_by_full_ranking_of_first_meetings(finished: Path, source: Source) -> None:
    log, split = source.log, source.split
    kept = load_file(finished / "rungs/popularity.safetensors")
    targets = first_meetings(log, split.test)
    np.testing.assert_array_equal(kept["test.targets"], targets)
    np.testing.assert_array_equal(kept["test.ranks"], rank_targets(log, Popularity.fit(log, split), targets).ranks)


def test_a_retriever_trains_alone_and_on_all_training_events(finished: Path, source: Source) -> None:
    folder = finished / "runs/sasrec"
    record = json.loads((folder / "run.json").read_text())
    assert list(record["stages"]) == ["two_tower"]
    assert record["config"]["fresh_share"] == 0
    assert record["data"]["training_events"] == training_mask(source.log, source.split).sum()
    model = build_models(from_json(RunConfig, record["config"]), source.log.schema).two_tower
    model.load_state_dict({name: torch.from_numpy(values) for name, values in load_file(folder / "two_tower.safetensors").items()})
    kept = load_file(finished / "rungs/sasrec.safetensors")
    ranks = retrieval_ranks(model, LogTensors(source.log, torch.device("cpu")), kept["test.targets"])
    np.testing.assert_array_equal(kept["test.ranks"], ranks)


def test_finished_rungs_are_kept_and_changed_ones_are_fitted_again(
    recipe: Path, finished: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "ladder.json").read_text()
    assert run(recipe, "--out", finished.parent, "--rungs", ",".join(RUNGS), "--json") == 0
    captured = capsys.readouterr()
    assert "fitting" not in captured.err
    assert json.loads(captured.out) == json.loads(before) == json.loads((finished / "ladder.json").read_text())

    path = finished / "rungs/cooccurrence.json"
    record = json.loads(path.read_text())
    record["settings"]["start"]["window"] += 1  # as if an older version had fitted it
    path.write_text(json.dumps(record))
    assert run(recipe, "--out", finished.parent, "--rungs", "cooccurrence,popularity") == 0
    captured = capsys.readouterr()
    assert captured.err == "fitting   cooccurrence\n"
    assert "popularity" in captured.out
    assert "sasrec" not in captured.out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--rungs", "sasrek"), "there is no rung 'sasrek'"),
        (("--rungs", "popularity", "--set", "seed=5"), "holds a ladder of another configuration or data"),
    ],
)
def test_faults_are_explained(
    recipe: Path, finished: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert run(recipe, "--out", finished.parent, *arguments) == 1
    error = capsys.readouterr().err
    assert says in error
    assert "fix:" in error


def test_patterns_choose_rungs_in_the_ladder_s_order() -> None:
    names = [rung.name for rung in ladder_table.matching(ladder_table.rungs(), "ials, popularity*")]
    assert names == ["popularity", "popularity-window", "popularity-decay", "popularity-segment", "ials"]
