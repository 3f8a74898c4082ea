from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shortlist.data.dataset import Segments
from shortlist.data.splits import training_mask
from shortlist.errors import BundleError, ConfigError, DataError, SchemaError
from shortlist.models.popularity import Popularity, PopularityConfig
from shortlist.testing.logs import encoded_log, leave_one_out, random_log


def test_counts_training_events_only() -> None:
    log = encoded_log([[0, 1, 2, 3], [1, 0, 2, 3], [1, 4, 2]], items=6)
    split = leave_one_out(log)
    model = Popularity.fit(log, split)
    assert model.scores.tolist() == [2, 3, 0, 0, 0, 0]
    assert [values.tolist() for values in model.top(3)] == [[1, 0, 2], [3, 2, 0]]


def test_half_life_and_window_count_back_from_the_newest_training_event() -> None:
    log = encoded_log([[0, 1, 2, 3, 4]], items=5)
    log = replace(log, time=np.array([0, 10, 20, 90, 91]))
    split = leave_one_out(log)
    assert Popularity.fit(log, split, PopularityConfig(half_life=10)).scores.tolist() == [0.25, 0.5, 1, 0, 0]
    assert Popularity.fit(log, split, PopularityConfig(window=10)).scores.tolist() == [0, 1, 1, 0, 0]


def test_ages_need_a_common_clock() -> None:
    log = random_log()  # times are places in each sequence
    with pytest.raises(DataError, match="events of sample have no age"):
        Popularity.fit(log, leave_one_out(log), PopularityConfig(window=5))


@pytest.mark.parametrize("segment", ["user.gender", "context.surface"])
def test_segments_count_their_own_events_and_share_the_prior(segment: str) -> None:
    log, prior = random_log(), 7.0
    split = leave_one_out(log)
    model = Popularity.fit(log, split, PopularityConfig(segment=segment, prior=prior))
    events = np.flatnonzero(training_mask(log, split))
    user = np.searchsorted(log.ptr, events, side="right") - 1
    ids = log.users["gender"][user] if segment == "user.gender" else log.context["surface"][events]
    vocabulary = (log.schema.user if segment == "user.gender" else log.schema.context)[0].vocabulary
    overall = np.bincount(log.item[events], minlength=30)
    assert model.keys == tuple(sorted(vocabulary))
    assert model.segment_scores is not None
    for key, scores in zip(model.keys, model.segment_scores, strict=True):
        own = np.bincount(log.item[events[ids == 1 + vocabulary.index(key)]], minlength=30)
        np.testing.assert_allclose(scores, own + prior * overall / overall.sum(), rtol=1e-6)

    requests = split.test
    scores = model.score_events(log, requests)
    request_ids = log.users["gender"] if segment == "user.gender" else log.context["surface"][requests]
    for row, value in zip(scores, request_ids, strict=True):
        expected = model.scores if value == 0 else model.segment_scores[model.keys.index(vocabulary[value - 1])]
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("segment", ["", "user.gender"])
def test_table_round_trips(segment: str, tmp_path: Path) -> None:
    log = random_log()
    model = Popularity.fit(log, leave_one_out(log), PopularityConfig(segment=segment))
    model.save(tmp_path / "popular.safetensors")
    loaded = Popularity.load(tmp_path / "popular.safetensors", 30, segment)
    np.testing.assert_array_equal(loaded.scores, model.scores)
    assert loaded.keys == model.keys
    for key in (None, *model.keys):
        for left, right in zip(loaded.top(10, key), model.top(10, key), strict=True):
            np.testing.assert_array_equal(left, right)


def test_table_lists_are_cut_and_best_first() -> None:
    log = random_log()
    tensors = Popularity.fit(log, leave_one_out(log), PopularityConfig(segment="user.gender")).tensors(limit=5)
    assert tensors["indptr"].tolist() == [0, 5, 10]
    assert tensors["keys.bytes"].tobytes() == b"FM"
    assert (np.diff(tensors["default.scores"]) <= 0).all()


def test_recorded_segments_serve_columns_whose_encoding_lost_the_text() -> None:
    log = encoded_log([[0, 1, 5, 5], [2, 3, 5, 5], [2, 3, 5, 5]], items=6)
    log = replace(log, segments={"user.city": Segments(("paris", "rome"), np.array([0, 1, -1]))})
    model = Popularity.fit(log, leave_one_out(log), PopularityConfig(segment="user.city", prior=0.0))
    assert model.segment_scores is not None
    assert model.segment_scores.tolist() == [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 0, 0]]
    assert model.score_events(log, log.ptr[:-1]).tolist() == [*model.segment_scores.tolist(), [1, 1, 2, 2, 0, 0]]


def test_bad_input_is_refused_by_name(tmp_path: Path) -> None:
    log = random_log()
    split = leave_one_out(log)
    with pytest.raises(ConfigError, match="half_life is -1"):
        PopularityConfig(half_life=-1)
    with pytest.raises(SchemaError, match=r"'user.city' is not in the schema. it has user.gender, context.surface"):
        Popularity.fit(log, split, PopularityConfig(segment="user.city"))
    Popularity.fit(log, split).save(tmp_path / "popular.safetensors")
    with pytest.raises(BundleError, match=r"popular.safetensors is no table of popular items for 5 items"):
        Popularity.load(tmp_path / "popular.safetensors", 5)
