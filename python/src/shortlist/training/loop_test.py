"""The loop on a model of one number per sequence: schedules, budgets, validation and what the record says."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shortlist.errors import ConfigError
from shortlist.training import loop
from shortlist.training.batches import Rows, Sequences
from shortlist.training.config import Optimisation
from shortlist.training.loop import fit, learning_rate
from shortlist.training.usage import Stopwatch

torch.set_num_threads(1)

CPU = torch.device("cpu")
FAST = Optimisation(epochs=6, learning_rate=0.05, warmup_steps=0, patience=9)


class Regression:
    """Fits a line to noise; validation is the negative error, or a script."""

    name = "line"
    monitor = "fit"

    def __init__(self, script: Sequence[float] = ()) -> None:
        torch.manual_seed(3)
        self.model: nn.Module = nn.Linear(4, 1)
        self.x, self.y = torch.randn(40, 4), torch.randn(40, 1)
        length = np.full(40, 5)
        self.sequences = Sequences(np.arange(40), 5 * np.arange(40), length, np.ones(40, dtype=bool))
        self.making = Stopwatch()
        self.script = list(script)
        self.validations = 0

    def batches(self, epoch: int) -> Sequence[Rows]:
        return np.split(np.random.default_rng(epoch).permutation(40), 4)

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        with self.making:
            time.sleep(0.001)
        x = nn.functional.dropout(self.x[batch], 0.2)  # draws from the default generator
        return {"loss": nn.functional.mse_loss(self.model(x), self.y[batch])}

    def validate(self) -> dict[str, float]:
        self.validations += 1
        if self.script:
            return {"fit": self.script[self.validations - 1]}
        with torch.no_grad():
            return {"fit": -float(nn.functional.mse_loss(self.model(self.x), self.y))}


def test_an_epoch_record_holds_speed_memory_and_metrics(tmp_path: Path) -> None:
    state = fit(Regression(), FAST, tmp_path, CPU)
    assert [record["epoch"] for record in state.epochs] == list(range(7))
    assert set(state.epochs[0]) == {"epoch", "fit"}
    last = state.epochs[-1]
    trained = {"train_loss", "steps", "events_per_second", "batch_seconds"}
    assert set(last) == {"epoch", "seconds", "validation_seconds", "fit", "peak_rss_mib"} | trained
    assert 4 * 0.001 <= last["batch_seconds"] <= last["seconds"] - last["validation_seconds"]
    assert last["steps"] == 4
    assert last["events_per_second"] * (last["seconds"] - last["validation_seconds"]) >= 40 * 5
    assert 10 < last["peak_rss_mib"] < 100_000
    assert state.seconds == pytest.approx(sum(record.get("seconds", 0) for record in state.epochs))
    lines = [json.loads(line) for line in (tmp_path / "logs" / "line.jsonl").read_text().splitlines()]
    assert [line["fit"] for line in lines if "fit" in line] == [record["fit"] for record in state.epochs]


def test_validation_may_be_rarer_than_epochs_and_the_last_epoch_has_one(tmp_path: Path) -> None:
    stage = Regression()
    state = fit(stage, replace(FAST, epochs=5, validate_every=2), tmp_path, CPU)
    assert [record["epoch"] for record in state.epochs if "fit" in record] == [0, 2, 4, 5]
    assert stage.validations == 4


def test_patience_counts_validations(tmp_path: Path) -> None:
    state = fit(Regression([0.1, 0.5, 0.4, 0.3, 0.9]), replace(FAST, epochs=20, validate_every=2, patience=2), tmp_path, CPU)
    assert (state.best, state.best_epoch, state.epoch) == (0.5, 2, 6)


def test_the_best_weights_stay(tmp_path: Path) -> None:
    best = Regression([0.0, 0.2, 0.9, 0.1])
    fit(best, replace(FAST, epochs=3), tmp_path / "a", CPU)
    two = Regression([0.0, 0.2, 0.9])
    # The same epochs under the schedule of three.
    fit(two, replace(FAST, epochs=2, schedule="constant"), tmp_path / "b", CPU)
    same = Regression([0.0, 0.2, 0.9, 0.1])
    fit(same, replace(FAST, epochs=3, schedule="constant"), tmp_path / "c", CPU)
    assert all(torch.equal(a, b) for a, b in zip(two.model.parameters(), same.model.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(two.model.parameters(), best.model.parameters(), strict=True))


def test_the_budget_of_minutes_ends_the_epoch_and_keeps_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(10_000))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(clock)))
    state = fit(Regression(), replace(FAST, epochs=100, max_minutes=0.2), tmp_path, CPU)
    assert 12 <= state.seconds < 24
    assert state.epoch == 2
    assert state.epochs[-1]["steps"] < 4, "the budget cuts an epoch"
    assert "fit" in state.epochs[-1], "and what it reached is validated"


@pytest.mark.parametrize("config", [FAST, replace(FAST, ema_decay=0.9, validate_every=2), replace(FAST, schedule="constant")])
def test_an_interrupted_fit_continues_bit_for_bit(config: Optimisation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Regression()
    fit(whole, config, tmp_path / "whole", CPU)
    epoch = loop._epoch

    def interrupted(stage: loop.Stage, *rest: object) -> dict[str, float]:
        if rest[3].epoch == 3:  # type: ignore[attr-defined]
            torch.rand(3)
            raise KeyboardInterrupt
        return epoch(stage, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_epoch", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fit(Regression(), config, tmp_path / "parts", CPU)
    parts = Regression()
    torch.manual_seed(99)
    state = fit(parts, config, tmp_path / "parts", CPU)
    assert [record["epoch"] for record in state.epochs] == list(range(7))
    assert all(torch.equal(a, b) for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True))


def test_schedules() -> None:
    cosine = Optimisation(epochs=1, learning_rate=1.0, final_rate=0.1, warmup_steps=10)
    rates = [learning_rate(cosine, step, 110) for step in range(111)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    constant = replace(cosine, schedule="constant")
    assert [learning_rate(constant, step, 110) for step in (9, 10, 110, 10_000)] == [1.0] * 4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", -1),
        ("schedule", "linear"),
        ("betas", (0.9,)),
        ("betas", (0.9, 1.0)),
        ("ema_decay", 1.0),
        ("validate_every", 0),
        ("patience", 0),
        ("max_minutes", -1.0),
        ("max_minutes", math.nan),
    ],
)
def test_settings_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=rf"optimisation\.{name}"):
        replace(FAST, **{name: value})  # type: ignore[arg-type]
