"""From a finished run to its evaluation report: the place where training and evaluation meet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from shortlist.errors import ConfigError
from shortlist.evaluation.cascade import stage_cuts
from shortlist.evaluation.full_ranking import Ranked, evaluate_ranked, rank_targets
from shortlist.evaluation.gates import quality_gates
from shortlist.evaluation.plots import TrainingCurves
from shortlist.evaluation.report import Report
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.training.batches import LogTensors
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.cross import CrossCounters
from shortlist.training.retrieval import first_meetings
from shortlist.training.run import load_run
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import load_source

RETRIEVAL_METRIC = "recall@100"
CURVE_METRIC = "ndcg@10"
BASELINES: dict[str, type[Popularity] | type[Cooccurrence]] = {"popularity": Popularity, "cooccurrence": Cooccurrence}


def run_report(folder: Path, *, data: str = "", split: str = "test") -> Report:
    """Evaluate the models of a run and the baselines again on the same targets. `data` is a spec of `shortlist.data.load`; none: the
    run's own. Raises CheckpointError, and ConfigError when the data is not what the run was trained on.
    """
    run = load_run(folder)
    source = load_source(dataclasses.replace(run.config, data=data or run.config.data))
    if source.digest() != run.record["data"]["digest"]:
        raise ConfigError(
            f"{data or run.config.data!r} is not the data of run {folder.name}",
            why="its digest differs",
            fix="pass --data with the same data",
        )
    log, parts = source.log, {"validation": source.split.validation, "test": source.split.test}
    if split not in parts:
        raise ConfigError(f"there is no split {split!r}", why=f"there are {', '.join(parts)}", fix="name one of them")
    targets = first_meetings(log, parts[split])
    tensors, cascade = LogTensors(log, next(run.models.two_tower.parameters()).device), run.config.cascade
    evaluation = CascadeEvaluation(FrozenRetriever(run.models.two_tower, tensors), CrossCounters(log, source.split), targets, cascade)

    baselines = [
        evaluate_ranked(name, log, source.split, rank_targets(log, kind.fit(log, source.split), targets), split_name=split, baseline=True)
        for name, kind in BASELINES.items()
    ]
    ranks = evaluation.ranks(run.models.preranker, run.models.ranker)
    models = [evaluate_ranked(name, log, source.split, Ranked(targets, found), split_name=split) for name, found in ranks.items()]
    return Report(
        f"Evaluation of {run.config.name}",
        [*baselines, *models],
        facts={
            "data": f"{log.name}: {len(log.user_ids):,} users, {len(log.item_ids):,} items, {len(log.item):,} events",
            "protocol": f"{run.config.split} split, {len(targets):,} {split} targets, the whole catalog ranked, seen items left out",
            "commit": str(run.record["commit"]),
        },
        gates=quality_gates(models[0], baselines, RETRIEVAL_METRIC),
        cuts=stage_cuts(list(ranks.values()), (cascade.retrieve, cascade.prerank, 10)),
        curves=training_curves(folder, {name: run.record["metrics"]["validation"][name][CURVE_METRIC] for name in BASELINES}),
    )


def training_curves(folder: Path, levels: Mapping[str, float]) -> list[TrainingCurves]:
    """The validation metric of each stage by training step, with the baselines' levels on the validation split."""
    curves = []
    for stage in ("two_tower", "preranker", "ranker"):
        lines = [json.loads(line) for line in (folder / "logs" / f"{stage}.jsonl").read_text(encoding="utf-8").splitlines()]
        points = [(line["step"], line[CURVE_METRIC]) for line in lines if CURVE_METRIC in line]
        if points:
            steps, values = zip(*points, strict=True)
            curves.append(TrainingCurves(CURVE_METRIC, {stage: (steps, values)}, levels))
    return curves
