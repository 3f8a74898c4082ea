from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from shortlist.data.dataset import EncodedLog, Split
from shortlist.errors import BundleError, ConfigError
from shortlist.models import cooccurrence
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.testing.logs import encoded_log, leave_one_out, random_log


def reference_weights(log: EncodedLog, split: Split, config: CooccurrenceConfig) -> np.ndarray:
    """The definition in `CooccurrenceConfig`, as loops."""
    forward = np.zeros((len(log.item_ids), len(log.item_ids)))
    for begin, end in zip(log.ptr[:-1], split.train_end, strict=True):
        for early in range(begin, end):
            for late in range(early + 1, min(early + config.window + 1, end)):
                forward[log.item[early], log.item[late]] += config.gap_decay ** (late - early - 1)
    counts = forward + config.backward * forward.T
    with np.errstate(divide="ignore", invalid="ignore"):
        weights = counts / (counts.sum(1, keepdims=True) * counts.sum(0, keepdims=True) ** config.popularity_power)
    np.fill_diagonal(weights, 0)
    return np.nan_to_num(weights)


@pytest.mark.parametrize(
    "config",
    [
        CooccurrenceConfig(),
        CooccurrenceConfig(window=2, backward=0.0, popularity_power=0.0, gap_decay=1.0),
        CooccurrenceConfig(backward=1.0, popularity_power=1.0),
    ],
)
def test_weights_are_the_definition(config: CooccurrenceConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cooccurrence, "_PAIRS_AT_ONCE", 50)  # many slices, cutting through users
    log = random_log()
    split = leave_one_out(log)
    model = Cooccurrence.fit(log, split, config)
    dense = np.zeros((30, 30))
    dense[np.repeat(np.arange(30), np.diff(model.indptr)), model.rows] = model.weights
    np.testing.assert_allclose(dense, reference_weights(log, split, config), rtol=1e-6)


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
