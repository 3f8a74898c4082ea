"""What training took, read from run.json. Runs of earlier versions recorded less; what they lack is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class StageCost:
    """One trained stage. `seconds` include validation; `events_per_second` is the mean over epochs, of training alone, and `batch_share` is
    what making batches took of that time."""

    stage: str
    seconds: float
    epochs: int
    best_epoch: int
    steps: int
    events_per_second: float | None = None
    validation_seconds: float | None = None
    batch_share: float | None = None
    peak_rss_mib: float | None = None


def stage_costs(stages: Mapping[str, Mapping[str, Any]]) -> list[StageCost]:
    """From the `stages` of run.json."""
    return [_cost(name, record) for name, record in stages.items()]


def _cost(name: str, record: Mapping[str, Any]) -> StageCost:
    epochs = [epoch for epoch in record.get("epochs", []) if "seconds" in epoch]
    timed = [
        (epoch["seconds"] - epoch.get("validation_seconds", 0.0), epoch["events_per_second"])
        for epoch in epochs
        if "events_per_second" in epoch
    ]
    training = sum(seconds for seconds, _ in timed)
    made = [
        (epoch["batch_seconds"], epoch["seconds"] - epoch.get("validation_seconds", 0.0)) for epoch in epochs if "batch_seconds" in epoch
    ]
    validation = [epoch["validation_seconds"] for epoch in epochs if "validation_seconds" in epoch]
    memory = [epoch["peak_rss_mib"] for epoch in epochs if "peak_rss_mib" in epoch]
    return StageCost(
        stage=name,
        seconds=float(record["seconds"]),
        epochs=int(record["epoch"]),
        best_epoch=int(record["best_epoch"]),
        steps=int(record["step"]),
        events_per_second=sum(seconds * speed for seconds, speed in timed) / training if training > 0 else None,
        validation_seconds=sum(validation) if validation else None,
        batch_share=sum(spent for spent, _ in made) / sum(whole for _, whole in made) if made else None,
        peak_rss_mib=max(memory) if memory else None,
    )
