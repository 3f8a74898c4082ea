from __future__ import annotations

import numpy as np
import pytest
import torch

from shortlist.testing.logs import leave_one_out, random_log
from shortlist.training import retrieval
from shortlist.training.batches import LogTensors
from shortlist.training.retrieval import final_targets, first_meetings, score_ranks


def test_final_targets_are_drawn_of_the_first_meetings() -> None:
    log = random_log()
    target = leave_one_out(log).test
    every = first_meetings(log, target)
    assert final_targets(log, target, 0, 0).tolist() == every.tolist()
    assert final_targets(log, target, len(every), 0).tolist() == every.tolist()
    some = final_targets(log, target, 10, 0)
    assert len(set(some)) == 10
    assert set(some) <= set(every)
    assert (np.diff(some) > 0).all()
    assert some.tolist() != final_targets(log, target, 10, 1).tolist()


def test_ranks_do_not_depend_on_how_many_rows_are_scored_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log()
    tensors, target = LogTensors(log, torch.device("cpu")), leave_one_out(log).test
    table = np.random.default_rng(0).random((len(log.item), len(log.item_ids)), dtype=np.float32)
    whole = score_ranks(tensors, target, lambda events: table[events])
    monkeypatch.setattr(retrieval, "_score_rows", lambda _: 3)
    assert score_ranks(tensors, target, lambda events: table[events]).tolist() == whole.tolist()
