"""One suite, three runtimes: every case on PyTorch (the reference), on Python ONNX Runtime and on shortlistd, at every stage.

PyTorch against ONNX Runtime compares each stage fed with PyTorch's outputs of the stage before, then whole requests. PyTorch against
the service compares whole requests through gRPC with explanations of every candidate, and each graph alone through the Open
Inference Protocol, called with the stock client.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as oip

from cases.worlds import Case, load_cases
from conftest import TOYS
from harness import Server
from parity.compare import Tally, compare_answer
from shortlist.export import layout, reader
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.compare import Tolerance
from shortlist.export.golden import RequestMaker
from shortlist.export.manifest import GRAPHS
from shortlist.export.parity import check_parity
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.release import ReleasePlan
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.testing.requests import random_request
from shortlist.testing.toy import toy_plan
from shortlist.testing.toy_data import START

TOLERANCE = Tolerance()
TALLIES: list[Tally] = []


@dataclass(frozen=True)
class World:
    """One world's cases with PyTorch's trace of each, its release and its server."""

    name: str
    cases: list[Case]
    funnel: ReferenceFunnel
    traces: list[dict[str, Any]]
    model: Path
    server: Server


@pytest.fixture(scope="module", params=["small", "medium", "timed"])
def world(request: pytest.FixtureRequest) -> World:
    name = request.param
    plan = toy_plan(TOYS[name])
    funnel = ReferenceFunnel(plan.content, TorchGraphs(plan.models))
    cases = timed_cases(plan) if name == "timed" else [case for case in load_cases() if case.world == name]
    traces = [funnel.run(case.request) for case in cases]
    return World(name, cases, funnel, traces, request.getfixturevalue(f"{name}_model"), request.getfixturevalue(f"{name}_server"))


def timed_cases(plan: ReleasePlan) -> list[Case]:
    """The other worlds' cases have no event times: edges, users of the data set, and random histories over all ages."""
    rng = np.random.default_rng(0)
    requests = RequestMaker(plan.dataset, plan.content, seed=1).golden(80) + [random_request(plan.content, rng, START) for _ in range(80)]
    return [
        Case(f"timed {number}", "timed", "Rank" if request.HasField("candidates") else "Recommend", request)
        for number, request in enumerate(requests)
    ]


@pytest.fixture(scope="module", autouse=True)
def report() -> Iterator[None]:
    """Print the verdicts, and write them where $SHORTLIST_PARITY_REPORT says."""
    yield
    pytest.parity_verdicts = [tally.verdict() for tally in TALLIES]  # type: ignore[attr-defined]  # read by conftest
    if path := os.environ.get("SHORTLIST_PARITY_REPORT"):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        tallies = [tally.report() for tally in TALLIES]
        passed = bool(tallies) and not any(tally.violations for tally in TALLIES)
        Path(path).write_text(json.dumps({"passed": passed, "tolerance": vars(TOLERANCE), "comparisons": tallies}, indent=1) + "\n")


def tally_of(world: World, pair: str) -> Tally:
    tally = Tally(f"{world.name}, {pair}", TOLERANCE)
    TALLIES.append(tally)
    return tally


def assert_equal(tally: Tally) -> None:
    assert not tally.violations, f"{len(tally.violations)} violations, the first:\n" + "\n".join(tally.violations[:10])


def test_pytorch_and_python_onnx_runtime(world: World) -> None:
    """Every golden tensor of every case, stage by stage and end to end."""
    tally = tally_of(world, "PyTorch -> Python ONNX Runtime")
    bundle = reader.read(layout.current(world.model))
    served = ReferenceFunnel(bundle.content, OrtGraphs(bundle.graphs))
    stored = {f"{number}/{name}": value for number, trace in enumerate(world.traces) for name, value in trace.items()}
    found = check_parity(served, [case.request for case in world.cases], stored, TOLERANCE)
    tally.cases, tally.tensors = found.cases, len(stored)
    tally.values = sum(int(np.size(value)) for value in stored.values())
    tally.worst, tally.worst_at = found.worst_ratio, found.worst_at
    tally.violations = [str(violation) for violation in found.violations]
    assert_equal(tally)


def test_pytorch_and_service(world: World) -> None:
    """Whole requests through gRPC: retrieval lists, counters, preranking, logits, scores, order, predictions."""
    tally = tally_of(world, "PyTorch -> shortlistd")
    ids = world.funnel.content.catalog.ids
    row_of = {item: row for row, item in enumerate(ids)}
    with grpc.insecure_channel(world.server.data, [("grpc.max_receive_message_length", 64 << 20)]) as channel:
        for case, want in zip(world.cases, world.traces, strict=True):
            method = channel.unary_unary(
                f"/shortlist.v1.RankingService/{case.method}",
                request_serializer=wire.RecommendRequest.SerializeToString,
                response_deserializer=wire.RecommendResponse.FromString,
            )
            try:
                answer = method(explained(case.request, [ids[row] for row in want["merged_rows"].tolist()]), timeout=30.0)
            except grpc.RpcError as error:
                tally.check(case.name, "call", f"{error.code().name}: {error.details()}")
                continue
            compare_answer(tally, case.name, case.method, answer, want, row_of)
    assert tally.cases == len(world.cases) or tally.violations
    assert_equal(tally)


def explained(request: wire.RecommendRequest, items: list[int | str]) -> wire.RecommendRequest:
    """The request, asking for the story of every item."""
    asked = wire.RecommendRequest()
    asked.CopyFrom(request)
    listed = asked.debug.explain.strings if items and isinstance(items[0], str) else asked.debug.explain.ints
    listed.extend(items)
    return asked


def test_pytorch_and_service_graph_by_graph(world: World) -> None:
    """Each graph on PyTorch's own inputs, called by tritonclient."""
    tally = tally_of(world, "PyTorch -> shortlistd, graph by graph")
    catalog = {f"item_{name}": values for name, values in world.funnel.content.catalog.inputs.items()}
    with oip.InferenceServerClient(world.server.data) as client:
        takes = {graph: [tensor.name for tensor in client.get_model_metadata(graph).inputs] for graph in GRAPHS}
        got = infer(client, "item_encoder", catalog)
        tally.tensor("the catalog", "item_encoder", got["retrieval_vector"], world.funnel.item_vectors)
        tally.tensor("the catalog", "item_encoder", got["ranker_token"], world.funnel.item_tokens)
        for case, want in zip(world.cases, world.traces, strict=True):
            tally.cases += 1
            for graph, inputs, outputs in graph_calls(world, case, want):
                got = infer(client, graph, {name: inputs[name] for name in takes[graph]})
                for name, value in outputs.items():
                    tally.tensor(case.name, graph, got[name], value)
                if graph == "index":  # near ties may swap rows, so each row is held to its own score
                    found = inputs["item_vectors"][got["rows"][0]] @ inputs["query_vectors"][0, 0]
                    tally.tensor(case.name, "index rows", got["scores"][0], found)
    assert_equal(tally)


def graph_calls(world: World, case: Case, want: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Graph, inputs (of which it takes what it declares) and PyTorch's outputs, for every stage that the case ran."""
    funnel = world.funnel
    assembled = {name.removeprefix("in."): value for name, value in want.items() if name.startswith("in.")}
    read = {"state": want["state"], "recent": want["recent"]}
    kept = {name: want[f"sequence_{name}"] for name in ("keys", "values")}
    yield "sequence_encoder", assembled | funnel.graphs.no_past("sequence_encoder", 1), read | kept
    yield "query_encoder", assembled | read, {"query_vectors": want["query_vectors"]}
    items = len(funnel.item_vectors)
    index = {
        "query_vectors": want["query_vectors"],
        "item_vectors": funnel.item_vectors,
        "allowed": np.ones((1, items), np.bool_),
        "k": np.array([min(50, items)]),
    }
    yield "index", index, {"scores": funnel.graphs.run("index", index)["scores"]}
    if len(want["merged_rows"]) == 0:
        return
    merged = want["merged_rows"]
    preranker = {
        "query_vectors": want["query_vectors"],
        "retrieval_vector": funnel.item_vectors[merged][np.newaxis],
        "cross": want["cross"][np.newaxis],
    }
    yield "preranker", preranker, {"score": want["prerank_score"][np.newaxis]}
    no_past = funnel.graphs.no_past("history_encoder", 1)
    yield "history_encoder", assembled | no_past, {"keys": want["keys"], "values": want["values"]}
    place = {row: position for position, row in enumerate(merged.tolist())}
    kept = np.array([place[row] for row in want["kept_rows"].tolist()])
    candidates = {
        "keys": want["keys"],
        "values": want["values"],
        "ranker_token": funnel.item_tokens[want["kept_rows"]][np.newaxis],
        "cross": want["cross"][kept][np.newaxis],
        "prerank_score": want["prerank_score"][kept][np.newaxis],
    }
    yield "ranker", assembled | candidates, {"logits": want["logits"][np.newaxis]}


def infer(client: oip.InferenceServerClient, graph: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """All outputs of a graph by name."""
    kinds = {np.dtype(np.float32): "FP32", np.dtype(np.int64): "INT64", np.dtype(np.bool_): "BOOL"}
    sent = []
    for name, value in inputs.items():
        tensor = oip.InferInput(name, list(value.shape), kinds[value.dtype])
        tensor.set_data_from_numpy(np.ascontiguousarray(value))
        sent.append(tensor)
    answer = client.infer(graph, sent, client_timeout=30.0)
    return {output.name: answer.as_numpy(output.name) for output in answer.get_response().outputs}
