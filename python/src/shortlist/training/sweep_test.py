"""Sweeps: which trials there are, what a failing one does, and the same work on Ray's local cluster."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.encode import encode
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.data.splits import leave_one_out
from shortlist.errors import ConfigError, DataError
from shortlist.models.cooccurrence import CooccurrenceConfig
from shortlist.models.pair_counts import count_pairs
from shortlist.training import cluster
from shortlist.training import sweep as sweeps
from shortlist.training.cluster import map_tasks
from shortlist.training.config import RunConfig
from shortlist.training.run import write_record
from shortlist.training.sharded_counts import count_shards, user_shards
from shortlist.training.sweep import combinations, sweep, trial_name

LOG = encode(make_marketplace(MarketplaceConfig(users=40, items=100, events=900, logged_requests=0)))
SPLIT = leave_one_out(LOG)


def test_every_combination_is_a_trial_and_names_tell_them_apart() -> None:
    every = combinations({"two_tower.optimisation.learning_rate": "1e-3, 2e-3", "seed": "0,1,2"})
    assert len(every) == 6
    assert {"two_tower.optimisation.learning_rate": "2e-3", "seed": "1"} in every
    names = {trial_name(change) for change in every}
    assert len(names) == 6
    assert "learning_rate=2e-3_seed=1" in names
    assert trial_name({"data": "x:../a b"}) == "data=x-..-a-b"


def test_drawn_trials_are_some_of_all_and_the_same_again() -> None:
    space = {"a": "1,2,3", "b": "1,2,3"}
    some = combinations(space, 4, seed=1)
    assert len(some) == 4
    assert all(change in combinations(space) for change in some)
    assert some == combinations(space, 4, seed=1) != combinations(space, 4, seed=2)
    assert len(combinations(space, 99)) == 9


@pytest.mark.parametrize(
    ("settings", "match"), [({"seed": ""}, "no values"), ({"seed": "1,1"}, "twice"), ({"seeds": "1"}, "no field seeds")]
)
def test_settings_are_checked_before_anything_is_trained(settings: dict[str, str], match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        sweep("ml-100k", "", tmp_path, settings)
    assert not list(tmp_path.iterdir())


def test_trials_are_sorted_and_a_failing_one_does_not_end_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(config: RunConfig, out: Path) -> None:
        if config.seed == 1:
            raise DataError("no such data")
        write_record(out / config.name, {"stages": {"two_tower": {"best": 0.1 * config.seed}}})

    monkeypatch.setattr(sweeps, "load_and_train", train)
    found = sweep("ml-100k", "", tmp_path, {"seed": "1,2,3"})
    assert [trial.settings["seed"] for trial in found] == ["3", "2", "1"]
    assert [trial.error for trial in found] == ["", "", "no such data"]
    assert found[0].folder == tmp_path / "ml-100k-sweep" / "seed=3"
    assert found[0].values == {"two_tower": pytest.approx(0.3)}


@settings(deadline=None, max_examples=25)
@given(shards=st.integers(1, 60), history=st.booleans(), half_life=st.sampled_from([0.0, 1e5]))
def test_counts_do_not_depend_on_the_shards(shards: int, history: bool, half_life: float) -> None:
    config = CooccurrenceConfig(pairs="history" if history else "window", half_life=half_life)
    whole, parts = count_pairs(LOG, SPLIT, config), count_shards(LOG, SPLIT, config, shards=shards)
    assert np.allclose(whole.pairs.toarray(), parts.pairs.toarray())
    assert np.allclose(whole.taken, parts.taken)
    assert parts.users == pytest.approx(whole.users)


@settings(deadline=None, max_examples=25)
@given(shards=st.integers(1, 60))
def test_shards_hold_every_user_once(shards: int) -> None:
    slices = user_shards(LOG, SPLIT, shards)
    assert 1 <= len(slices) <= shards
    assert np.concatenate([np.arange(len(LOG.user_ids))[users] for users in slices]).tolist() == list(range(len(LOG.user_ids)))


def test_without_ray_one_worker_works_and_more_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda name: None)
    assert map_tasks(_scaled, 10, [1, 2]) == [10, 20]
    with pytest.raises(ConfigError, match=r"shortlist\[scale\]"):
        map_tasks(_scaled, 10, [1, 2], workers=2)
    with pytest.raises(ConfigError, match="0 workers"):
        map_tasks(_scaled, 10, [1], workers=0)


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed: pip install 'shortlist[scale]'")
def test_ray_counts_as_one_process_does_and_raises_what_a_task_raised() -> None:
    import ray

    try:
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    except Exception as error:  # Ray raises no kind of its own
        pytest.skip(f"Ray's local cluster did not start on this machine: {error}")
    try:
        config = CooccurrenceConfig()
        ours, alone = (count_shards(LOG, SPLIT, config, shards=4, workers=workers) for workers in (2, 1))
        assert (ours.pairs != alone.pairs).nnz == 0
        with pytest.raises(DataError, match="the second"):
            map_tasks(_fail_at, 1, [0, 1], workers=2)
    finally:
        ray.shutdown()


def _scaled(shared: int, argument: int) -> int:
    return shared * argument


def _fail_at(shared: int, argument: int) -> Sequence[int]:
    if argument == shared:
        raise DataError("the second task fails")
    return [argument]
