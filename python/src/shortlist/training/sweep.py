"""Many runs of a recipe that differ in settings: a run directory each, compared on validation."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shortlist.errors import ConfigError, ShortlistError
from shortlist.training.cluster import map_tasks
from shortlist.training.config import RunConfig, override
from shortlist.training.recipe import load_recipe
from shortlist.training.run import load_and_train, read_record

Settings = dict[str, str]


@dataclass(frozen=True)
class Trial:
    """One run: what it changes, where it is, and each stage's watched validation metric, or why it failed."""

    settings: Settings
    folder: Path
    values: dict[str, float]
    error: str = ""

    @property
    def value(self) -> float:
        """The last stage's metric; worse than any where the trial failed."""
        return list(self.values.values())[-1] if self.values else float("-inf")


def combinations(settings: Mapping[str, str], trials: int = 0, seed: int = 0) -> list[Settings]:
    """Every combination of the comma-separated values of each setting; with `trials`, at most so many, drawn without repetition."""
    choices = {name: [value.strip() for value in values.split(",") if value.strip()] for name, values in settings.items()}
    for name, values in choices.items():
        if not values:
            raise ConfigError(f"{name} has no values to try", fix=f"write --set {name}=1,2,3")
        if len(set(values)) < len(values):
            raise ConfigError(f"{name}={settings[name]} names a value twice", fix="name each once")
    every = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    if not trials or trials >= len(every):
        return every
    return [every[index] for index in np.sort(np.random.default_rng(seed).permutation(len(every))[:trials])]


def sweep(
    recipe: str, data: str, out: Path, settings: Mapping[str, str], *, trials: int = 0, workers: int = 1, seed: int = 0
) -> list[Trial]:
    """Train a run for each combination into `out`/<recipe>-sweep, best first. `workers` as in `map_tasks`.

    A trial that was finished or interrupted earlier continues; one that fails is reported and does not end the others. Raises
    ConfigError for settings that do not exist or do not parse, before anything is trained.
    """
    base: RunConfig = override(load_recipe(recipe), {"data": data} if data else {})
    chosen = combinations(settings, trials, seed)
    configs: list[RunConfig] = [override(base, {**change, "name": trial_name(change)}) for change in chosen]
    errors = map_tasks(_train, out / f"{base.name}-sweep", configs, workers)
    found = [
        _result(change, out / f"{base.name}-sweep" / config.name, error)
        for change, config, error in zip(chosen, configs, errors, strict=True)
    ]
    return sorted(found, key=lambda trial: -trial.value)


def trial_name(change: Settings) -> str:
    """A folder name that says what differs: the last word of each setting and its value."""
    text = "_".join(f"{name.rpartition('.')[2]}={value}" for name, value in change.items()) or "base"
    return "".join(letter if letter.isalnum() or letter in "=._-" else "-" for letter in text)


def _train(out: Path, config: RunConfig) -> str:
    """The reason of a failure; empty where the run is complete."""
    try:
        load_and_train(config, out)
    except ShortlistError as error:
        return str(error)
    return ""


def _result(change: Settings, folder: Path, error: str) -> Trial:
    if error:
        return Trial(change, folder, {}, error)
    stages = read_record(folder)["stages"]
    return Trial(change, folder, {name: float(stage["best"]) for name, stage in stages.items()})
