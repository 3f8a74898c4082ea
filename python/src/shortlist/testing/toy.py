"""Random-weight models and whole bundles of any size, for tests and speed benchmarks."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shortlist.data.counters import count_crosses
from shortlist.data.dataset import Dataset, EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.export.catalog import catalog_of
from shortlist.export.content import Content, counter_of
from shortlist.export.graphs import FunnelModels
from shortlist.export.precision import Precision
from shortlist.export.release import ReleasePlan, export_release
from shortlist.export.tables import Neighbours, PopularLists
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.models.encoder import Kind
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import Ranker, RankerConfig, RankerKind
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import Op, Schema
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyModelConfig:
    """Shapes: D `width`, K `retrieval_width`, L `layers`, H `heads`. `scale` multiplies query vectors, and so all dot products."""

    width: int = 8
    retrieval_width: int = 8
    layers: int = 2
    heads: int = 2
    scale: float = 1.0
    seed: int = 0
    encoder: Kind = "sasrec"  # of the two-tower
    time_bias: bool = False  # its schema then asks for event times
    ranker: RankerKind = "amortized"


def toy_models(schema: Schema, config: ToyModelConfig | None = None, log: EncodedLog | None = None) -> FunnelModels:
    """Untrained models whose scores differ by much more than the tolerance; numbers are standardised by `log` when given."""
    config = config or ToyModelConfig()
    torch.manual_seed(config.seed)
    tower = TwoTowerConfig(
        width=config.width,
        retrieval_width=config.retrieval_width,
        layers=config.layers,
        heads=config.heads,
        encoder=config.encoder,
        time_bias=config.time_bias,
    )
    ranker = RankerConfig(kind=config.ranker, width=config.width, layers=config.layers, heads=config.heads)
    models = FunnelModels(
        schema,
        tower.build(schema),
        PrerankerConfig(recent_events=4, mask_blocks=2, mask_width=4, block_width=8).build(schema, tower),
        ranker.build(schema),
    )
    assert isinstance(models.ranker, Ranker)
    for model in (models.two_tower, models.preranker, models.ranker):
        model.apply(_scatter)
    with torch.no_grad():
        # Dot products of about the size that training gives: neither saturated probabilities nor differences of large numbers.
        assert models.two_tower.query_out is not None
        models.two_tower.query_out.weight.mul_(config.scale * config.retrieval_width**-0.5)
        models.preranker.heads_out.weight.mul_(config.scale * config.retrieval_width**-0.5)
        models.ranker.prerank_deviation.fill_(5.0)
        models.ranker.prerank_weight.fill_(0.2)  # probabilities in the middle, where differences show
    if log is not None:
        numbers = {c.name: torch.from_numpy(log.items[c.name]) for c in schema.item if c.op is Op.NUMBER}
        models.two_tower.item.fit_numbers(numbers)
        models.ranker.item.fit_numbers(numbers)
    return models.eval()


def _scatter(module: nn.Module) -> None:
    """Weights large enough that every input matters; norms keep activations in range."""
    with torch.no_grad():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                continue
            deviation = 0.5 if isinstance(module, nn.Embedding) else max(1, parameter.shape[-1]) ** -0.5 if parameter.ndim > 1 else 0.1
            if name in ("dot_weight", "prerank_weight"):
                continue
            parameter.normal_(0.0, deviation)


# A fixed moment, so that equal toys have equal release ids.
CREATED = datetime(2026, 1, 1, tzinfo=UTC)


def write_toy(repository: Path, config: ToyConfig | None = None) -> Path:
    """Exports a toy release into `repository`/<name>/ and points `current` at it."""
    return export_release(toy_plan(config), repository, created=CREATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyConfig:
    """A whole random-weight release. The defaults make the tracked `models/toy`; large sizes make a bundle for speed benchmarks."""

    name: str = "toy"
    data: ToyDataConfig = field(default_factory=ToyDataConfig)
    model: ToyModelConfig = field(default_factory=ToyModelConfig)
    source_limit: int = 20
    prerank_keep: int = 16
    chunk: int = 6
    max_candidates: int = 100
    golden_cases: int = 40
    warmup_requests: int = 24
    precision: Precision = field(default_factory=Precision)
    small_vectors: tuple[str, ...] = ()


def toy_plan(config: ToyConfig | None = None) -> ReleasePlan:
    """What `export_release` takes. Equal configs make equal releases on one machine."""
    config = config or ToyConfig()
    dataset = toy_dataset(config.data)
    dataset = replace(dataset, schema=replace(dataset.schema, event_times=config.model.time_bias))
    log = encode(dataset)
    split = Split(train_end=log.ptr[1:], validation=np.zeros(0, np.int64), test=np.zeros(0, np.int64))  # all events train
    return ReleasePlan(
        name=config.name,
        dataset=dataset,
        content=toy_content(config, dataset, log, split),
        models=toy_models(dataset.schema, config.model, log),
        lineage=pb.Lineage(data="toy: random, nothing can be learned from it", seed=config.model.seed),
        golden_cases=config.golden_cases,
        warmup_requests=config.warmup_requests,
        precision=config.precision,
        small_vectors=config.small_vectors,
    )


def toy_content(config: ToyConfig, dataset: Dataset, log: EncodedLog, split: Split) -> Content:
    items = len(log.item_ids)
    cooccurrence = Cooccurrence.fit(log, split, CooccurrenceConfig(window=5, neighbours=10, history_events=5))
    popular = Popularity.fit(log, split, PopularityConfig(segment="user.gender", prior=10.0))
    sources = [
        pb.Source(name="two_tower", kind=pb.TWO_TOWER, limit=config.source_limit),
        pb.Source(
            name="cooccurrence",
            kind=pb.COOCCURRENCE,
            limit=config.source_limit // 2,
            history_events=cooccurrence.history_events,
            decay=cooccurrence.decay,
        ),
        pb.Source(name="popular", kind=pb.POPULAR, limit=config.source_limit // 4, segment="user.gender"),
    ]
    return Content(
        schema=dataset.schema,
        funnel=pb.Funnel(
            sources=sources,
            prerank_keep=config.prerank_keep,
            default_limit=5,
            max_limit=config.max_candidates,
            max_candidates=config.max_candidates,
            chunk=config.chunk,
        ),
        formula=pb.ValueFormula(
            terms=[
                pb.ValueTerm(task="click", weight=1.0, exponent=1.0),
                pb.ValueTerm(task="purchase", weight=0.05, exponent=0.5, item_column="price"),
            ]
        ),
        catalog=catalog_of(dataset, log),
        counters={name: counter_of(table) for name, table in count_crosses(log, split).items()},
        sources={
            "cooccurrence": Neighbours.read(cooccurrence.tensors(), items=items),
            "popular": PopularLists.read(popular.tensors(config.source_limit), segmented=True, items=items),
        },
    )


def benchmark_config() -> ToyConfig:
    """Sizes of a real release (D = K = 64, L = 2, H = 2, history 200) without a training: speed depends on shapes alone."""
    return ToyConfig(
        name="bench",
        data=ToyDataConfig(items=5_000, users=500, events=60_000, item_id="int64", history_max_events=200, history_step=50),
        model=ToyModelConfig(width=64, retrieval_width=64, layers=2, heads=2, scale=0.25),
        source_limit=500,
        prerank_keep=300,
        chunk=512,
        max_candidates=5_000,
        warmup_requests=200,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a random-weight release into a model repository.")
    parser.add_argument("repository", type=Path)
    parser.add_argument("--benchmark", action="store_true", help="5,000 items and the sizes of a real release, named bench")
    arguments = parser.parse_args()
    print(write_toy(arguments.repository, benchmark_config() if arguments.benchmark else None))


if __name__ == "__main__":
    main()
