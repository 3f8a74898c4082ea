"""A finished training run and its data as a release plan: catalog, counters, sources, funnel sizes, metrics and quality gates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from shortlist.data.counters import count_crosses
from shortlist.data.dataset import Dataset, EncodedLog, Split
from shortlist.data.splits import times_are_ranks
from shortlist.errors import ConfigError
from shortlist.export.catalog import catalog_of
from shortlist.export.content import Content, counter_of
from shortlist.export.graphs import FunnelModels
from shortlist.export.hnsw import HnswConfig
from shortlist.export.precision import Precision
from shortlist.export.queries import ItemId
from shortlist.export.release import ReleasePlan
from shortlist.export.tables import Neighbours, PopularLists
from shortlist.export.value_formula import parse
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.models.two_tower import TwoTower
from shortlist.schema import Schema

BASELINES = ("popularity", "cooccurrence")


class TrainedModels(Protocol):
    @property
    def two_tower(self) -> TwoTower: ...
    @property
    def preranker(self) -> Preranker: ...
    @property
    def ranker(self) -> AnyRanker: ...


class TrainedRun(Protocol):
    """What `shortlist.training.run.load_run` gives. Export does not import training: both are on one level."""

    @property
    def schema(self) -> Schema: ...
    @property
    def models(self) -> TrainedModels: ...
    @property
    def record(self) -> dict[str, Any]: ...


class TrainedData(Protocol):
    """What `shortlist.training.source.load_source` gives."""

    @property
    def dataset(self) -> Dataset: ...
    @property
    def log(self) -> EncodedLog: ...
    @property
    def split(self) -> Split: ...
    def digest(self) -> str: ...


# All but hnsw find the same items (docs/adr/0005): the graph, or scans of fp32 vectors, 8-bit codes or rotated 4-bit codes. hnsw is a walk
# over a graph of neighbours, which is built and measured at export.
INDEXES = {
    "": pb.INDEX_KIND_UNSPECIFIED,
    "graph": pb.INDEX_GRAPH,
    "fp32": pb.INDEX_FLOAT32,
    "int8": pb.INDEX_INT8,
    "int4": pb.INDEX_INT4,
    "hnsw": pb.INDEX_HNSW,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseConfig:
    """What a release adds to a run. Sizes of 0 are taken from the run's offline cascade.

    `value` is a formula (see value_formula.py); empty: the first task's probability. `popular_segment` keeps a list of popular items for
    each value of a column ("user.gender"). `retrieval_metric` is what the two-tower must win against popularity and co-occurrence.
    """

    name: str = ""  # of the model; empty: the run's
    two_tower_limit: int = 0
    cooccurrence_limit: int = 200
    popular_limit: int = 100
    popular_segment: str = ""
    prerank_keep: int = 0
    default_limit: int = 10
    max_limit: int = 1000
    max_candidates: int = 5000
    chunk: int = 512
    value: str = ""
    retrieval_metric: str = "recall@100"
    precision: Precision = field(default_factory=Precision)
    small_vectors: tuple[str, ...] = ()
    index: str = ""  # how servers search the two-tower's vectors, of INDEXES; empty: the server's choice
    hnsw: HnswConfig = field(default_factory=HnswConfig)  # for the index hnsw
    golden_cases: int = 48
    warmup_requests: int = 300


def plan_from_run(run: TrainedRun, data: TrainedData, config: ReleaseConfig | None = None) -> ReleasePlan:
    """Raises ConfigError when run and data do not belong together, or the run lacks the metric that the gates need."""
    config = config or ReleaseConfig()
    if config.index not in INDEXES:
        raise ConfigError(f"the index is {config.index!r}", fix=f"choose of {[name for name in INDEXES if name]}")
    record = run.record
    if record["data"]["digest"] != data.digest():
        raise ConfigError(
            f"the run was trained on {record['data']['name']} with digest {record['data']['digest'][:12]}",
            why=f"the data given has {data.digest()[:12]}",
            fix="give the data that it was trained on, or train again",
        )
    schema = release_schema(run, data.log)
    return ReleasePlan(
        name=config.name or str(record["config"]["name"]),
        dataset=data.dataset,
        content=_content(run, data, schema, config),
        models=FunnelModels(schema, run.models.two_tower, run.models.preranker, run.models.ranker),
        lineage=pb.Lineage(
            data=str(record["data"]["name"]),
            data_digest=str(record["data"]["digest"]),
            code_commit=str(record["commit"]),
            config_json=json.dumps(record["config"], sort_keys=True),
            seed=int(record["config"]["seed"]),
        ),
        metrics=[
            pb.Metric(model=model, name=name, split=split, value=value)
            for split, models in record["metrics"].items()
            for model, metrics in models.items()
            for name, value in metrics.items()
        ],
        gates=quality_gates(record["metrics"].get("validation", {}), config.retrieval_metric),
        facts={
            "users": len(data.log.user_ids),
            "items": len(data.log.item_ids),
            "events": len(data.log.item),
            "training events": int((data.split.train_end - data.log.ptr[:-1]).sum()),
            **{f"loader: {what}": count for what, count in data.dataset.report.items()},
        },
        calibration=record.get("calibration", {}),
        golden_cases=config.golden_cases,
        warmup_requests=config.warmup_requests,
        seed=int(record["config"]["seed"]),
        precision=config.precision,
        small_vectors=config.small_vectors,
        hnsw=config.hnsw,
        held_out=held_out(data.log, data.split),
    )


def release_schema(run: TrainedRun, log: EncodedLog) -> Schema:
    """The run's schema, asking for event times when a model reads them. Raises ConfigError when it never saw any."""
    timed = run.models.two_tower.config.time_bias
    if timed and times_are_ranks(log):
        raise ConfigError(
            "the two-tower has a time bias that requests cannot feed",
            why="it was trained on places in each user's sequence, and requests have unix seconds",
            fix="train with two_tower.model.time_bias=false, or on events with times",
        )
    return replace(run.schema, event_times=timed)


def held_out(log: EncodedLog, split: Split) -> list[tuple[ItemId, int]]:
    """The validation events as users and the number of their events before."""
    users = np.searchsorted(log.ptr, split.validation, side="right") - 1
    return [(log.user_ids[user].item(), int(event - log.ptr[user])) for user, event in zip(users.tolist(), split.validation, strict=True)]


def _content(run: TrainedRun, data: TrainedData, schema: Schema, config: ReleaseConfig) -> Content:
    log, split, items = data.log, data.split, len(data.log.item_ids)
    cascade = run.record["config"]["cascade"]
    cooccurrence = Cooccurrence.fit(log, split)
    popular = Popularity.fit(log, split, PopularityConfig(segment=config.popular_segment))
    return Content(
        schema=schema,
        funnel=pb.Funnel(
            sources=[
                pb.Source(
                    name="two_tower",
                    kind=pb.TWO_TOWER,
                    limit=config.two_tower_limit or int(cascade["retrieve"]),
                    index=INDEXES[config.index],
                ),
                pb.Source(
                    name="cooccurrence",
                    kind=pb.COOCCURRENCE,
                    limit=config.cooccurrence_limit,
                    history_events=cooccurrence.history_events,
                    decay=cooccurrence.decay,
                ),
                pb.Source(name="popular", kind=pb.POPULAR, limit=config.popular_limit, segment=config.popular_segment),
            ],
            prerank_keep=config.prerank_keep or int(cascade["prerank"]),
            default_limit=config.default_limit,
            max_limit=config.max_limit,
            max_candidates=config.max_candidates,
            chunk=config.chunk,
        ),
        formula=parse(config.value or schema.tasks[0], schema),
        catalog=catalog_of(data.dataset, log),
        counters={name: counter_of(table) for name, table in count_crosses(log, split).items()},
        sources={
            "cooccurrence": Neighbours.read(cooccurrence.tensors(), items=items),
            # Filters and seen items shorten a list, so it is longer than its source's limit.
            "popular": PopularLists.read(popular.tensors(10 * config.popular_limit), segmented=bool(config.popular_segment), items=items),
        },
    )


def quality_gates(metrics: Mapping[str, Mapping[str, float]], retrieval_metric: str) -> list[pb.Gate]:
    """The two-tower must beat both baselines at retrieval, and the whole funnel must rank better than the two-tower alone.

    `metrics` are those of the validation split: deciding on the test split would spoil it.
    """
    gates = [_beats("two_tower", baseline, retrieval_metric, metrics) for baseline in BASELINES]
    return [*gates, _beats("cascade", "two_tower", "ndcg@10", metrics)]


def _beats(model: str, baseline: str, metric: str, metrics: Mapping[str, Mapping[str, float]]) -> pb.Gate:
    try:
        ours, theirs = metrics[model][metric], metrics[baseline][metric]
    except KeyError as error:
        raise ConfigError(
            f"the run has no {metric!r} of {model} and {baseline} on the validation split",
            why=f"{error} is missing; it has { ({name: sorted(values) for name, values in metrics.items()}) }",
            fix="choose another metric, or train again with this version",
        ) from error
    return pb.Gate(
        name=f"{model} beats {baseline}", passed=ours > theirs, detail=f"{metric} {ours:.4f} against {theirs:.4f} on the validation split"
    )
