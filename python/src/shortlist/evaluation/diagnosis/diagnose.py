"""The diagnosis of a data set: split it, rank validation targets under all variants, count what can be counted, and judge by the rules."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist import schema as names
from shortlist.data.dataset import Dataset, EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.splits import by_time, leave_one_out, times_are_ranks
from shortlist.errors import ConfigError, DataError
from shortlist.evaluation.bootstrap import Estimate, estimate_means
from shortlist.evaluation.diagnosis.leaks import FUTURE, count_leaks
from shortlist.evaluation.diagnosis.rules import RULES, Finding, Gain, judge
from shortlist.evaluation.diagnosis.statistics import FIRST_RANK, Shares, count_shares, first_meeting
from shortlist.evaluation.diagnosis.variants import BY_USER, PLAIN, rank_variants, variants
from shortlist.evaluation.scorer import users_of
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.ndcg import ndcg_at_k

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

METRIC = "ndcg@10"
LEVEL = 0.99  # of all intervals here: many properties are asked about at once
HELD_OUT = 0.2  # of the time span, half each for validation and test, as in `RunConfig`
FEWEST_TARGETS = 200  # first meetings on validation; with fewer, only gains that need no statistics would show
FEWEST_USERS = 100

SplitName = Literal["leave-one-out", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiagnosisConfig:
    """`targets` bounds the validation targets that variants rank, `events` the log: whole users are drawn until it is reached."""

    jobs: int = 0  # processes; 0: one a core
    targets: int = 4000
    events: int = 1_500_000
    split: SplitName | None = None  # None: by time where times are a clock and enough targets remain
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("jobs", 0), ("targets", FEWEST_TARGETS), ("events", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name} is {getattr(self, name)}", fix=f"use at least {least}")


@dataclass(frozen=True)
class Diagnosis:
    """`variants`: NDCG@10 and HR@10 by name. `measurements`: relative gains and shares by name of evidence. `histories` and `pauses` are
    samples for plots: events before each target, seconds between events of a user (none without a clock)."""

    data: str
    split: SplitName
    targets: int
    facts: Mapping[str, str]
    variants: Mapping[str, Mapping[str, Estimate]]
    measurements: Mapping[str, Estimate]
    findings: tuple[Finding, ...]
    sizes: Mapping[str, int]  # users, items, events, median history
    user_columns: tuple[str, ...]
    item_columns: tuple[str, ...]
    notes: tuple[str, ...]
    histories: Ints
    pauses: Ints

    @property
    def found(self) -> tuple[str, ...]:
        return tuple(finding.rule.property for finding in self.findings if finding.state == "found")

    def to_json(self) -> dict[str, Any]:
        return {
            "data": self.data,
            "split": self.split,
            "targets": self.targets,
            "facts": dict(self.facts),
            "found": list(self.found),
            "findings": [
                {
                    "property": finding.rule.property,
                    "state": finding.state,
                    "meaning": finding.rule.meaning,
                    "advice": finding.rule.advice,
                    "evidence": [asdict(measured) for measured in finding.measured],
                }
                for finding in self.findings
            ],
            "variants": {name: {metric: asdict(value) for metric, value in values.items()} for name, values in self.variants.items()},
            "level": LEVEL,
            "notes": list(self.notes),
        }


def diagnose(dataset: Dataset, config: DiagnosisConfig | None = None) -> Diagnosis:
    """Raises DataError for data that is malformed or too small to tell anything."""
    config = config or DiagnosisConfig()
    sampled = sample_users(dataset, config.events, config.seed)
    log = encode(replace(sampled, impressions=None))
    clock = not times_are_ranks(log)
    notes: list[str] = []
    if len(sampled.events) < len(dataset.events):
        notes.append(f"{len(sampled.users):,} of {len(dataset.users):,} users were drawn, to keep the log at {config.events:,} events.")
    split = choose_split(log, clock, config.split, notes)
    kind: SplitName = "leave-one-out" if split.times is None else "time"
    held_out = draw(split.validation, config.targets, config.seed)
    targets = held_out[first_meeting(log, held_out)]
    check_size(log, targets)

    ranks = rank_variants(log, split, targets, variants(log, split), config.jobs or os.cpu_count() or 1)
    users = users_of(log, targets)
    values = {name: {METRIC: ndcg_at_k(found, 10), "hr@10": hits_at_k(found, 10)} for name, found in ranks.items()}
    flat = {f"{metric} {name}": column for name, columns in values.items() for metric, column in columns.items()}
    estimates = estimate_means(flat, users, config.seed, LEVEL)
    metrics = {name: {metric: estimates[f"{metric} {name}"] for metric in columns} for name, columns in values.items()}
    best = max(metrics, key=lambda name: metrics[name][METRIC].value)
    leaks = count_leaks(log, split, held_out, clock=clock, seed=config.seed)
    measurements = gains({name: columns[METRIC] for name, columns in values.items()}, users, config.seed)
    first = Shares({FIRST_RANK: (ranks[best] == 1).astype(np.float64)}, {FIRST_RANK: users})
    for shares in (count_shares(log, split, held_out, clock=clock), first, leaks):
        measurements |= estimate_shares(shares, config.seed)
    if FUTURE in measurements:
        notes.append(
            f"Leave-one-out ignores the clock: {measurements[FUTURE].value:.0%} of the pairs of a training event and a target have the "
            "training event later, which no live model would know. Numbers of a split by time are lower and truer."
        )
    return Diagnosis(
        data=dataset.name,
        split=kind,
        targets=len(targets),
        facts={
            "data": f"{len(dataset.users):,} users, {len(dataset.items):,} items, {len(dataset.events):,} events",
            "times": "a common clock" if clock else "places in each user's sequence, so nothing that needs a clock can be measured",
            "protocol": f"{kind} split, {len(targets):,} validation targets, the whole catalog ranked, seen items left out",
            "best variant": f"{best}: {METRIC} {metrics[best][METRIC].value:.4f}, co-occurrence {metrics[PLAIN][METRIC].value:.4f}",
        },
        variants=metrics,
        measurements=measurements,
        findings=tuple(judge(measurements)),
        sizes={
            "users": len(log.user_ids),
            "items": len(log.item_ids),
            "events": len(log.item),
            "median history": int(np.median(targets - log.ptr[users])),
        },
        user_columns=tuple(column.name for column in log.schema.user),
        item_columns=tuple(column.name for column in log.schema.item),
        notes=tuple(notes),
        histories=(targets - log.ptr[users]).astype(np.int64),
        pauses=np.diff(log.time)[~_first_events(log)[1:]] if clock else np.zeros(0, dtype=np.int64),
    )


def sample_users(dataset: Dataset, events: int, seed: int) -> Dataset:
    """The data set with about `events` events: all of some users, drawn at random."""
    if len(dataset.events) <= events:
        return dataset
    share = events / len(dataset.events)
    users = dataset.users.sample(max(1, round(share * len(dataset.users))), seed=seed)
    kept = pl.col(names.USER_ID).is_in(users[names.USER_ID].implode())
    return replace(dataset, users=users, events=dataset.events.filter(kept))


def choose_split(log: EncodedLog, clock: bool, wanted: SplitName | None, notes: list[str]) -> Split:
    """The split that was wanted; else by time where times are a clock and it leaves enough users to judge, and leave-one-out otherwise."""
    if len(log.item) == 0:
        raise DataError(f"{log.name} has no events", why="there is nothing to diagnose", fix="give data with events")
    if wanted == "leave-one-out" or (wanted is None and not clock):
        return leave_one_out(log)
    first, span = int(log.time.min()), int(np.ptp(log.time))
    try:
        split = by_time(log, first + round(span * (1 - HELD_OUT)), first + round(span * (1 - HELD_OUT / 2)))
    except DataError:
        if wanted == "time":
            raise
        split = None
    if wanted == "time" or (split is not None and _enough(log, split)):
        assert split is not None
        return split
    notes.append("A split by time leaves too few users with a history on validation, so the last events of users are held out instead.")
    return leave_one_out(log)


def draw(targets: Ints, most: int, seed: int) -> Ints:
    """At most so many of the targets, at random, in their order."""
    drawn: Ints = np.sort(np.random.default_rng(seed).permutation(targets)[:most])
    return drawn


def check_size(log: EncodedLog, targets: Ints) -> None:
    users = len(np.unique(users_of(log, targets)))
    if len(targets) < FEWEST_TARGETS or users < FEWEST_USERS:
        raise DataError(
            f"{log.name} is too small to tell anything: {len(targets)} validation targets of {users} users",
            why=f"below {FEWEST_TARGETS} targets of {FEWEST_USERS} users every difference drowns in noise",
            fix="use more users, or a longer time",
        )


def gains(values: Mapping[str, Floats], users: Ints, seed: int) -> dict[str, Estimate]:
    """The relative gain of each comparison that a rule asks for, where both variants ran; `values` [T] by variant."""
    asked = [evidence for rule in RULES for evidence in rule.evidence if isinstance(evidence, Gain)]
    pairs = {
        f"{variant} over {gain.over}": (variant, gain.over)
        for gain in asked
        for variant in values
        if gain.over in values and (variant == gain.variant or (gain.variant == BY_USER and variant.startswith(BY_USER)))
    }
    differences = {name: values[variant] - values[over] for name, (variant, over) in pairs.items()}
    found = estimate_means(differences, users, seed, LEVEL)
    return {name: _relative(found[name], float(values[over].mean())) for name, (_, over) in pairs.items()}


def estimate_shares(shares: Shares, seed: int) -> dict[str, Estimate]:
    """The mean of each share; those of the same users are drawn together, and constants need no draws."""
    found = {name: Estimate(*[float(values[0])] * 3) for name, values in shares.values.items() if np.ptp(values) == 0}
    for users in {id(users): users for users in shares.users.values()}.values():
        together = {name: values for name, values in shares.values.items() if shares.users[name] is users and name not in found}
        found |= estimate_means(together, users, seed, LEVEL)
    return {name: found[name] for name in shares.values}


def _relative(difference: Estimate, base: float) -> Estimate:
    """A difference as a share of `base`; nothing can be said against a variant that never hits."""
    if base <= 0 or difference.low is None or difference.high is None:
        return Estimate(0.0, 0.0, 0.0)
    return Estimate(difference.value / base, difference.low / base, difference.high / base)


def _enough(log: EncodedLog, split: Split) -> bool:
    """Whether enough first meetings of enough users with a history are held out for validation."""
    targets = split.validation[first_meeting(log, split.validation)]
    targets = targets[targets > log.ptr[users_of(log, targets)]]
    return len(targets) >= FEWEST_TARGETS and len(np.unique(users_of(log, targets))) >= FEWEST_USERS


def _first_events(log: EncodedLog) -> npt.NDArray[np.bool_]:
    first = np.zeros(len(log.item), dtype=np.bool_)
    first[log.ptr[:-1][np.diff(log.ptr) > 0]] = True
    return first
