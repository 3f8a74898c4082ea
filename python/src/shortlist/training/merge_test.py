"""Spherical merging: its geometry as properties, and merged run directories."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from shortlist.errors import CheckpointError, ConfigError
from shortlist.training import run
from shortlist.training.checkpoint import write_tensors
from shortlist.training.config import override
from shortlist.training.merge import merge_runs, merged_state, slerp, spherical_mean, towards
from shortlist.training.run_test import CONFIG
from shortlist.training.source import Source, load_source

torch.set_num_threads(1)

SEEDS = st.integers(0, 2**32 - 1)
SHARES = st.floats(0, 1)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


@settings(deadline=None, max_examples=50)
@given(SEEDS, SHARES)
def test_equal_tensors_merge_to_themselves(seed: int, share: float) -> None:
    tensor = drawn(seed, 3, 4)
    assert torch.equal(slerp(tensor, tensor, share), tensor)
    assert torch.equal(spherical_mean([tensor] * 3), tensor)


@settings(deadline=None, max_examples=50)
@given(SEEDS)
def test_the_ends_of_the_arc_are_the_tensors(seed: int) -> None:
    first, second = drawn(seed, 5), 3 * drawn(seed + 1, 5)
    assert torch.allclose(slerp(first, second, 0.0), first, atol=1e-6)
    assert torch.allclose(slerp(first, second, 1.0), second, atol=1e-6)


@settings(deadline=None, max_examples=50)
@given(SEEDS, SHARES)
def test_unit_vectors_stay_unit_vectors_and_angles_divide_evenly(seed: int, share: float) -> None:
    first, second = (vector / vector.norm() for vector in (drawn(seed, 6).double(), drawn(seed + 1, 6).double()))
    merged = slerp(first, second, share)
    assert float(merged.norm()) == pytest.approx(1, abs=1e-9)
    whole = math.acos(float(first @ second))
    assert math.acos(min(1.0, float(first @ merged))) == pytest.approx(share * whole, abs=1e-6)


@settings(deadline=None, max_examples=50)
@given(SEEDS, SHARES)
def test_lengths_change_evenly_and_order_does_not_matter(seed: int, share: float) -> None:
    first, second = drawn(seed, 6), 4 * drawn(seed + 1, 6)
    merged = slerp(first, second, share)
    assert float(merged.norm()) == pytest.approx(float(torch.lerp(first.norm(), second.norm(), share)), rel=1e-5)
    assert torch.allclose(merged, slerp(second, first, 1 - share), rtol=1e-4, atol=1e-5)


def test_zeros_opposites_and_near_equals_are_finite() -> None:
    vector = torch.tensor([1.0, 2.0, -1.0])
    assert torch.equal(slerp(vector, torch.zeros(3), 0.5), vector / 2)
    assert torch.equal(slerp(vector, -vector, 0.5), torch.zeros(3))
    assert torch.allclose(slerp(vector, vector + 1e-7, 0.5), vector, atol=1e-6)


def test_steps_from_an_anchor_keep_their_length_where_the_plain_mean_shrinks_them() -> None:
    anchor = {"w": torch.tensor([5.0, 5.0]), "n": torch.tensor(3)}
    states = [{"w": anchor["w"] + step, "n": torch.tensor(9)} for step in (torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))]
    merged = merged_state(states, anchor, from_anchor=True)
    assert torch.allclose(merged["w"], 5 + torch.full((2,), 0.5**0.5), atol=1e-6)
    assert merged["n"] == 3
    assert torch.allclose(towards(anchor, merged, 0.5)["w"], 5 + torch.full((2,), 0.5**1.5), atol=1e-6)
    assert torch.equal(towards(anchor, merged, 0.0)["w"], anchor["w"])


QUICK = override(
    CONFIG,
    {
        "data": "marketplace:users=60,items=100,events=1200,logged_requests=150",
        "two_tower.optimisation.epochs": "1",
        "two_tower.optimisation.ema_decay": "0",
        "preranker.optimisation.epochs": "0",
        "ranker.optimisation.epochs": "0",
    },
)


@pytest.fixture(scope="module")
def source() -> Source:
    return load_source(QUICK)


@pytest.fixture(scope="module")
def runs(source: Source, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A start, and two runs from there with different seeds."""
    folder = tmp_path_factory.mktemp("runs")
    begin = run.train_config(override(QUICK, {"name": "start"}), source, folder)
    changes = {"start": str(begin)}
    rest = [run.train_config(override(QUICK, {**changes, "name": f"s{seed}", "seed": str(seed)}), source, folder) for seed in (1, 2)]
    return [begin, *rest]


def test_a_run_starts_from_the_weights_of_another(runs: list[Path]) -> None:
    begin = run.load_run(runs[0]).record["stages"]["two_tower"]
    first = run.load_run(runs[1]).record["stages"]["two_tower"]
    assert first["epochs"][0]["ndcg@10"] == begin["best"]


def test_a_run_does_not_start_from_other_items(source: Source, runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    record = json.loads((other / "run.json").read_text())
    record["schema"]["item"][0]["vocabulary"][0] = "999999"
    (other / "run.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="its schema or its items differ"):
        run.train_config(override(QUICK, {"start": str(other)}), source, tmp_path)
    with pytest.raises(CheckpointError, match="trained on different data"):
        merge_runs([runs[1], other], tmp_path / "merged")


def test_a_merged_run_is_at_least_as_good_as_its_anchor_on_validation(runs: list[Path], tmp_path: Path) -> None:
    begin, first, second = runs
    merged = run.load_run(merge_runs([first, second], tmp_path / "merged", begin))
    stage = merged.record["stages"]["two_tower"]
    assert stage["tried"]["0.0"] == run.load_run(begin).record["stages"]["two_tower"]["best"]
    assert stage["best"] == max(stage["tried"].values())
    assert merged.record["merged"] == {"runs": [str(first), str(second)], "anchor": str(begin)}
    states = [load_file(folder / "two_tower.safetensors") for folder in (begin, first, second)]
    expected = towards(states[0], merged_state(states[1:], states[0], from_anchor=True), stage["coefficient"])
    ours = load_file(tmp_path / "merged" / "two_tower.safetensors")
    assert all(torch.equal(ours[name], value) for name, value in expected.items())
    with pytest.raises(CheckpointError, match="holds a run already"):
        merge_runs([first, second], tmp_path / "merged", begin)


def test_runs_that_are_the_same_merge_to_the_same(runs: list[Path], tmp_path: Path) -> None:
    merged = merge_runs([runs[1], runs[1]], tmp_path / "merged")
    for name in ("two_tower", "preranker", "ranker"):
        ours, theirs = load_file(merged / f"{name}.safetensors"), load_file(runs[1] / f"{name}.safetensors")
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs), name


def test_a_stage_of_another_size_stays_that_of_the_anchor(runs: list[Path], tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(runs[2], other)
    record = json.loads((other / "run.json").read_text())
    record["config"]["ranker"]["model"]["width"] = 8
    (other / "run.json").write_text(json.dumps(record))
    smaller = run.build_models(override(QUICK, {"ranker.model.width": "8"}), run.load_run(runs[0]).schema).ranker
    write_tensors(other / "ranker.safetensors", smaller.state_dict(), {})
    stages = run.load_run(merge_runs([runs[1], other], tmp_path / "merged")).record["stages"]
    assert stages["ranker"] == {"coefficient": 0.0, "why": "the runs' weights differ in names or shapes"}
    assert "tried" in stages["two_tower"]


def test_one_run_cannot_be_merged(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name two runs"):
        merge_runs([tmp_path], tmp_path / "out")
