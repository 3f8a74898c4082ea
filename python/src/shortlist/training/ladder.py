"""The ladder: what a model must climb over on one data set, from counting to the whole funnel, each rung fitted by one rule.

Settings of cheap rungs are swept on the watched validation targets; learned rungs take the recipe's, with overrides, and stop early on
the same targets. No rung sees the test targets while it is fitted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from shortlist.data.dataset import EncodedLog
from shortlist.data.splits import times_are_ranks
from shortlist.models.two_tower import TwoTower
from shortlist.training import checkpoint
from shortlist.training.batches import LogTensors, Rows, bucketed, target_histories
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RunConfig, override
from shortlist.training.cross import CrossCounters
from shortlist.training.ladder_spaces import NO_CLOCK, SPACES, fitter
from shortlist.training.retrieval import catalog_vectors, first_meetings, query_at, rank_metrics, score_ranks
from shortlist.training.run import build_models, load_run, read_record, train_config
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.search import Space, sweep
from shortlist.training.source import Source
from shortlist.training.usage import Usage, measured

# The form of the papers, which alone BERT4Rec has.
_TIED = {"two_tower.model.towers": "tied", "two_tower.model.positions": "learned"}
METRIC = "ndcg@10"  # what settings are chosen by, and the table's order


class Scorer(Protocol):
    def score_events(self, log: EncodedLog, events: Rows) -> npt.NDArray[np.float32]:
        """Scores [B,I] of the whole catalog, from what happened before each event."""
        ...


class Funnel(Protocol):
    def ranked(self, targets: Rows, depth: int) -> tuple[Rows, Rows]:
        """Rank of each target's item [n] and the `depth` best rows [n,depth]."""
        ...


@dataclass(frozen=True)
class Fitted:
    """A fitted rung: `chosen` are the settings that were chosen or overridden, `tried` counts what validation chose among."""

    model: Scorer | Funnel
    usage: Usage
    chosen: dict[str, Any]
    tried: int = 1


@dataclass(frozen=True)
class Ground:
    """What all rungs stand on: one source, one device, one set of watched validation targets, a folder for runs."""

    config: RunConfig
    source: Source
    tensors: LogTensors
    watched: Rows
    folder: Path


def ground_of(config: RunConfig, source: Source, folder: Path) -> Ground:
    """The ground of a ladder whose runs go into `folder`; watched are the validation targets that training watches too."""
    tensors = LogTensors(source.log, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    validation = first_meetings(source.log, source.split.validation)
    chosen = np.random.default_rng(config.seed).permutation(len(validation))[: config.validation_targets]
    return Ground(config, source, tensors, validation[np.sort(chosen)], folder)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """`settings` says what the rung is made of, so that a changed one is fitted again; a text is why the data does not allow it."""

    name: str
    family: str
    baseline: bool
    fit: Callable[[Ground], Fitted]
    settings: Callable[[Source], dict[str, Any] | str]


def counted(name: str, family: str, space: Callable[[Source], Space | str]) -> Rung:
    """A rung without gradients, its settings swept on validation."""

    def settings(source: Source) -> dict[str, Any] | str:
        found = space(source)
        if isinstance(found, str):
            return found
        return {"start": dataclasses.asdict(found.start), "axes": {name: list(values) for name, values in found.axes.items()}}

    def fit(ground: Ground) -> Fitted:
        found = space(ground.source)
        assert isinstance(found, Space)
        log, split = ground.source.log, ground.source.split
        best, tried = sweep(found, _quality(ground, fitter(found.start, log, split)))
        with measured() as usage:  # of one whole fit, not of the sweep, which reuses counts
            model = fitter(best, log, split)(best)
        return Fitted(model, usage, dataclasses.asdict(best), max(1, len(tried)))

    return Rung(name=name, family=family, baseline=True, fit=fit, settings=settings)


def _quality(ground: Ground, fit_one: Callable[[Any], Scorer]) -> Callable[[Any], float]:
    """The watched validation metric of a configuration."""

    def quality(config: Any) -> float:
        model = fit_one(config)
        ranks = score_ranks(ground.tensors, ground.watched, lambda events: model.score_events(ground.source.log, events))
        return rank_metrics(ranks)[METRIC]

    return quality


def retriever(name: str, overrides: Mapping[str, str], missing: Callable[[Source], str] = lambda source: "") -> Rung:
    """The recipe's two-tower alone with overrides; it trains on all training events, since no later stage needs fresh ones."""
    changes = {"until": "two_tower", "fresh_share": "0", **overrides}

    def settings(source: Source) -> dict[str, Any] | str:
        return missing(source) or dict(changes)

    def fit(ground: Ground) -> Fitted:
        config: RunConfig = override(dataclasses.replace(ground.config, name=name), changes)
        with measured() as usage:
            folder = train_config(config, ground.source, ground.folder)
        usage.seconds = _stage_seconds(read_record(folder))
        model = build_models(config, ground.source.log.schema).two_tower
        checkpoint.load_model(folder / "two_tower.safetensors", model)
        return Fitted(TwoTowerScorer(model.to(ground.tensors.device), ground.tensors), usage, dict(changes))

    return Rung(name=name, family="two-tower", baseline=False, fit=fit, settings=settings)


def cascade(name: str) -> Rung:
    """The recipe's whole funnel: retrieve, prerank, rank."""

    def fit(ground: Ground) -> Fitted:
        with measured() as usage:
            folder = train_config(dataclasses.replace(ground.config, name=name), ground.source, ground.folder)
        run = load_run(folder)
        usage.seconds = _stage_seconds(run.record)
        for model in (run.models.two_tower, run.models.preranker, run.models.ranker):
            model.to(ground.tensors.device)
        cross = CrossCounters(ground.source.log, ground.source.split)
        frozen = FrozenRetriever(run.models.two_tower, ground.tensors)

        class Trained:
            def ranked(self, targets: Rows, depth: int) -> tuple[Rows, Rows]:
                evaluation = CascadeEvaluation(frozen, cross, targets, ground.config.cascade)
                return evaluation.ranked(run.models.preranker, run.models.ranker, depth=depth)["cascade"]

        return Fitted(Trained(), usage, {})

    return Rung(name=name, family="funnel", baseline=False, fit=fit, settings=lambda source: {})


def _stage_seconds(record: Mapping[str, Any]) -> float:
    """Seconds of all stages of a run, also of those before it was interrupted."""
    return round(sum(float(stage["seconds"]) for stage in record["stages"].values()), 3)


def rungs() -> list[Rung]:
    """All rungs, cheapest first."""

    def encoder(kind: str) -> dict[str, str]:
        return {"two_tower.model.encoder": kind}

    def no_clock(source: Source) -> str:
        return NO_CLOCK if times_are_ranks(source.log) else ""

    return [
        *(counted(name, family, space) for name, (family, space) in SPACES.items()),
        retriever("bert4rec", {**_TIED, **encoder("bert4rec"), "two_tower.loss": "full_softmax"}),
        *(retriever(kind, encoder(kind)) for kind in ("sasrec", "ligr", "hstu")),
        retriever("hstu-time", {**encoder("hstu"), "two_tower.model.time_bias": "true"}, no_clock),
        *(
            retriever(f"sasrec-{loss.replace('_', '-')}", {**encoder("sasrec"), "two_tower.loss": loss})
            for loss in ("full_softmax", "gbce")
        ),
        cascade("cascade"),
    ]


class TwoTowerScorer:
    """Scores the catalog by dot products of a trained two-tower."""

    def __init__(self, model: TwoTower, tensors: LogTensors) -> None:
        self.model, self.tensors = model.eval(), tensors
        self.vectors = catalog_vectors(model, tensors)  # [I,K]

    @torch.no_grad()
    def score_events(self, log: EncodedLog, events: Rows) -> npt.NDArray[np.float32]:
        histories = target_histories(log, events)
        scores = np.empty((len(events), len(self.vectors)), dtype=np.float32)
        for chosen in bucketed(histories.length + 1, 32768, (0,)):
            query = query_at(self.model, self.tensors, histories, events, chosen)
            scores[chosen] = torch.matmul(query, self.vectors.T).float().cpu().numpy()
        return scores
