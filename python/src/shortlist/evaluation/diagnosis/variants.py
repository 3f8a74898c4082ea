"""Simple models that differ in one thing each. What one gains over another on the same targets says how the data is made."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import times_are_ranks
from shortlist.evaluation.diagnosis.sessions import cut, shifted_starts, visit_starts
from shortlist.evaluation.scorer import Scorer, in_chunks, seen_items
from shortlist.metrics.order import order_keys, target_ranks
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

POPULAR = "popular"
PLAIN = "co-occurrence"
TAIL = "rare items first"
COSINE = "cosine"
LATELY = "popular lately"
RECENT_PAIRS = "recent co-occurrence"
CONTENT = "with item content"
FORWARD = "next item"
BOTH_WAYS = "neighbouring items"
VISITS = "within visits"
SHIFTED = "within shifted visits"
BY_USER = "popular by user."

HALF_LIFE_SHARE = 1 / 15  # of the training span
_ACROSS = 0.05  # weight of the whole history beside that of the visit: it decides where a visit has just begun
_MOST_SEGMENTS = 1000  # values of a user column that popularity is kept for

Cut = Literal["users", "visits", "shifted visits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A model to fit; `cut` says what a history is."""

    name: str
    model: CooccurrenceConfig | PopularityConfig
    cut: Cut = "users"


def variants(log: EncodedLog, split: Split) -> list[Variant]:
    """All variants that this log allows: ages and visits need a clock, content and segments need columns."""
    # Whole histories, unweighted: order, times and content play no part.
    plain = CooccurrenceConfig(
        pairs="history", similarity="conditional", popularity_power=0.0, history_events=log.schema.history_max_events, decay=1.0
    )
    near = CooccurrenceConfig(window=3, gap_decay=0.5, backward=0.0, popularity_power=0.0, history_events=3, decay=0.3)
    found = [
        Variant(name=POPULAR, model=PopularityConfig()),
        Variant(name=PLAIN, model=plain),
        Variant(name=COSINE, model=replace(plain, similarity="cosine")),
        Variant(name=TAIL, model=replace(plain, popularity_power=0.5)),
        Variant(name=FORWARD, model=near),
        Variant(name=BOTH_WAYS, model=replace(near, backward=1.0)),
    ]
    if any(column.op is not Op.ITEM_ROW for column in log.schema.item):
        found.append(Variant(name=CONTENT, model=replace(plain, content_share=0.3)))
    if not times_are_ranks(log):
        half_life = HALF_LIFE_SHARE * float(np.ptp(log.time)) or 1.0
        found += [
            Variant(name=LATELY, model=PopularityConfig(half_life=half_life)),
            Variant(name=RECENT_PAIRS, model=replace(plain, half_life=half_life)),
            Variant(name=VISITS, model=plain, cut="visits"),
            Variant(name=SHIFTED, model=plain, cut="shifted visits"),
        ]
    for column in log.schema.user:
        if column.op is Op.VOCABULARY and 1 < len(column.vocabulary) <= _MOST_SEGMENTS:
            found.append(Variant(name=f"{BY_USER}{column.name}", model=PopularityConfig(segment=f"user.{column.name}", prior=100.0)))
    return found


def rank_variants(log: EncodedLog, split: Split, targets: Ints, chosen: Sequence[Variant], jobs: int) -> dict[str, Ints]:
    """Rank [T] from 1 of each target's item under each variant: the whole catalog, seen items left out. `jobs` processes of one thread."""
    if jobs == 1:
        return {variant.name: ranks_of(log, split, targets, variant) for variant in chosen}
    # Spawned, since the threads of this process make a fork unsafe; their libraries read these when they are loaded.
    limits = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")}
    before = {name: os.environ.get(name) for name in limits}
    os.environ.update(limits)
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(jobs, len(chosen)), context, _keep, (log, split, targets)) as pool:
            ranks = list(pool.map(_ranks_of_kept, chosen))
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return {variant.name: found for variant, found in zip(chosen, ranks, strict=True)}


def ranks_of(log: EncodedLog, split: Split, targets: Ints, variant: Variant) -> Ints:
    scorer = fit(log, split, variant)
    ranks = []
    for chunk in in_chunks(len(targets), len(log.item_ids)):
        events = targets[chunk]
        keys = order_keys(scorer.score_events(log, events), seen_items(log, events))
        ranks.append(target_ranks(keys, log.item[events]))
    return np.concatenate(ranks)


def fit(log: EncodedLog, split: Split, variant: Variant) -> Scorer:
    if isinstance(variant.model, PopularityConfig):
        return Popularity.fit(log, split, variant.model)
    whole = Cooccurrence.fit(log, split, variant.model)
    if variant.cut == "users":
        return whole
    starts = visit_starts(log)
    visits, visits_split = cut(log, split, starts if variant.cut == "visits" else shifted_starts(log, starts))
    return _VisitScorer(whole, visits, Cooccurrence.fit(visits, visits_split, variant.model))


@dataclass(frozen=True)
class _VisitScorer:
    """Co-occurrence within the visit that the target belongs to, and a little of the whole history."""

    whole: Cooccurrence
    visits: EncodedLog
    within: Cooccurrence

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        return self.within.score_events(self.visits, events) + np.float32(_ACROSS) * self.whole.score_events(log, events)


_kept: tuple[EncodedLog, Split, Ints]  # of a worker process: sent once, used by every variant


def _keep(log: EncodedLog, split: Split, targets: Ints) -> None:
    global _kept
    _kept = (log, split, targets)


def _ranks_of_kept(variant: Variant) -> Ints:
    return ranks_of(*_kept, variant)
