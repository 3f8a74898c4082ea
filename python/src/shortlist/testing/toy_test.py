"""The tracked toy release is fresh, and toys of other kinds work."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from shortlist.export import layout, reader, writer
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.golden import RequestMaker, answers
from shortlist.export.reference import ReferenceFunnel
from shortlist.testing.contracts import assert_independent, assert_reproduces
from shortlist.testing.requests import random_request
from shortlist.testing.toy import ToyConfig, ToyModelConfig, toy_models, toy_plan
from shortlist.testing.toy_data import START, ToyDataConfig, toy_dataset

MODEL = Path(__file__).parents[4] / "models" / "toy"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def tracked() -> reader.Bundle:
    return reader.read(layout.current(MODEL))


def test_the_tracked_toy_is_one_small_release(tracked: reader.Bundle) -> None:
    assert layout.releases(MODEL) == [tracked.manifest.release_id]
    assert sum(path.stat().st_size for path in MODEL.rglob("*") if path.is_file()) < 512 * 1024


def test_the_tracked_toy_is_fresh(tracked: reader.Bundle) -> None:
    """Tables and requests are equal byte for byte, and today's models give the stored answers."""
    plan = toy_plan()
    maker = RequestMaker(plan.dataset, plan.content, plan.seed)
    stored = reader.read_files(tracked.directory, tracked.manifest)
    files = writer.content_files(plan.content)
    files[layout.GOLDEN_REQUESTS] = writer.to_json_lines(maker.golden(plan.golden_cases))
    files[layout.WARMUP] = writer.to_json_lines(maker.real(plan.warmup_requests))
    stale = [path for path, data in files.items() if stored.get(path) != data]
    assert not stale, "the generator changed: make models/toy again (models/README.md says how)"
    assert_reproduces(TorchGraphs(plan.models), tracked)


def test_the_tracked_toy_keeps_its_contracts(tracked: reader.Bundle) -> None:
    graphs = OrtGraphs(tracked.graphs)
    assert_independent(graphs, tracked.content.schema)
    assert_reproduces(graphs, tracked)


def test_every_operation_is_used() -> None:
    schema = toy_dataset().schema
    used = {column.op for column in (*schema.user, *schema.context, *schema.item)}
    assert len(used) == 6


@pytest.mark.parametrize(
    "config",
    [
        ToyConfig(data=ToyDataConfig(item_id="int64", items=25, users=5, events=60, seed=1)),
        ToyConfig(data=ToyDataConfig(items=200, history_max_events=30, history_step=30), model=ToyModelConfig(width=16, layers=1, heads=4)),
    ],
)
def test_other_sizes_and_ids(config: ToyConfig) -> None:
    plan = toy_plan(config)
    funnel = ReferenceFunnel(plan.content, TorchGraphs(plan.models))
    rng = np.random.default_rng(0)
    requests = RequestMaker(plan.dataset, plan.content).golden(0) + [random_request(plan.content, rng, START) for _ in range(30)]
    tensors = answers(requests, funnel)
    assert sum(len(tensors[f"{number}/final_rows"]) > 0 for number in range(len(requests))) > len(requests) / 2


def test_equal_seeds_make_equal_models() -> None:
    schema = toy_dataset().schema
    first, second, other = (toy_models(schema, ToyModelConfig(seed=seed)) for seed in (0, 0, 1))
    weights = [model.ranker.out.weight for model in (first, second, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
