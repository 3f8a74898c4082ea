"""Two processes train as one does: the same losses step by step, one writer, and errors that end all."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from shortlist.errors import CheckpointError, ConfigError
from shortlist.training import parallel, run
from shortlist.training.config import RunConfig, override
from shortlist.training.run_test import CONFIG

torch.set_num_threads(1)

# Without dropout, whose draws depend on the shape of what a process holds.
# Small batches: some have fewer sequences than there are processes.
SMALL: RunConfig = override(
    CONFIG,
    {
        "data": "marketplace:users=60,items=100,events=1200,logged_requests=150",
        "two_tower.model.dropout": "0",
        "two_tower.low_precision": "false",
        "two_tower.batch_events": "50",
        "two_tower.optimisation.epochs": "2",
        "preranker.optimisation.epochs": "0",
        "ranker.optimisation.epochs": "0",
    },
)


def losses(folder: Path, stage: str) -> list[float]:
    lines = [json.loads(line) for line in (folder / "logs" / f"{stage}.jsonl").read_text().splitlines()]
    return [line[name] for line in lines for name in ("loss", "train_loss") if name in line]


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    run.load_and_train(SMALL, tmp_path / "one")
    parallel.run(2, run.load_and_train, SMALL, tmp_path / "two")
    one, two = tmp_path / "one" / SMALL.name, tmp_path / "two" / SMALL.name
    assert len(losses(one, "two_tower")) >= 3, "step 20 and both epochs"
    assert losses(two, "two_tower") == pytest.approx(losses(one, "two_tower"), rel=1e-5)
    ours, theirs = load_file(two / "two_tower.safetensors"), load_file(one / "two_tower.safetensors")
    # What is added to every item's vector changes no softmax: this bias has no gradient, and Adam makes steps of its rounding.
    weights = {name: value for name, value in theirs.items() if name != "item_mlp.down.bias"}
    for name, value in weights.items():
        torch.testing.assert_close(ours[name], value, rtol=0.0, atol=1e-5, msg=name)
    assert not all(torch.equal(ours[name], value) for name, value in theirs.items()), "one process did it all"
    records = [run.load_run(folder).record for folder in (one, two)]
    assert records[1]["metrics"].keys() == records[0]["metrics"].keys()
    assert records[1]["stages"]["two_tower"]["step"] == records[0]["stages"]["two_tower"]["step"]


def fail_in_the_last(what: str) -> None:
    if parallel.rank() == 1:
        raise CheckpointError(f"{what} is lost", fix="find it")
    parallel.from_first(lambda: time.sleep(60))  # an endless step of the other one
    parallel.from_first(lambda: None)


def test_an_error_of_one_process_ends_all_and_is_raised_as_it_is() -> None:
    with pytest.raises(CheckpointError, match=r"weights is lost. find it"):
        parallel.run(2, fail_in_the_last, "weights")


def test_the_draws_of_a_step_depend_on_seed_and_step_alone() -> None:
    def drawn(seed: int, step: int) -> list[int]:
        parallel.seed_step(seed, step)
        return torch.randint(1 << 60, (2,)).tolist()

    torch.rand(7)
    assert drawn(3, 5) == drawn(3, 5)
    assert len({tuple(drawn(seed, step)) for seed in range(10) for step in range(10)}) == 100


def test_shares_are_parts_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = np.arange(7)
    assert parallel.share(batch) is batch
    monkeypatch.setattr(parallel, "size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(parallel, "rank", lambda rank=rank: rank)
        shares.append(parallel.share(batch))
    assert sorted(np.concatenate(shares)) == list(batch)
    assert {len(share) for share in shares} == {2, 3}


def test_no_process_cannot_train() -> None:
    with pytest.raises(ConfigError, match="0 processes"):
        run.train("ml-1m", None, Path("x"), processes=0)


def test_alone_nothing_is_exchanged() -> None:
    model = torch.nn.Linear(2, 1)
    assert parallel.add_gradients(model.parameters(), 1.5, 2.0) == [1.5, 2.0]
    assert model.weight.grad is None
    assert parallel.from_first(lambda: 4) == 4
