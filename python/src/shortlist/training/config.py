"""Typed configuration of a run, as code: recipes return a `RunConfig`, JSON stores it, `override` changes single values by name."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from shortlist.errors import ConfigError
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import RankerConfig
from shortlist.models.trees import TreeConfig
from shortlist.models.two_tower import TwoTowerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimisation:
    """AdamW with linear warm-up, stopped after `patience` validations without a gain or after `max_minutes`.

    Schedules: cosine decays to `final_rate` x `learning_rate` over all epochs, constant stays, so that the end need not be known before.
    """

    epochs: int
    learning_rate: float = 1e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    final_rate: float = 0.1
    warmup_steps: int = 100
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    clip_norm: float = 5.0
    ema_decay: float = 0.0  # 0: no moving average of the weights
    average_epochs: int = 0  # the mean of up to so many last or best epochs is taken where it validates better; 0: of none
    validate_every: int = 1  # epochs
    patience: int = 3
    max_minutes: float = 0.0  # of training and validation; the epoch is cut there and the best weights are kept. 0: no bound

    def __post_init__(self) -> None:
        rules = (
            ("epochs", self.epochs >= 0, "0 or more"),
            ("schedule", self.schedule in ("cosine", "constant"), "cosine or constant"),
            ("betas", len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two numbers of [0, 1)"),
            ("ema_decay", 0 <= self.ema_decay < 1, "a number of [0, 1)"),
            ("average_epochs", self.average_epochs != 1 and self.average_epochs >= 0, "0, or 2 or more"),
            ("validate_every", self.validate_every >= 1, "1 or more"),
            ("patience", self.patience >= 1, "1 or more"),
            ("max_minutes", self.max_minutes >= 0, "0 for no bound, or more"),
        )
        for name, holds, fix in rules:
            if not holds:
                raise ConfigError(f"optimisation.{name} is {getattr(self, name)}", fix=f"use {fix}")


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfPlay:
    """Hard negatives mined by the model's own previous checkpoint: learn to tell its picks from what the user really did.

    At `positions` random positions of each batch, the weights that the last epoch ended with choose `picks` of their `pool` best unseen
    items; a softmax of the positive against them is added with `weight`. 0 switches it off. It begins after `after` epochs.
    """

    weight: float = 0.0
    positions: int = 256
    picks: int = 16
    pool: int = 50
    after: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoTowerTraining:
    """How the retriever learns. `batch_events` bounds the padded size B x N of a batch.

    Negatives are shared by the batch (`shortlist.training.negatives`), but for `own_negatives` uniform ones of each position (bce alone).
    `full_softmax` needs none. gbce raises the positive's probability to a power that undoes overconfidence to the degree
    `calibration` (arXiv 2308.07192). `low_precision` multiplies queries and negatives in bfloat16. `frequencies` are those of the
    correction: exact, or of a count-min sketch of `sketch_depth` x `sketch_width` cells, for catalogs too large for a count per item.
    """

    model: TwoTowerConfig = field(default_factory=TwoTowerConfig)
    optimisation: Optimisation
    batch_events: int = 8192
    window_warmup: tuple[int, ...] = ()  # events of the past that the first epochs see, (64, 256): 64 in the first, 256 in the second
    loss: Literal["sampled_softmax", "full_softmax", "bce", "gbce"] = "sampled_softmax"
    in_batch_negatives: int = 256
    uniform_negatives: int = 256
    popularity_negatives: int = 0
    popularity_power: float = 0.75
    own_negatives: int = 0
    correction: Literal["expected", "inclusion", "none"] = "expected"
    frequencies: Literal["exact", "count_min"] = "exact"
    sketch_width: int = 1 << 16  # a power of two
    sketch_depth: int = 4
    calibration: float = 0.75
    self_play: SelfPlay = SelfPlay()
    low_precision: bool = True
    mask_share: float = 0.2  # of events that bert4rec has to fill in
    action_weights: tuple[float, ...] = ()  # per action of the schema; empty: 1 each


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateSampling:
    """Which candidates a position trains on: its positive, `hard` of the retriever's `pool` best, `uniform` of the catalog.

    Only positions whose positive is in the pool teach: what retrieval misses, no later stage can rank.
    """

    positions: int = 8  # fresh ones, per user and batch
    hard: int = 24
    pool: int = 500
    uniform: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PrerankerTraining:
    """The loss: `head_weights` [T] x binary cross-entropy per task (empty: 1 each; focal for `focus` > 0) + `listwise_weight` x listwise
    softmax of the score + `in_batch_weight` x in-batch softmax of the query vectors (0: without)."""

    model: PrerankerConfig = field(default_factory=PrerankerConfig)
    optimisation: Optimisation
    sampling: CandidateSampling = CandidateSampling()
    batch_events: int = 8192
    focus: float = 0.0  # gamma of the focal loss
    head_weights: tuple[float, ...] = ()
    listwise_weight: float = 10.0  # the order is what the preranker is for
    in_batch_weight: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class RankerTraining:
    model: RankerConfig = field(default_factory=RankerConfig)
    optimisation: Optimisation
    sampling: CandidateSampling = CandidateSampling()
    old_positions: int = 4  # per user and batch, beside the fresh ones
    batch_events: int = 8192
    focus: float = 0.0
    listwise_weight: float = 3.0
    pretrained_items: bool = True  # start from the two-tower's item and action tables, where the widths agree
    trees: TreeConfig = field(default_factory=TreeConfig)  # of the kind "trees", which only `sampling` and `batch_events` concern too


@dataclass(frozen=True, slots=True, kw_only=True)
class Cascade:
    """Sizes of the offline funnel: retrieve -> prerank -> rank."""

    retrieve: int = 500
    prerank: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A whole run. `data` is a spec of `shortlist.data.load`; `held_out` of the time span is for validation and test, half each."""

    name: str
    data: str
    split: Literal["leave-one-out", "time"] = "leave-one-out"
    held_out: float = 0.2
    seed: int = 0
    until: Literal["two_tower", "preranker", "ranker"] = (
        "ranker"  # the last stage to train; a run that stops earlier is for comparing models
    )
    start: str = ""  # a run directory whose weights the stages start from; none: from new ones
    threads: int = 0  # of the CPU; 0: all cores
    fresh_share: float = 0.05  # of each user's training events, the newest: see `shortlist.training.batches.fresh_start`
    validation_targets: int = 2000  # at most, while training
    final_targets: int = 0  # at most of validation and of test for the final metrics, drawn; 0: all
    two_tower: TwoTowerTraining
    preranker: PrerankerTraining
    ranker: RankerTraining
    refit: Optimisation = Optimisation(epochs=0)  # of the two-tower on all events, in the end; 0 epochs: none
    cascade: Cascade = Cascade()


def retriever_alone(*, name: str, data: str, two_tower: TwoTowerTraining) -> RunConfig:
    """A run of the two-tower and no later stage, so that it trains on fresh events too."""
    unused = Optimisation(epochs=1)
    return RunConfig(
        name=name,
        data=data,
        until="two_tower",
        fresh_share=0.0,
        two_tower=two_tower,
        preranker=PrerankerTraining(optimisation=unused),
        ranker=RankerTraining(optimisation=unused),
    )


def to_json(config: Any) -> dict[str, Any]:
    """A configuration as plain dicts and lists."""
    return dataclasses.asdict(config)


def from_json(kind: type[Any], values: Mapping[str, Any], path: str = "") -> Any:
    """The configuration of type `kind` that `to_json` wrote. Raises ConfigError for unknown or missing fields."""
    hints = typing.get_type_hints(kind)
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for name in values.keys() - fields.keys():
        raise ConfigError(f"{path}{name} is not a field of {kind.__name__}", fix=f"use one of {', '.join(sorted(fields))}")
    arguments = {}
    for name, value in values.items():
        hint = hints[name]
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[name] = from_json(hint, value, f"{path}{name}.")
        else:
            arguments[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ConfigError(f"{path.rstrip('.') or kind.__name__} is incomplete", why=str(error)) from error


def override(config: Any, changes: Mapping[str, str]) -> Any:
    """Apply texts such as {"two_tower.optimisation.epochs": "3"}. Raises ConfigError for unknown names and unfit values."""
    for name, text in changes.items():
        config = _override(config, name.split("."), text, name)
    return config


def _override(config: Any, path: list[str], text: str, name: str) -> Any:
    hints = typing.get_type_hints(type(config))
    if path[0] not in hints:
        raise ConfigError(
            f"{name} is not a setting", why=f"{type(config).__name__} has no field {path[0]}", fix=f"fields: {', '.join(hints)}"
        )
    old = getattr(config, path[0])
    new: Any
    if dataclasses.is_dataclass(old):
        if len(path) == 1:
            raise ConfigError(f"{name} is a group of settings", fix=f"name one of {', '.join(f.name for f in dataclasses.fields(old))}")
        new = _override(old, path[1:], text, name)
    elif len(path) > 1:
        raise ConfigError(f"{name} is not a setting", why=f"{path[0]} is a value and not a group", fix=f"name {path[0]} itself")
    else:
        new = _parse(text, hints[path[0]], name)
    return dataclasses.replace(config, **{path[0]: new})


def _parse(text: str, hint: Any, name: str) -> Any:
    if typing.get_origin(hint) is tuple:
        return tuple(_parse(part.strip(), typing.get_args(hint)[0], name) for part in text.split(",") if part.strip())
    if typing.get_origin(hint) is types.UnionType:
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if typing.get_origin(hint) is Literal:
        if text not in typing.get_args(hint):
            raise ConfigError(f"{name}={text} is no choice", fix=f"use one of {', '.join(typing.get_args(hint))}")
        return text
    if hint is bool:
        if text.lower() not in ("true", "false"):
            raise ConfigError(f"{name}={text} is not a bool", fix="use true or false")
        return text.lower() == "true"
    try:
        return hint(text)
    except ValueError as error:
        raise ConfigError(f"{name}={text} is not a {hint.__name__}", why=str(error)) from error
