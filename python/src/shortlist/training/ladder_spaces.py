"""The cheap rungs: what is swept of each, and how one setting is fitted."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import times_are_ranks, training_mask
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.models.ials import Ials, IalsConfig
from shortlist.models.pair_counts import PairCounts, count_pairs, merge_counts, shards
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.schema import Op
from shortlist.training.search import Space
from shortlist.training.source import Source

NO_CLOCK = "times are only ranks in each user's sequence"
_SHARES = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the training time span, for half lives and windows
_MOST_SEGMENTS = 1000

# Fields that change counts need a new count, those of scoring not even new weights.
_COUNTING = ("pairs", "window", "gap_decay", "half_life", "length_power")
_SCORING = ("history_events", "decay")

_SCORED = {"decay": (0.5, 0.7, 0.8, 0.9, 1.0), "history_events": (10, 20, 50)}
_WINDOW = {"window": (5, 10, 20, 40, 100), "gap_decay": (0.6, 0.8, 0.95), "backward": (0.0, 0.15, 0.4, 1.0), "length_power": (0.0, 0.5)}
_POWER = {"popularity_power": (0.0, 0.15, 0.25, 0.4)}
_SHRINKAGE = {"shrinkage": (0.0, 2.0, 10.0, 30.0), "popularity_power": (0.0, 0.25)}


def fitter(start: Any, log: EncodedLog, split: Split) -> Callable[[Any], Any]:
    """A function from a configuration of the kind of `start` to a fitted model; one fit may use what another computed."""
    if isinstance(start, CooccurrenceConfig):
        return _CooccurrenceFitter(log, split)
    if isinstance(start, IalsConfig):
        return _IalsFitter(log, split)
    return lambda config: Popularity.fit(log, split, config)


class _CooccurrenceFitter:
    """Remembers the last counts and the last table."""

    def __init__(self, log: EncodedLog, split: Split) -> None:
        self.log, self.split = log, split
        self._counts: tuple[Any, PairCounts] | None = None
        self._table: tuple[Any, Cooccurrence] | None = None

    def __call__(self, config: CooccurrenceConfig) -> Cooccurrence:
        counting = [getattr(config, name) for name in _COUNTING]
        weighing = _without_scoring(config)
        if self._counts is None or self._counts[0] != counting:
            parts = (count_pairs(self.log, self.split, config, users=users) for users in shards(self.log, self.split, config))
            self._counts = counting, merge_counts(parts)
        if self._table is None or self._table[0] != weighing:
            self._table = weighing, Cooccurrence.from_counts(self._counts[1], self.log, config)
        return dataclasses.replace(self._table[1], history_events=config.history_events, decay=config.decay)


class _IalsFitter:
    """Remembers the last factors."""

    def __init__(self, log: EncodedLog, split: Split) -> None:
        self.log, self.split = log, split
        self._model: tuple[Any, Ials] | None = None

    def __call__(self, config: IalsConfig) -> Ials:
        learned = _without_scoring(config)
        if self._model is None or self._model[0] != learned:
            self._model = learned, Ials.fit(self.log, self.split, config)
        return dataclasses.replace(self._model[1], config=config)


def _without_scoring(config: Any) -> Any:
    return dataclasses.replace(config, **dict.fromkeys(_SCORING, 1))


def _fixed(config: Any) -> Callable[[Source], Space]:
    return lambda source: Space(config)


def _by_age(start: Any, name: str) -> Callable[[Source], Space | str]:
    """Sweep a time setting over shares of the training time span."""

    def space(source: Source) -> Space | str:
        log = source.log
        if times_are_ranks(log):
            return NO_CLOCK
        time = log.time[training_mask(log, source.split)]
        spans = [max(1.0, round(share * float(time.max() - time.min()))) for share in _SHARES]
        return Space(dataclasses.replace(start, **{name: spans[-1]}), {name: spans})

    return space


def _by_segment(source: Source) -> Space | str:
    roles = (("user", source.log.schema.user), ("context", source.log.schema.context))
    named = {f"{role}.{column.name}": column for role, columns in roles for column in columns}
    segments = [
        segment
        for segment, column in named.items()
        if (segment in source.log.segments or (column.op is Op.VOCABULARY and not column.width))
        and (len(source.log.segments[segment].keys) if segment in source.log.segments else column.cardinality) <= _MOST_SEGMENTS
    ]
    if not segments:
        return "no user or context column names few enough segments"
    return Space(PopularityConfig(segment=segments[0]), {"segment": segments, "prior": (10.0, 100.0, 1000.0, 10000.0)})


def _of_content(source: Source) -> Space | str:
    if all(column.op is Op.ITEM_ROW for column in source.log.schema.item):
        return "items have no feature columns"
    return Space(CooccurrenceConfig(content_share=0.1), {"content_share": (0.03, 0.1, 0.2, 0.4), **_SCORED})


def _windowed(form: Any, axes: Mapping[str, Any]) -> Callable[[Source], Space]:
    return lambda source: Space(CooccurrenceConfig(similarity=form), {**_SCORED, **axes, **_WINDOW})


def _of_histories(source: Source) -> Space:
    start = CooccurrenceConfig(pairs="history", similarity="cosine", popularity_power=0.0)
    forms = ("conditional", "cosine", "jaccard", "pmi")
    return Space(start, {**_SCORED, "similarity": forms, **_SHRINKAGE, "length_power": (0.0, 0.5)})


# Rung -> (family, space). The first of the co-occurrence rungs is the one that releases carry as a source.
SPACES: dict[str, tuple[str, Callable[[Source], Space | str]]] = {
    "popularity": ("popularity", _fixed(PopularityConfig())),
    "popularity-window": ("popularity", _by_age(PopularityConfig(), "window")),
    "popularity-decay": ("popularity", _by_age(PopularityConfig(), "half_life")),
    "popularity-segment": ("popularity", _by_segment),
    "cooccurrence": ("co-occurrence", _fixed(CooccurrenceConfig())),
    "cooccurrence-conditional": ("co-occurrence", _windowed("conditional", _POWER)),
    "cooccurrence-cosine": ("co-occurrence", _windowed("cosine", _SHRINKAGE)),
    "cooccurrence-jaccard": ("co-occurrence", _windowed("jaccard", _SHRINKAGE)),
    "cooccurrence-pmi": ("co-occurrence", _windowed("pmi", _SHRINKAGE)),
    "cooccurrence-history": ("co-occurrence", _of_histories),
    "cooccurrence-decay": ("co-occurrence", _by_age(CooccurrenceConfig(), "half_life")),
    "cooccurrence-content": ("co-occurrence", _of_content),
    "ials": (
        "factorisation",
        lambda source: Space(
            IalsConfig(history_events=20, decay=0.8),
            {
                "decay": (0.6, 0.8, 0.9),
                "history_events": (10, 20, 50),
                "alpha": (2.0, 4.0, 16.0, 64.0),
                "regularization": (1.0, 3.0, 10.0, 30.0, 100.0),
                "factors": (32, 64, 128),
            },
        ),
    ),
}
