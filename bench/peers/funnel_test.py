"""The Python peer answers the tracked toy release as the contract does, or its speed would mean nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.engines import TorchEngine, nearest
from peers.funnel import PeerFunnel, Rates, cooccurring, first_occurrences
from shortlist.export.backends import Graphs, OrtGraphs, TorchGraphs
from shortlist.export.compare import Tolerance, order_violation
from shortlist.export.golden import item_list
from shortlist.export.graphs import NOT_ALLOWED
from shortlist.export.layout import current
from shortlist.export.reader import Bundle, read
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Counter, Ragged
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.testing.requests import random_request
from shortlist.testing.toy import ToyConfig, ToyModelConfig, toy_plan

TOY = Path(__file__).resolve().parents[2] / "models/toy"


@pytest.fixture(scope="module")
def toy() -> Bundle:
    return read(current(TOY))


@pytest.fixture(scope="module", params=["ort", "torch"])
def graphs(request: pytest.FixtureRequest, toy: Bundle) -> Graphs:
    return OrtGraphs(toy.graphs) if request.param == "ort" else TorchEngine(toy_plan().models)


def test_answers_are_those_of_the_reference(toy: Bundle, graphs: Graphs) -> None:
    rng = np.random.default_rng(5)
    requests = [*toy.golden, *(random_request(toy.content, rng, toy.golden[0].time) for _ in range(40))]
    compare(PeerFunnel("id", toy.content, graphs), ReferenceFunnel(toy.content, OrtGraphs(toy.graphs)), requests)


def test_event_times_reach_the_models() -> None:
    plan = toy_plan(ToyConfig(model=ToyModelConfig(encoder="hstu", time_bias=True)))
    graphs, rng = TorchEngine(plan.models), np.random.default_rng(6)
    requests = [random_request(plan.content, rng, 1_700_000_000) for _ in range(20)]
    compare(PeerFunnel("id", plan.content, graphs), ReferenceFunnel(plan.content, TorchGraphs(plan.models)), requests)


def compare(peer: PeerFunnel, reference: ReferenceFunnel, requests: list[wire.RecommendRequest]) -> None:
    row_of = {item: row for row, item in enumerate(reference.content.catalog.ids)}
    for number, request in enumerate(requests):
        want = reference.run(request)
        answer = peer.answer(wire.RecommendRequest.FromString(request.SerializeToString()))
        rows = np.array([row_of[item] for item in item_list(answer.items)], dtype=np.int64)
        scores = np.array(answer.scores, dtype=np.float32)
        assert order_violation(rows, scores, want["final_rows"], want["final_scores"], Tolerance()) is None, f"request {number}"


def test_nearest_leaves_rows_that_are_not_allowed_to_the_end() -> None:
    found = nearest(
        {
            "query_vectors": np.array([[[1.0, 0.0]]], np.float32),
            "item_vectors": np.array([[3.0, 0], [9.0, 0], [4.0, 0]], np.float32),
            "allowed": np.array([[True, False, True]]),
            "k": np.array([3]),
        }
    )
    assert found["rows"].tolist() == [[2, 0, 1]]
    assert found["scores"][0].tolist() == pytest.approx([4.0, 3.0, NOT_ALLOWED])


def test_neighbours_of_newer_events_weigh_more() -> None:
    table = Ragged(np.array([0, 2, 3, 3]), np.array([1, 2, 2]), np.array([1.0, 0.5, 1.0], np.float32))
    rows, scores = cooccurring(table, np.array([0, 1]), 5, 0.5)  # event 1 is the newest: 2 gets 1.0 + 0.5 * 0.5, 1 gets 0.5
    assert rows.tolist() == [2, 1]
    assert scores.tolist() == [1.25, 0.5]
    assert len(cooccurring(table, np.array([-1]), 5, 0.5)[0]) == 0


def test_rates_are_zero_where_nothing_was_counted() -> None:
    rates = Rates(Counter(["a", "b"], Ragged(np.array([0, 2, 2]), np.array([1, 4]), np.array([0.25, 0.5], np.float32))))
    for segment, want in (("a", [0.5, 0.0, 0.25]), ("b", [0, 0, 0]), ("c", [0, 0, 0]), (None, [0, 0, 0])):
        out = np.zeros(3, np.float32)
        rates.fill(out, segment, np.array([4, 7, 1]))
        assert out.tolist() == want


def test_merging_keeps_first_occurrences() -> None:
    assert first_occurrences(np.array([3, 1, 3, 2, 1])).tolist() == [3, 1, 2]
