"""From finished runs to their evaluation reports: the place where training and evaluation meet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shortlist.cli.impressions import impression_results
from shortlist.errors import ConfigError
from shortlist.evaluation.cascade import stage_cuts
from shortlist.evaluation.comparison import ComparedRun
from shortlist.evaluation.costs import stage_costs
from shortlist.evaluation.full_ranking import Ranked, content_vectors, evaluate_ranked, rank_targets
from shortlist.evaluation.gates import quality_gates
from shortlist.evaluation.plots import Curve, TrainingCurves
from shortlist.evaluation.report import Report
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.training.batches import LogTensors
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RunConfig, to_json
from shortlist.training.cross import CrossCounters
from shortlist.training.retrieval import final_targets
from shortlist.training.run import Run, load_run
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source

RETRIEVAL_METRIC = "recall@100"
CURVE_METRIC = "ndcg@10"
LISTS = 10  # best items kept of each request, for coverage, novelty, diversity and bias
BASELINES: dict[str, type[Popularity] | type[Cooccurrence]] = {"popularity": Popularity, "cooccurrence": Cooccurrence}
MODELS = ("two_tower", "preranker", "cascade")


def run_report(folder: Path, *, data: str = "", split: str = "test", sources: dict[str, Source] | None = None) -> Report:
    """Evaluate the models of a run and the baselines again on the same targets. `data` is a spec of `shortlist.data.load`; none: the
    run's own. `sources` keeps loaded data from run to run. Raises CheckpointError, and ConfigError when the data is not what the run was
    trained on.
    """
    run = load_run(folder)
    source = _source(run, data, {} if sources is None else sources)
    log, parts = source.log, {"validation": source.split.validation, "test": source.split.test}
    if split not in parts:
        raise ConfigError(f"there is no split {split!r}", why=f"there are {', '.join(parts)}", fix="name one of them")
    targets = final_targets(log, parts[split], run.config.final_targets, run.config.seed)
    tensors, cascade = LogTensors(log, next(run.models.two_tower.parameters()).device), run.config.cascade
    evaluation = CascadeEvaluation(FrozenRetriever(run.models.two_tower, tensors), CrossCounters(log, source.split), targets, cascade)
    found = evaluation.ranked(run.models.preranker, run.models.ranker, depth=LISTS)
    ranked = {name: Ranked(targets, ranks, lists) for name, (ranks, lists) in found.items()}

    vectors = content_vectors(log)
    baselines = [
        evaluate_ranked(
            name,
            log,
            source.split,
            rank_targets(log, kind.fit(log, source.split), targets, depth=LISTS),
            split_name=split,
            item_vectors=vectors,
            baseline=True,
        )
        for name, kind in BASELINES.items()
    ]
    models = [evaluate_ranked(name, log, source.split, each, split_name=split, item_vectors=vectors) for name, each in ranked.items()]
    return Report(
        f"Evaluation of {run.config.name}",
        [*baselines, *models, *impression_results(run, source, split)],
        facts=_facts(run, source, split, len(targets)),
        gates=quality_gates(models[0], baselines, RETRIEVAL_METRIC),
        cuts=stage_cuts([each.ranks for each in ranked.values()], (cascade.retrieve, cascade.prerank, 10)),
        curves=training_curves(folder, run.record["stages"], run.record["metrics"]["validation"]),
        costs=stage_costs(run.record["stages"]),
    )


def compared_runs(folders: Sequence[Path], *, data: str = "", split: str = "test") -> list[ComparedRun]:
    """The reports of several runs. Runs are of one recipe when their configurations differ in name, seed and threads alone."""
    sources: dict[str, Source] = {}
    reports = [run_report(folder, data=data, split=split, sources=sources) for folder in folders]
    configs = [load_run(folder).config for folder in folders]
    recipes = recipe_labels(configs)
    return [ComparedRun(c.name, recipe, c.seed, report) for c, recipe, report in zip(configs, recipes, reports, strict=True)]


def recipe_labels(configs: Sequence[RunConfig]) -> list[str]:
    """A label per run, equal for runs of one recipe: what their names begin with. Raises ConfigError when a run is named twice."""
    names = [config.name for config in configs]
    if len(set(names)) != len(names):
        raise ConfigError(
            f"runs are named {', '.join(names)}", why="a name that occurs twice tells no run", fix="train with --set name=..."
        )
    recipes = [json.dumps(to_json(dataclasses.replace(config, name="", seed=0, threads=0)), sort_keys=True) for config in configs]
    labels: dict[str, str] = {}
    for recipe in recipes:
        members = [name for name, other in zip(names, recipes, strict=True) if other == recipe]
        label = members[0] if len(members) == 1 else common_prefix(members).rstrip("-_. ") or members[0]
        labels[recipe] = label if label not in labels.values() or recipe in labels else members[0]
    return [labels[recipe] for recipe in recipes]


def common_prefix(names: Sequence[str]) -> str:
    alike = [len(set(letters)) == 1 for letters in zip(*names, strict=False)]
    return names[0][: alike.index(False)] if False in alike else min(names, key=len)


def training_curves(folder: Path, stages: Mapping[str, Any], validation: Mapping[str, Mapping[str, float]]) -> list[TrainingCurves]:
    """The validation metric of each stage by training step, with the baselines' levels from the run's metrics on the validation split."""
    levels = {name: values[CURVE_METRIC] for name, values in validation.items() if name not in MODELS and CURVE_METRIC in values}
    curves = []
    for stage in stages:
        path = folder / "logs" / f"{stage}.jsonl"
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
        points = {
            line["step"]: line[CURVE_METRIC] for line in lines if CURVE_METRIC in line
        }  # a resumed run repeats steps: the last counts
        if points:
            steps = sorted(points)
            curves.append(TrainingCurves(stage, CURVE_METRIC, [Curve(stage, steps, [points[step] for step in steps])], levels))
    return curves


def _source(run: Run, data: str, sources: dict[str, Source]) -> Source:
    """The data of a run, loaded once for all runs that share it. Raises ConfigError when it is other data than the run was trained on."""
    config = dataclasses.replace(run.config, data=data or run.config.data)
    digest = run.record["data"]["digest"]
    if digest not in sources:
        source = load_source(config)
        if source.digest() != digest:
            raise ConfigError(
                f"{config.data!r} is not the data of run {run.folder.name}", why="its digest differs", fix="pass --data with the same data"
            )
        sources[digest] = source
    return sources[digest]


def _facts(run: Run, source: Source, split: str, targets: int) -> dict[str, str]:
    log, record = source.log, run.record
    machine, versions = record.get("machine", {}), record.get("versions", {})
    return {
        "data": f"{log.name}: {len(log.user_ids):,} users, {len(log.item_ids):,} items, {len(log.item):,} events",
        "protocol": f"{run.config.split} split, {targets:,} {split} targets, the whole catalog ranked, seen items left out",
        "run": f"{run.config.name}, seed {run.config.seed}, started {record.get('started', 'at an unknown time')}",
        "commit": str(record["commit"]),
        "machine": f"{machine.get('threads', '?')} threads of {machine.get('cores', '?')} cores, "
        f"{'CUDA' if machine.get('cuda') else 'no GPU'}, torch {versions.get('torch', '?')}",
    }
