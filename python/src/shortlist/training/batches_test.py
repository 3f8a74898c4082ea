"""Gathering histories and cutting batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.encode import encode
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.schema import ACTION
from shortlist.training.batches import LogTensors, Sequences, WindowWarmup, bucketed, cut, fresh_start, target_histories, training_sequences

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def log() -> LogTensors:
    return LogTensors(encode(make_marketplace(MarketplaceConfig(users=60, items=100, events=1500))), torch.device("cpu"))


def test_histories_hold_the_events_before_their_target_and_zeros_after(log: LogTensors) -> None:
    target = np.array([log.log.ptr[3], log.log.ptr[4] + 2, log.log.ptr[6] - 1])
    histories = target_histories(log.log, target)
    start, length = torch.from_numpy(histories.start), torch.from_numpy(histories.length)
    index, valid = log.event_index(start, length, int(length.max()))
    columns = log.history(index)
    for b, end in enumerate(target):
        events = slice(int(histories.start[b]), int(end))
        assert histories.start[b] + histories.length[b] == end
        assert columns["id"][b][valid[b]].tolist() == log.log.items["id"][log.log.item[events]].tolist()
        assert columns[ACTION][b][valid[b]].tolist() == log.log.action[events].tolist()
        assert not any(values[b][~valid[b]].any() for values in columns.values())
    assert histories.length[0] == 0


def test_training_sequences_stop_at_the_training_end(log: LogTensors) -> None:
    end = log.log.ptr[1:] - np.minimum(np.diff(log.log.ptr), 2)
    sequences = training_sequences(log.log, end)
    assert (sequences.start + sequences.length == end[sequences.user]).all()
    assert (sequences.start >= log.log.ptr[sequences.user]).all()
    assert set(sequences.user) == set(np.flatnonzero(end > log.log.ptr[:-1]))


def test_fresh_events_are_the_newest_and_never_all(log: LogTensors) -> None:
    end = log.log.ptr[1:]
    start = fresh_start(log.log, end, 0.1)
    count = np.diff(log.log.ptr)
    assert (start[count >= 10] < end[count >= 10]).all()
    assert (start[count >= 1] > log.log.ptr[:-1][count >= 1]).all()
    rare = (end - fresh_start(log.log, end, 0.01)).sum()  # far less than an event each
    assert rare == pytest.approx(0.01 * count.sum(), rel=0.5)
    assert (fresh_start(log.log, end, 0.0) == end).all()


def targets(sequences: Sequences) -> list[int]:
    """The events that stretches teach: all but the first, and the first where it begins a life."""
    parts = zip(sequences.start, sequences.length, sequences.whole, strict=True)
    return sorted(event for start, length, whole in parts for event in range(start + (not whole), start + length))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.booleans()), min_size=1, max_size=8), st.integers(1, 45))
def test_cut_stretches_teach_every_event_once(stretches: list[tuple[int, bool]], window: int) -> None:
    length = np.array([count for count, _ in stretches])
    begin = 10 + np.cumsum(length) - length
    sequences = Sequences(np.arange(len(length)), begin, length, np.array([whole for _, whole in stretches]))
    pieces = cut(sequences, window)
    assert targets(pieces) == targets(sequences)
    assert (pieces.length <= window + 1).all()
    assert (pieces.length >= 1).all()
    assert set(pieces.user) == set(sequences.user)


def test_early_epochs_see_short_windows_and_later_ones_the_whole(log: LogTensors) -> None:
    sequences = training_sequences(log.log, log.log.ptr[1:])
    warmup = WindowWarmup(sequences, (4, 9))
    longest = [warmup.sequences.length[warmup.chosen(epoch)].max() for epoch in range(4)]
    assert longest == [5, 10, sequences.length.max(), sequences.length.max()]
    last = warmup.chosen(2)
    assert (warmup.sequences.start[last] == sequences.start).all()
    assert (WindowWarmup(sequences, ()).chosen(0) == np.arange(len(sequences))).all()


def test_batches_hold_every_sequence_once_within_the_size(log: LogTensors) -> None:
    length = np.random.default_rng(0).integers(1, 80, 500)
    batches = bucketed(length, 400, (1, 2))
    assert sorted(np.concatenate(batches).tolist()) == list(range(500))
    assert all(len(batch) * length[batch].max() <= 400 for batch in batches)
    padding = sum(len(batch) * length[batch].max() for batch in batches) / length.sum()
    assert padding < 1.35  # lengths within a batch differ by the jitter alone, but for the short ones
    again = bucketed(length, 400, (1, 2))
    assert all((a == b).all() for a, b in zip(batches, again, strict=True))
    assert any(len(a) != len(b) or (a != b).any() for a, b in zip(batches, bucketed(length, 400, (1, 3)), strict=False))


def test_a_sequence_larger_than_a_batch_gets_its_own() -> None:
    assert [batch.tolist() for batch in bucketed(np.array([900]), 400, (0,))] == [[0]]
