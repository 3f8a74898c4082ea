"""The rungs: what they sweep, and that the shortcuts of a sweep change no model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from shortlist.data.encode import encode
from shortlist.data.load import load
from shortlist.data.splits import by_time, leave_one_out
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.models.ials import Ials, IalsConfig
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.training.config import Optimisation, PrerankerTraining, RankerTraining, RunConfig, TwoTowerTraining, override
from shortlist.training.ladder import rungs
from shortlist.training.ladder_spaces import NO_CLOCK, SPACES, fitter
from shortlist.training.search import Space
from shortlist.training.source import Source


@pytest.fixture(scope="module")
def market() -> Source:
    dataset = load("marketplace:users=60,items=100,events=1200,logged_requests=100")
    log = encode(dataset)
    times = np.quantile(log.time, [0.8, 0.9]).astype(int)
    return Source(dataset, log, by_time(log, int(times[0]), int(times[1])))


def test_every_rung_has_its_own_name_and_says_what_it_is_made_of(market: Source) -> None:
    names = [rung.name for rung in rungs()]
    assert len(set(names)) == len(names)
    assert {rung.name for rung in rungs() if rung.baseline} == set(SPACES)
    settings = {rung.name: rung.settings(market) for rung in rungs()}
    assert not [name for name, made_of in settings.items() if isinstance(made_of, str)]  # a marketplace allows all
    assert settings["hstu"] == {"until": "two_tower", "fresh_share": "0", "two_tower.model.encoder": "hstu"}


def test_overrides_make_valid_configurations(market: Source) -> None:
    unused = Optimisation(epochs=1)
    config = RunConfig(
        name="tiny",
        data="marketplace",
        two_tower=TwoTowerTraining(optimisation=unused),
        preranker=PrerankerTraining(optimisation=unused),
        ranker=RankerTraining(optimisation=unused),
    )
    for rung in rungs():
        if rung.family == "two-tower":
            changes = rung.settings(market)
            assert isinstance(changes, dict)
            changed = override(config, changes)
            assert (changed.until, changed.fresh_share) == ("two_tower", 0)
            assert changed.two_tower.model.encoder == rung.name.partition("-")[0]


def test_spaces_hold_valid_settings_and_start_inside(market: Source) -> None:
    for family, space in SPACES.values():
        found = space(market)
        assert family
        assert isinstance(found, Space)
        for name, values in found.axes.items():
            for value in values:
                dataclasses.replace(found.start, **{name: value})  # raises when it is out of range


def test_without_a_clock_rungs_of_age_are_left_out(market: Source) -> None:
    log = market.log
    ranks = dataclasses.replace(log, time=np.arange(len(log.item)) - np.repeat(log.ptr[:-1], np.diff(log.ptr)))
    source = dataclasses.replace(market, log=ranks, split=leave_one_out(ranks))
    left_out = {rung.name for rung in rungs() if rung.settings(source) == NO_CLOCK}
    assert left_out == {"popularity-window", "popularity-decay", "cooccurrence-decay", "hstu-time"}


@pytest.mark.parametrize(
    ("fit", "configs"),
    [
        (
            Cooccurrence.fit,
            [
                CooccurrenceConfig(),
                CooccurrenceConfig(decay=0.5, history_events=3),
                CooccurrenceConfig(backward=0.5, similarity="pmi"),
                CooccurrenceConfig(window=3, half_life=1e5),
                CooccurrenceConfig(pairs="history", length_power=0.5),
                CooccurrenceConfig(content_share=0.3),
                CooccurrenceConfig(),
            ],
        ),
        (Ials.fit, [IalsConfig(factors=4), IalsConfig(factors=4, decay=0.5), IalsConfig(factors=4, alpha=2.0), IalsConfig(factors=6)]),
        (Popularity.fit, [PopularityConfig(), PopularityConfig(half_life=1e5), PopularityConfig(segment="user.gender")]),
    ],
)
def test_a_model_of_a_sweep_is_the_model_fitted_alone(market: Source, fit: Callable[..., object], configs: list[object]) -> None:
    """What the fitters remember from one configuration to the next must not leak into it."""
    log, split = market.log, market.split
    remembering = fitter(configs[0], log, split)
    for config in configs:
        model, alone = remembering(config), fit(log, split, config)
        np.testing.assert_array_equal(model.score_events(log, split.test), alone.score_events(log, split.test))  # type: ignore[attr-defined]
