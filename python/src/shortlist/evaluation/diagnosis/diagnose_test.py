"""The diagnosis of planted markets, its choices and what it refuses. `bench/diagnosis.py` runs all markets with more seeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from shortlist.data.encode import encode
from shortlist.data.splits import leave_one_out
from shortlist.errors import ConfigError, DataError
from shortlist.evaluation.diagnosis.diagnose import DiagnosisConfig, choose_split, diagnose, sample_users
from shortlist.evaluation.diagnosis.variants import PLAIN, POPULAR, rank_variants, variants
from shortlist.testing.planted import planted_market


@pytest.mark.parametrize("name", ["order", "trends"])
def test_the_planted_property_is_named_alone(name: str) -> None:
    diagnosis = diagnose(planted_market(name, seed=11), DiagnosisConfig(jobs=1))
    assert diagnosis.found == (name,)
    assert diagnosis.split == "time"


def test_without_a_clock_nothing_that_needs_one_is_measured() -> None:
    market = planted_market("repeats", seed=0)
    ranks = market.events.with_columns(time=pl.int_range(pl.len(), dtype=pl.Int64).over("user_id"))
    diagnosis = diagnose(replace(market, events=ranks), DiagnosisConfig(jobs=1, targets=400))
    assert diagnosis.split == "leave-one-out"
    assert "repeats" in diagnosis.found
    unknown = {finding.rule.property for finding in diagnosis.findings if finding.state == "not measurable"}
    assert unknown == {"trends", "sessions"}


def test_too_little_data_is_refused() -> None:
    market = planted_market("plain", seed=0)
    small = replace(market, events=market.events.filter(pl.col("user_id") < 60))
    with pytest.raises(DataError, match="too small to tell anything"):
        diagnose(small, DiagnosisConfig(jobs=1))
    with pytest.raises(DataError, match="no events"):
        diagnose(replace(market, events=market.events.clear()), DiagnosisConfig(jobs=1))
    with pytest.raises(ConfigError, match="targets is 5"):
        DiagnosisConfig(targets=5)


def test_the_split_goes_by_time_unless_that_leaves_too_few_users() -> None:
    market = planted_market("plain", seed=0)
    notes: list[str] = []
    assert choose_split(encode(market), True, None, notes).times is not None
    assert choose_split(encode(market), True, "leave-one-out", notes).times is None
    assert not notes
    # Nearly all events lie in the first hundredth of the time span.
    early = market.events.with_columns(pl.when(pl.col("user_id") < 20).then(pl.col("time")).otherwise(pl.lit(1_750_000_000)))
    assert choose_split(encode(replace(market, events=early)), True, None, notes).times is None
    assert "too few users" in notes[0]


def test_a_sample_has_whole_users() -> None:
    market = planted_market("plain", seed=0)
    sample = sample_users(market, 5000, seed=0)
    assert 4000 < len(sample.events) < 6000
    whole = market.events.group_by("user_id").len().sort("user_id")
    assert sample.events.group_by("user_id").len().sort("user_id").equals(whole.join(sample.users, on="user_id", how="semi"))
    assert sample_users(market, 10**6, seed=0) is market


def test_processes_give_what_one_gives() -> None:
    log = encode(planted_market("plain", seed=0))
    split = leave_one_out(log)
    two = [variant for variant in variants(log, split) if variant.name in (POPULAR, PLAIN)]
    alone, together = (rank_variants(log, split, split.validation[:200], two, jobs) for jobs in (1, 2))
    assert alone.keys() == together.keys() == {POPULAR, PLAIN}
    assert all(np.array_equal(alone[name], together[name]) for name in alone)
