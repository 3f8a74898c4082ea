"""A whole training run, from a recipe to a run directory, and back from the directory to models.

`<run>/run.json` holds configuration, schema, data digest, seeds, metrics and the code's commit; `<run>/<model>.safetensors` the weights.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from shortlist.data.schema_json import schema_from_dict, schema_to_dict
from shortlist.data.splits import split_counts, training_mask
from shortlist.errors import CheckpointError, ConfigError
from shortlist.models.bert4rec import Bert4Rec
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.embedding import ColumnEmbedding
from shortlist.models.popularity import Popularity
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.models.trees import TreeRanker
from shortlist.models.two_tower import TwoTower
from shortlist.schema import Schema
from shortlist.training import checkpoint, parallel
from shortlist.training.batches import LogTensors, Rows, fresh_start
from shortlist.training.calibration import calibrate
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import Optimisation, RunConfig, from_json, override, to_json
from shortlist.training.cross import CrossCounters
from shortlist.training.loop import Stage, fit
from shortlist.training.masked_stage import MaskedStage
from shortlist.training.preranker_stage import PrerankerStage
from shortlist.training.ranker_stage import RankerStage
from shortlist.training.recipe import load_recipe
from shortlist.training.refit_stage import RefitStage
from shortlist.training.retrieval import final_targets, rank_metrics, retrieval_ranks, score_ranks
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source
from shortlist.training.tree_stage import TreeStage
from shortlist.training.two_tower_stage import TwoTowerStage


@dataclass(frozen=True)
class Models:
    """The three trained models, in evaluation mode."""

    two_tower: TwoTower
    preranker: Preranker
    ranker: AnyRanker


@dataclass(frozen=True)
class Run:
    """A run directory in memory. `record` is run.json."""

    folder: Path
    config: RunConfig
    schema: Schema
    models: Models
    record: dict[str, Any]


def train(recipe: str, data: str | None, out: Path, overrides: Mapping[str, str] | None = None, processes: int = 1) -> Path:
    """Train all three models of a recipe (a name or a .py file) into `out`/<run name>, and return that directory.

    `data` is a spec of `shortlist.data.load` that replaces the recipe's own. An interrupted run of the same configuration and data
    continues where it stopped. Several `processes` share every batch of the stages that can. Raises ConfigError, DataError, or
    CheckpointError when the directory holds another run.
    """
    config: RunConfig = override(load_recipe(recipe), {**(overrides or {}), **({"data": data} if data else {})})
    if processes < 1:
        raise ConfigError(f"{processes} processes cannot train", fix="use 1 or more")
    if processes > 1:
        parallel.run(processes, load_and_train, config, out)
    else:
        load_and_train(config, out)
    return out / config.name


def load_and_train(config: RunConfig, out: Path) -> None:
    torch.set_num_threads(config.threads or max(1, (os.cpu_count() or 1) // parallel.size()))
    train_config(config, load_source(config), out)


def train_config(config: RunConfig, source: Source, out: Path) -> Path:
    """As `train`, from a configuration and loaded data."""
    _check_stages(config)
    folder = out / config.name
    record = parallel.from_first(lambda: begin(folder, config, source))
    log = LogTensors(source.log, parallel.device_of_rank())
    models = build_models(config, source.log.schema)
    training = Training(folder, config, source, log, models, record)
    training.run()
    return folder


def load_run(folder: Path) -> Run:
    """Read a finished run directory. Raises CheckpointError when it is incomplete."""
    record = read_record(folder)
    if not record.get("complete"):
        raise CheckpointError(f"the run {folder} is not complete", fix="train again with the same recipe and directory: it continues")
    config: RunConfig = from_json(RunConfig, record["config"])
    if config.until != "ranker":
        raise CheckpointError(
            f"the run {folder} trained no stage after the {config.until}", fix="train with until=ranker to get a whole funnel"
        )
    schema = schema_from_dict(record["schema"])
    models = build_models(config, schema)
    for name, model in named_models(models).items():
        checkpoint.load_model(folder / f"{name}.safetensors", model)
        model.eval()
    return Run(folder, config, schema, models, record)


class Training:
    """The three stages in order. Each is skipped when its weights are there already."""

    def __init__(self, folder: Path, config: RunConfig, source: Source, log: LogTensors, models: Models, record: dict[str, Any]) -> None:
        self.folder, self.config, self.source, self.log, self.models, self.record = folder, config, source, log, models, record
        for model in named_models(models).values():
            model.to(log.device)
            fit_numbers(model, log, np.flatnonzero(training_mask(source.log, source.split)))
        self.cross = CrossCounters(source.log, source.split)
        self.fresh_start = fresh_start(source.log, source.split.train_end, config.fresh_share, config.seed)
        self.validation, self.test = (
            final_targets(source.log, part, config.final_targets, config.seed) for part in (source.split.validation, source.split.test)
        )
        limit = config.validation_targets
        chosen = np.random.default_rng(config.seed).permutation(len(self.validation))[:limit]
        self.watched = self.validation[np.sort(chosen)]  # the validation targets that early stopping watches

    def run(self) -> None:
        self.run_stages()
        parallel.first_alone(self.finish)

    def run_stages(self) -> None:
        """Train up to the stage that the configuration names; the record stays incomplete."""
        for stage, model, optimisation in self.stages():
            if getattr(stage, "parallel", False):
                self._stage(stage, model, optimisation)
            else:
                parallel.first_alone(lambda: self._stage(stage, model, optimisation))  # noqa: B023
        if self.config.refit.epochs and "refit" not in self.record["stages"]:
            parallel.first_alone(self._refit)

    def stages(self) -> Iterator[tuple[Stage | TreeStage, nn.Module, Optimisation]]:
        """Each stage with its model, which must be as good as it gets before the next one is asked for: that builds on it."""
        config, models, split = self.config, self.models, self.source.split
        kind = MaskedStage if isinstance(models.two_tower, Bert4Rec) else TwoTowerStage
        retrieve = kind(models.two_tower, self.log, self.fresh_start, self.watched, config.two_tower, config.seed)
        yield retrieve, models.two_tower, config.two_tower.optimisation
        if config.until == "two_tower":
            return
        retriever = FrozenRetriever(models.two_tower, self.log)
        watched = CascadeEvaluation(retriever, self.cross, self.watched, config.cascade)
        prerank = PrerankerStage(models.preranker, retriever, self.cross, split, self.fresh_start, watched, config.preranker, config.seed)
        yield prerank, models.preranker, config.preranker.optimisation
        if config.until == "preranker":
            return
        shared = (models.preranker, retriever, self.cross, split, self.fresh_start, watched, config.ranker, config.seed)
        if isinstance(models.ranker, TreeRanker):
            yield TreeStage(models.ranker, *shared), models.ranker, config.ranker.optimisation
            return
        tower = models.two_tower
        if config.ranker.pretrained_items and tower.action is not None and config.ranker.model.width == config.two_tower.model.width:
            models.ranker.item.load_state_dict(tower.item.state_dict())
            models.ranker.action.load_state_dict(tower.action.state_dict())
        yield RankerStage(models.ranker, *shared), models.ranker, config.ranker.optimisation

    def _stage(self, stage: Stage | TreeStage, model: nn.Module, optimisation: Optimisation) -> None:
        path = self.folder / f"{stage.name}.safetensors"
        if path.exists():
            checkpoint.load_model(path, model)
            model.eval()
            return
        if self.config.start:
            self._start_from(Path(self.config.start), stage.name, model)
        torch.manual_seed(self.config.seed)
        progress = stage.train(self.folder) if isinstance(stage, TreeStage) else fit(stage, optimisation, self.folder, self.log.device)
        if parallel.rank() > 0:
            return
        checkpoint.save_model(path, model)
        self.record["stages"][stage.name] = vars(progress)
        write_record(self.folder, self.record)

    def _refit(self) -> None:
        """Fit the two-tower to the fresh events too. Its weights replace the earlier ones, which served to train the later stages."""
        config, models = self.config, self.models
        ranker = models.ranker if config.until == "ranker" else None
        funnel = (models.two_tower, models.preranker, ranker, self.log, self.source.split.train_end, self.watched, self.cross)
        stage = RefitStage(*funnel, config.cascade, config.two_tower, config.seed + 1)
        torch.manual_seed(config.seed)
        progress = fit(stage, config.refit, self.folder, self.log.device)
        checkpoint.save_model(self.folder / "two_tower.safetensors", models.two_tower)
        self.record["stages"]["refit"] = vars(progress)
        write_record(self.folder, self.record)

    def _start_from(self, folder: Path, name: str, model: nn.Module) -> None:
        """Take the weights of another run, which must have the same columns and vocabularies: a row must mean the same item."""
        if schema_from_dict(read_record(folder)["schema"]) != self.source.log.schema:
            raise CheckpointError(
                f"the run cannot start from {folder}", why="its schema or its items differ", fix="use a run of the same data, or none"
            )
        checkpoint.load_model(folder / f"{name}.safetensors", model)

    def finish(self) -> None:
        """Calibrate the ranker where there is one, measure the models on validation and test, and complete the record."""
        models, config, targets = self.models, self.config, {"validation": self.validation, "test": self.test}
        if config.until == "ranker":
            retriever = FrozenRetriever(models.two_tower, self.log)
            self.record["calibration"] = calibrate(
                models.ranker, models.preranker, retriever, self.cross, self.source.split, targets, config.cascade, config.seed
            )
            checkpoint.save_model(self.folder / "ranker.safetensors", models.ranker)
        metrics: dict[str, dict[str, dict[str, float]]] = {}
        for part, target in targets.items():
            metrics[part] = baseline_metrics(self.source, self.log, target) | self._metrics(target)
        self.record |= {"metrics": metrics, "complete": True}
        write_record(self.folder, self.record)

    def _metrics(self, target: Rows) -> dict[str, dict[str, float]]:
        """Metrics of the trained stages."""
        models, until = self.models, self.config.until
        if until == "two_tower":
            return {"two_tower": rank_metrics(retrieval_ranks(models.two_tower, self.log, target))}
        evaluation = CascadeEvaluation(FrozenRetriever(models.two_tower, self.log), self.cross, target, self.config.cascade)
        return evaluation.metrics(models.preranker, models.ranker if until == "ranker" else None)


def baseline_metrics(source: Source, log: LogTensors, target: Rows) -> dict[str, dict[str, float]]:
    """Popularity and co-occurrence under the same protocol: full ranking, seen items left out."""
    popularity = Popularity.fit(source.log, source.split)
    cooccurrence = Cooccurrence.fit(source.log, source.split)
    return {
        "popularity": rank_metrics(score_ranks(log, target, lambda events: popularity.score_events(source.log, events))),
        "cooccurrence": rank_metrics(score_ranks(log, target, lambda events: cooccurrence.score_events(source.log, events))),
    }


def fit_numbers(model: nn.Module, log: LogTensors, training: Rows) -> None:
    """Set the standardisation of every number column of a model: items over the catalog, context over training events."""
    events = torch.from_numpy(training).to(log.device)
    context = log.context_columns(events)
    for name, values in (("item", log.items), ("user", log.users), ("context", context)):
        embedding = getattr(model, name, None)
        if isinstance(embedding, ColumnEmbedding):
            embedding.fit_numbers(values)


def _check_stages(config: RunConfig) -> None:
    """Later stages take the retriever's state after every event, as serving would compute it. Raises ConfigError where there is none, and
    for stages that do not go together."""
    model = config.two_tower.model
    if config.until == "two_tower" and config.refit.epochs:
        raise ConfigError(
            "refit after the two-tower alone",
            why="it learns the events that were kept for later stages, and there is none",
            fix="set fresh_share=0 to train on all events, and refit.epochs=0",
        )
    if config.until != "two_tower" and (model.encoder == "bert4rec" or model.positions == "learned"):
        what = "encoder=bert4rec" if model.encoder == "bert4rec" else "positions=learned"
        raise ConfigError(
            f"two_tower.model.{what} cannot be the first of several stages",
            why="its state after an event depends on how many events follow",
            fix="train it alone with until=two_tower, or use another encoder with rotary positions",
        )


def build_models(config: RunConfig, schema: Schema) -> Models:
    torch.manual_seed(config.seed)
    return Models(
        config.two_tower.model.build(schema),
        config.preranker.model.build(schema, config.two_tower.model),
        config.ranker.model.build(schema),
    )


def named_models(models: Models) -> dict[str, nn.Module]:
    return {field.name: getattr(models, field.name) for field in dataclasses.fields(models)}


def begin(folder: Path, config: RunConfig, source: Source) -> dict[str, Any]:
    """A new record, or that of the interrupted run. Raises CheckpointError when the directory holds another run."""
    log = source.log
    record: dict[str, Any] = {
        "config": to_json(config),
        "schema": schema_to_dict(log.schema),
        "data": {
            "name": log.name,
            "digest": source.digest(),
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "events": len(log.item),
            "training_events": int((source.split.train_end - log.ptr[:-1]).sum()),
            "report": source.dataset.report,
            "split": split_counts(log, source.split),
        },
        "stages": {},
        "commit": _commit(),
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()},
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "complete": False,
    }
    if (folder / "run.json").exists():
        old = read_record(folder)
        if not _is_config(old["config"], config) or old["data"]["digest"] != record["data"]["digest"]:
            raise CheckpointError(f"{folder} holds a run of another configuration or data", fix="give another directory, or remove it")
        return old
    write_record(folder, record)
    return record


def _is_config(stored: dict[str, Any], config: RunConfig) -> bool:
    """Whether a record has this configuration; settings that it is too old to know had what is now their default."""
    try:
        return bool(from_json(RunConfig, stored) == config)
    except ConfigError:
        return False


def _commit() -> str:
    """Commit of the source tree, with "+" when files differ from it; empty outside a repository."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changed = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ""
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def read_record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{folder} is no run directory", why=f"run.json: {error}", fix="name the directory that training wrote"
        ) from error
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / ".run.json.tmp"
    temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, folder / "run.json")
