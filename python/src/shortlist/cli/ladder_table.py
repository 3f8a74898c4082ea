"""The ladder's work: fit what is not yet fitted, rank every target with it, and tell it all as one table."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from threadpoolctl import threadpool_limits

from shortlist.errors import CheckpointError, ConfigError
from shortlist.evaluation.full_ranking import LIST_LENGTH, Ranked, evaluate_ranked, rank_targets
from shortlist.evaluation.report import Report, write_report
from shortlist.evaluation.result import Result
from shortlist.training.config import RunConfig, override, to_json
from shortlist.training.ladder import METRIC, Fitted, Ground, Rung, ground_of, rungs
from shortlist.training.recipe import load_recipe
from shortlist.training.retrieval import first_meetings
from shortlist.training.source import Source, load_source

FORMAT = "shortlist.ladder/1"


@dataclass(frozen=True)
class Step:
    """A fitted rung with its results on validation and test. `record` is its rung.json."""

    name: str
    record: dict[str, Any]
    results: dict[str, Result]


@dataclass(frozen=True)
class Climbed:
    """`steps`, best on validation first; `left_out` says why the data does not allow other rungs."""

    folder: Path
    config: RunConfig
    source: Source
    steps: list[Step]
    left_out: dict[str, str]


def climb(recipe: str, data: str, out: Path, patterns: str, changes: Mapping[str, str]) -> Climbed:
    """Fit and evaluate the rungs whose names match `patterns`, and read those that are finished.

    Raises ConfigError for a pattern that names no rung, CheckpointError when the directory holds a ladder of other data or settings.
    """
    chosen = matching(rungs(), patterns)
    config: RunConfig = override(load_recipe(recipe), {**changes, **({"data": data} if data else {})})
    threads = config.threads or os.cpu_count() or 1
    torch.set_num_threads(threads)
    source = load_source(config)
    folder = out / f"{config.name}-ladder"
    _claim(folder, config, source)
    ground = ground_of(config, source, folder / "runs")
    steps, left_out = [], {}
    with threadpool_limits(threads, "blas"):
        for rung in chosen:
            settings = rung.settings(source)
            if isinstance(settings, str):
                left_out[rung.name] = settings
                continue
            if not _finished(folder, rung, settings):
                print(f"fitting   {rung.name}", file=sys.stderr)
                _write(folder, rung, settings, rung.fit(ground), ground)
            steps.append(_read(folder, rung, source))
    if not steps:
        raise ConfigError(f"no rung of {patterns!r} suits {source.log.name}", why="; ".join(f"{n}: {why}" for n, why in left_out.items()))
    steps.sort(key=lambda step: -step.results["validation"].metrics[METRIC].value)
    return Climbed(folder, config, source, steps, left_out)


def matching(known: list[Rung], patterns: str) -> list[Rung]:
    """The rungs that match one of the comma-separated patterns, in their own order."""
    wanted = [pattern.strip() for pattern in patterns.split(",") if pattern.strip()]
    for pattern in wanted:
        if not any(fnmatchcase(rung.name, pattern) for rung in known):
            raise ConfigError(f"there is no rung {pattern!r}", fix=f"use {', '.join(rung.name for rung in known)}, or * for any text")
    return [rung for rung in known if any(fnmatchcase(rung.name, pattern) for pattern in wanted)]


def write_ladder(climbed: Climbed) -> list[Path]:
    """Write ladder.json and the report (report.html, report.md, report.json); returns their paths."""
    path = climbed.folder / "ladder.json"
    path.write_text(json.dumps(content(climbed), indent=1) + "\n", encoding="utf-8")
    return [path, *write_report(report(climbed), climbed.folder, "report")]


def content(climbed: Climbed) -> dict[str, Any]:
    """What ladder.json says: facts, and each rung with its settings, costs and metrics with intervals."""
    steps = [
        {
            **step.record,
            "metrics": {
                split: {name: dataclasses.asdict(estimate) for name, estimate in result.metrics.items()}
                for split, result in step.results.items()
            },
        }
        for step in climbed.steps
    ]
    return {"format": FORMAT, **_key(climbed.config, climbed.source), "facts": facts(climbed), "rungs": steps, "left_out": climbed.left_out}


def report(climbed: Climbed) -> Report:
    """The ladder as an evaluation report, each rung's settings and cost among the notes."""
    notes = []
    for step in climbed.steps:
        record = step.record
        memory = "" if record["memory_mib"] is None else f", {record['memory_mib']:.0f} MiB"
        chosen = ", ".join(f"{name}={value}" for name, value in record["chosen"].items())
        notes.append(f"{step.name}: {record['fit_seconds']:.1f} s{memory}, chosen among {record['tried']}: {chosen or 'as in the recipe'}")
    notes += [f"{name} was left out: {reason}" for name, reason in climbed.left_out.items()]
    results = [step.results[split] for split in ("validation", "test") for step in climbed.steps]
    return Report(f"Ladder of {climbed.config.name}", results, facts=facts(climbed), notes=notes)


def facts(climbed: Climbed) -> dict[str, str]:
    log, results = climbed.source.log, climbed.steps[0].results
    targets = " and ".join(f"{result.targets:,} {split}" for split, result in results.items())
    return {
        "data": f"{log.name}: {len(log.user_ids):,} users, {len(log.item_ids):,} items, {len(log.item):,} events",
        "protocol": f"{climbed.config.split} split, {targets} targets, the whole catalog ranked, seen items left out",
        "choice": f"settings by validation {METRIC}; test was looked at once per rung",
    }


def _key(config: RunConfig, source: Source) -> dict[str, Any]:
    key: dict[str, Any] = json.loads(json.dumps({"config": to_json(config), "digest": source.digest()}))
    return key


def _claim(folder: Path, config: RunConfig, source: Source) -> None:
    """Make the directory, or see that it holds rungs of this data and configuration."""
    path = folder / "ground.json"
    key = _key(config, source)
    if path.exists() and json.loads(path.read_text(encoding="utf-8")) != key:
        raise CheckpointError(f"{folder} holds a ladder of another configuration or data", fix="give another --out, or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(key, indent=1) + "\n", encoding="utf-8")


def _finished(folder: Path, rung: Rung, settings: dict[str, Any]) -> bool:
    path = folder / "rungs" / f"{rung.name}.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8"))["settings"] == json.loads(json.dumps(settings))


def _write(folder: Path, rung: Rung, settings: dict[str, Any], fitted: Fitted, ground: Ground) -> None:
    """Rank the targets of both parts and keep ranks and lists; the record is written last, as the sign that all is there."""
    source = ground.source
    tensors: dict[str, Any] = {}
    for split, targets in (("validation", source.split.validation), ("test", source.split.test)):
        targets = first_meetings(source.log, targets)
        if hasattr(fitted.model, "ranked"):
            ranks, lists = fitted.model.ranked(targets, LIST_LENGTH)
        else:
            ranked = rank_targets(source.log, fitted.model, targets)
            assert ranked.lists is not None
            ranks, lists = ranked.ranks, ranked.lists
        tensors |= {f"{split}.targets": targets, f"{split}.ranks": ranks, f"{split}.lists": lists}
    record = {
        "name": rung.name,
        "family": rung.family,
        "baseline": rung.baseline,
        "settings": settings,
        "chosen": fitted.chosen,
        "tried": fitted.tried,
        "fit_seconds": fitted.usage.seconds,
        "fit_cpu_seconds": fitted.usage.cpu_seconds,
        "memory_mib": fitted.usage.memory_mib,
    }
    path = folder / "rungs" / f"{rung.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    save_file({name: np.ascontiguousarray(values) for name, values in tensors.items()}, path.with_suffix(".safetensors"))
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def _read(folder: Path, rung: Rung, source: Source) -> Step:
    """A rung's record, and its metrics from the ranks that were kept."""
    path = folder / "rungs" / f"{rung.name}.json"
    tensors = load_file(path.with_suffix(".safetensors"))
    results = {}
    for split in ("validation", "test"):
        ranked = Ranked(*(tensors[f"{split}.{part}"] for part in ("targets", "ranks", "lists")))
        results[split] = evaluate_ranked(rung.name, source.log, source.split, ranked, split_name=split, baseline=rung.baseline)
    return Step(rung.name, json.loads(path.read_text(encoding="utf-8")), results)
