"""Random-weight models and whole bundles of any size, for tests and speed benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from shortlist.data.dataset import EncodedLog
from shortlist.export.graphs import FunnelModels
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import Schema


@dataclass(frozen=True, slots=True, kw_only=True)
class ToyModelConfig:
    """Shapes: D `width`, K `retrieval_width`, L `layers`, H `heads`."""

    width: int = 8
    retrieval_width: int = 8
    layers: int = 2
    heads: int = 2
    seed: int = 0


def toy_models(schema: Schema, config: ToyModelConfig | None = None, log: EncodedLog | None = None) -> FunnelModels:
    """Untrained models whose scores differ by much more than the tolerance; numbers are standardised by `log` when given."""
    config = config or ToyModelConfig()
    torch.manual_seed(config.seed)
    tower = TwoTowerConfig(width=config.width, retrieval_width=config.retrieval_width, layers=config.layers, heads=1)
    ranker = RankerConfig(width=config.width, layers=config.layers, heads=config.heads)
    models = FunnelModels(
        schema,
        tower.build(schema),
        PrerankerConfig(recent_events=4).build(schema, tower),
        ranker.build(schema),
    )
    for model in (models.two_tower, models.preranker, models.ranker):
        model.apply(_scatter)
    return models.eval()


def _scatter(module: nn.Module) -> None:
    """Weights large enough that every input matters; norms keep activations in range."""
    with torch.no_grad():
        for name, parameter in module.named_parameters(recurse=False):
            if isinstance(module, nn.LayerNorm):
                continue
            deviation = 0.5 if isinstance(module, nn.Embedding) else parameter.shape[-1] ** -0.5 if parameter.ndim > 1 else 0.1
            if name in ("dot_weight", "prerank_weight"):
                continue
            parameter.normal_(0.0, deviation)
