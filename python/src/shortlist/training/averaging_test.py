"""Means of the weights of epochs: what is kept on disk, which mean is chosen, and that a fit uses it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from shortlist.training.averaging import EpochWeights, mean
from shortlist.training.checkpoint import read_tensors
from shortlist.training.loop import fit
from shortlist.training.loop_test import CPU, FAST, Regression

torch.set_num_threads(1)


def keep(folder: Path, points: list[tuple[float, float]], count: int) -> tuple[EpochWeights, dict[int, float]]:
    """Epochs 1, 2, ... with one weight and a metric each."""
    kept, values = EpochWeights(folder, "line", count), dict[int, float]()
    for epoch, (weight, value) in enumerate(points, 1):
        values[epoch] = value
        kept.keep({"w": torch.tensor([float(weight)])}, values, epoch)
    return kept, values


def near(goal: float) -> object:
    """A metric that falls with the distance to the goal."""
    return lambda state: 1 - abs(float(state["w"]) - goal)


def test_the_mean_is_exact_and_leaves_integers_alone() -> None:
    states = [{"w": torch.full((2,), 0.1 * i), "n": torch.tensor([7, i])} for i in range(1, 4)]
    result = mean(iter(states))
    assert torch.equal(result["w"], torch.tensor([0.2, 0.2]))
    assert result["n"].tolist() == [7, 1]
    assert result["w"].dtype == torch.float32
    assert torch.equal(mean([states[0]] * 3)["w"], states[0]["w"])


def test_only_the_last_and_the_best_epochs_stay_on_disk(tmp_path: Path) -> None:
    kept, values = keep(tmp_path, [(0, 0.9), (1, 0.1), (2, 0.8), (3, 0.2), (4, 0.3), (5, 0.4)], 2)
    assert kept.last(values) == [6, 5]
    assert kept.best(values) == [1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"line-000{epoch}.safetensors" for epoch in (1, 3, 5, 6)]


def test_the_mean_of_the_last_epochs_wins_where_they_lie_around_the_goal(tmp_path: Path) -> None:
    kept, values = keep(tmp_path, [(0, 0.0), (4, 0.2), (6, 0.2), (5, 0.3)], 3)
    chosen = kept.choose(values, near(5))  # type: ignore[arg-type]
    assert chosen is not None
    assert (chosen[0], chosen[1]) == ([2, 3, 4], 1.0)


def test_the_soup_leaves_out_an_epoch_that_makes_it_worse(tmp_path: Path) -> None:
    """Epoch 3 validated well but its weights pull the mean away; the last three epochs include it, the soup of 1 and 4 does not."""
    kept, values = keep(tmp_path, [(4, 0.6), (0, 0.1), (90, 0.59), (6, 0.58)], 3)
    chosen = kept.choose(values, near(5))  # type: ignore[arg-type]
    assert chosen is not None
    assert (chosen[0], chosen[1]) == ([1, 4], 1.0)


def test_no_mean_is_chosen_where_none_beats_the_best_epoch(tmp_path: Path) -> None:
    kept, values = keep(tmp_path, [(5, 1.0), (9, 0.1), (7, 0.2)], 3)
    assert kept.choose(values, near(5)) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("ema_decay", [0.0, 0.8])
def test_a_fit_ends_with_the_mean_that_it_reports(ema_decay: float, tmp_path: Path) -> None:
    config = replace(FAST, epochs=8, learning_rate=0.2, schedule="constant", average_epochs=4, ema_decay=ema_decay)
    stage = Regression()
    state = fit(stage, config, tmp_path / "mean", CPU)
    alone = fit(Regression(), replace(config, average_epochs=0), tmp_path / "best", CPU)
    assert state.averaged, "steps this large jump about the goal, so a mean must win"
    assert state.best > alone.best
    assert stage.validate()["fit"] == state.best
    expected = mean(read_tensors(tmp_path / "mean" / "progress" / f"line-{epoch:04d}.safetensors")[0] for epoch in state.averaged)
    ours: dict[str, Tensor] = stage.model.state_dict()
    assert all(torch.equal(ours[name], value) for name, value in expected.items())
    again = Regression()
    assert fit(again, config, tmp_path / "mean", CPU).averaged == state.averaged, "a fit that died before its weights were saved"
    assert all(torch.equal(again.model.state_dict()[name], value) for name, value in expected.items())
