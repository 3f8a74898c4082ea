from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import training_mask
from shortlist.errors import BundleError, ConfigError, DataError
from shortlist.models import item_similarity, pair_counts
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.models.pair_counts import count_pairs, merge_counts
from shortlist.testing.logs import encoded_log, leave_one_out, random_log


def reference_counts(log: EncodedLog, split: Split, config: CooccurrenceConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """The counting of `CooccurrenceConfig`, as loops: pairs, sums of rows and columns, and the whole."""
    items = len(log.item_ids)
    now = max(int(log.time[begin:end].max()) for begin, end in zip(log.ptr[:-1], split.train_end, strict=True))
    fresh = np.exp2((log.time - now) / config.half_life) if config.half_life else np.ones(len(log.item))
    pairs, taken, users = np.zeros((items, items)), np.zeros(items), 0.0
    for begin, end in zip(log.ptr[:-1], split.train_end, strict=True):
        weight = float(end - begin) ** -config.length_power
        users += weight
        if config.pairs == "history":
            newest = {int(log.item[event]): weight * fresh[event] for event in range(begin, end)}
            for a, of_a in newest.items():
                taken[a] += of_a
                for b, of_b in newest.items():
                    pairs[a, b] += np.sqrt(of_a * of_b) * (a != b)
            continue
        for early in range(begin, end):
            for late in range(early + 1, min(early + config.window + 1, end)):
                count = weight * fresh[late] * config.gap_decay ** (late - early - 1)
                pairs[log.item[early], log.item[late]] += count
                pairs[log.item[late], log.item[early]] += config.backward * count
    if config.pairs == "history":
        return pairs, taken, taken, users
    return pairs, pairs.sum(1), pairs.sum(0), pairs.sum()


def reference_weights(log: EncodedLog, split: Split, config: CooccurrenceConfig) -> np.ndarray:
    """The weighing of `CooccurrenceConfig`, item by item."""
    pairs, row, column, total = reference_counts(log, split, config)
    weights = np.zeros_like(pairs)
    for a, b in np.argwhere(pairs > 0):
        count = pairs[a, b]
        similarity = {
            "conditional": count / row[a],
            "cosine": count / np.sqrt(row[a] * column[b]),
            "jaccard": count / (row[a] + column[b] - count),
            "pmi": max(0.0, np.log(count * total / (row[a] * column[b]))),
        }[config.similarity]
        weights[a, b] = similarity * count / (count + config.shrinkage) / column[b] ** config.popularity_power * (a != b)
    return weights


def dense(model: Cooccurrence, items: int) -> np.ndarray:
    weights = np.zeros((items, items))
    weights[np.repeat(np.arange(items), np.diff(model.indptr)), model.rows] = model.weights
    return weights


def timed_log(*, repeats: bool = False) -> EncodedLog:
    """A log whose times are a common clock."""
    random = np.random.default_rng(5)
    log = random_log()
    log = replace(log, time=np.sort(random.integers(0, 1000, len(log.time))))
    return replace(log, item=random.integers(0, 30, len(log.item))) if repeats else log


CONFIGS = [
    CooccurrenceConfig(),
    CooccurrenceConfig(window=2, backward=0.0, popularity_power=0.0, gap_decay=1.0),
    CooccurrenceConfig(backward=1.0, popularity_power=1.0),
    CooccurrenceConfig(similarity="cosine", popularity_power=0.0, half_life=100.0),
    CooccurrenceConfig(similarity="jaccard", length_power=0.5, backward=1.0),
    CooccurrenceConfig(similarity="pmi", shrinkage=3.0),
    CooccurrenceConfig(pairs="history", similarity="cosine", popularity_power=0.0),
    CooccurrenceConfig(pairs="history", similarity="jaccard", half_life=100.0),
    CooccurrenceConfig(pairs="history", similarity="conditional", length_power=1.0, popularity_power=0.5),
    CooccurrenceConfig(pairs="history", similarity="pmi", shrinkage=0.5, half_life=300.0, length_power=0.5),
]


@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("repeats", [False, True])
def test_weights_are_the_definition(config: CooccurrenceConfig, repeats: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_counts, "_PAIRS_AT_ONCE", 50)  # many shards, and slices cutting through users
    monkeypatch.setattr(item_similarity, "_ENTRIES_AT_ONCE", 40)
    log = timed_log(repeats=repeats)
    split = leave_one_out(log)
    model = Cooccurrence.fit(log, split, config)
    np.testing.assert_allclose(dense(model, 30), reference_weights(log, split, config), rtol=1e-6, atol=1e-9)


def test_the_forms_of_three_histories_by_hand() -> None:
    """Users {0,1}, {0,1}, {0,2} train: c(0)=3, c(1)=2, c(2)=1, c(0,1)=2, c(0,2)=1."""
    log = encoded_log([[0, 1, 3, 3], [1, 0, 3, 3], [2, 0, 3, 3]], items=4)
    expected = {
        "conditional": {(0, 1): 2 / 3, (1, 0): 1, (0, 2): 1 / 3, (2, 0): 1},
        "cosine": {(0, 1): 2 / 6**0.5, (1, 0): 2 / 6**0.5, (0, 2): 1 / 3**0.5, (2, 0): 1 / 3**0.5},
        "jaccard": {(0, 1): 2 / 3, (1, 0): 2 / 3, (0, 2): 1 / 3, (2, 0): 1 / 3},
        "pmi": {},  # log(2 * 3 / (3 * 2)) = 0: everybody took item 0, so it says nothing
    }
    for form, weights in expected.items():
        config = CooccurrenceConfig(pairs="history", similarity=form, popularity_power=0.0)  # type: ignore[arg-type]
        found = dense(Cooccurrence.fit(log, leave_one_out(log), config), 4)
        assert {(int(a), int(b)): found[a, b] for a, b in np.argwhere(found)} == pytest.approx(weights), form


@pytest.mark.parametrize("pairs", ["window", "history"])
def test_counts_of_shards_add_up_to_those_of_the_log(pairs: str) -> None:
    log = timed_log(repeats=True)
    split = leave_one_out(log)
    config = CooccurrenceConfig(pairs=pairs, half_life=50.0, length_power=0.5)  # type: ignore[arg-type]
    whole = count_pairs(log, split, config)
    merged = merge_counts(count_pairs(log, split, config, users=users) for users in (slice(0, 7), slice(7, 8), slice(8, None)))
    np.testing.assert_allclose(merged.pairs.toarray(), whole.pairs.toarray(), rtol=1e-12)
    np.testing.assert_allclose(merged.taken, whole.taken, rtol=1e-12)
    assert merged.users == pytest.approx(whole.users)


def test_whole_histories_are_cut_at_the_newest_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_counts, "LONGEST_HISTORY", 2)
    log = encoded_log([[0, 1, 2, 1, 3, 3]], items=4)  # trains on 0, 1, 2, 1: the newest two distinct items are 2 and 1
    found = dense(Cooccurrence.fit(log, leave_one_out(log), CooccurrenceConfig(pairs="history", popularity_power=0.0)), 4)
    assert {(int(a), int(b)): found[a, b] for a, b in np.argwhere(found)} == {(1, 2): 1.0, (2, 1): 1.0}


@given(seed=st.integers(0, 1000), pairs=st.sampled_from(["window", "history"]), half_life=st.sampled_from([0.0, 40.0]))
@settings(max_examples=20, deadline=None)
def test_nothing_from_the_held_out_events_on_is_used(seed: int, pairs: str, half_life: float) -> None:
    """Whatever happens after training ends and from a target on, the table and the target's scores stay the same."""
    log, random = timed_log(), np.random.default_rng(seed)
    split = leave_one_out(log)
    config = CooccurrenceConfig(pairs=pairs, half_life=half_life)  # type: ignore[arg-type]
    held_out = ~training_mask(log, split)
    changed = replace(
        log,
        item=np.where(held_out, random.integers(0, 30, len(log.item)), log.item),
        time=np.where(held_out, random.integers(1000, 2000, len(log.time)), log.time),
    )
    first, second = Cooccurrence.fit(log, split, config), Cooccurrence.fit(changed, split, config)
    for one, other in zip(first.tensors().values(), second.tensors().values(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(first.score_events(log, split.validation), second.score_events(changed, split.validation))


def test_ages_need_a_common_clock() -> None:
    log = random_log()  # times are places in each sequence
    with pytest.raises(DataError, match="events of sample have no age"):
        Cooccurrence.fit(log, leave_one_out(log), CooccurrenceConfig(half_life=1.0))


def test_neighbours_are_the_heaviest_first_and_lower_row_first_on_ties() -> None:
    # After item 0 come 3, 2 and 1 equally often in the training part, 4 twice.
    log = encoded_log([[0, later, 5, 6] for later in (3, 2, 1, 4, 4)], items=7)
    config = CooccurrenceConfig(window=1, backward=0.0, popularity_power=0.0, neighbours=3)
    model = Cooccurrence.fit(log, leave_one_out(log), config)
    assert model.rows[: model.indptr[1]].tolist() == [4, 1, 2]
    assert model.weights[: model.indptr[1]] == pytest.approx([0.4, 0.2, 0.2])


def test_scores_are_the_bundle_page_bit_for_bit() -> None:
    log = random_log(users=60, items=40)
    model = Cooccurrence.fit(log, leave_one_out(log), CooccurrenceConfig(history_events=6, decay=0.7))
    random = np.random.default_rng(1)
    for _ in range(20):
        history = random.integers(-1, 40, random.integers(0, 12))  # repeats and unknown items
        total = np.zeros(40)
        for age, row in enumerate(history[::-1][:6].tolist()):
            for place in range(model.indptr[row], model.indptr[row + 1]) if row >= 0 else ():
                total[model.rows[place]] += 0.7**age * float(model.weights[place])
        np.testing.assert_array_equal(model.scores(history), total.astype(np.float32))


def test_batched_scores_use_the_events_before_the_target() -> None:
    log = random_log()
    split = leave_one_out(log)
    model = Cooccurrence.fit(log, split, CooccurrenceConfig(history_events=4))
    targets = np.concatenate([split.test, log.ptr[:-1]])  # the first event of a user has no history
    for event, scores in zip(targets, model.score_events(log, targets), strict=True):
        begin = log.ptr[np.searchsorted(log.ptr, event, side="right") - 1]
        np.testing.assert_array_equal(scores, model.scores(log.item[begin:event]))
    assert not model.score_events(log, log.ptr[:1]).any()


def test_finds_what_follows() -> None:
    log = encoded_log([[a, b, (b + 1) % 12, (b + 2) % 12] for a, b in pairwise([*range(12), 0])] * 3, items=12)
    model = Cooccurrence.fit(log, leave_one_out(log), CooccurrenceConfig(backward=0.0))
    assert [int(model.scores([row]).argmax()) for row in range(12)] == [(row + 1) % 12 for row in range(12)]


def test_fit_twice_gives_the_same_bytes_and_the_table_round_trips(tmp_path: Path) -> None:
    log = random_log()
    for name in ("first", "second"):
        Cooccurrence.fit(log, leave_one_out(log)).save(tmp_path / name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    model = Cooccurrence.fit(log, leave_one_out(log))
    loaded = Cooccurrence.load(tmp_path / "first", history_events=model.history_events, decay=model.decay)
    np.testing.assert_array_equal(loaded.scores([3, 4, 5]), model.scores([3, 4, 5]))


def test_bad_input_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"CooccurrenceConfig.decay is 1.5"):
        CooccurrenceConfig(decay=1.5)
    with pytest.raises(ConfigError, match=r"CooccurrenceConfig.window is 0"):
        CooccurrenceConfig(window=0)
    with pytest.raises(ConfigError, match=r"CooccurrenceConfig.similarity is 'dice'"):
        CooccurrenceConfig(similarity="dice")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"CooccurrenceConfig.half_life is nan"):
        CooccurrenceConfig(half_life=float("nan"))
    path = tmp_path / "table.safetensors"
    log = random_log()
    Cooccurrence.fit(log, leave_one_out(log)).save(path)
    tensors = load_file(path)
    for name, change in {
        "rows": tensors["rows"] + 1,
        "indptr": tensors["indptr"] + 1,
        "weights": tensors["weights"] * np.float32(np.nan),
    }.items():
        save_file(tensors | {name: change}, path)
        with pytest.raises(BundleError, match=r"table.safetensors contradicts itself"):
            Cooccurrence.load(path, history_events=1, decay=1.0)
