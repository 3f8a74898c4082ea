"""Graphs of neighbours: built by hnswlib and read back whole, refused when they are damaged or find too little."""

from __future__ import annotations

from dataclasses import replace
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import json_format

from shortlist.errors import BundleError, ConfigError, GateError
from shortlist.export import layout, reader, release, writer
from shortlist.export.golden import RequestMaker
from shortlist.export.hnsw import NONE, Graph, HnswConfig, build, graph_of, recall_of
from shortlist.export.hnsw_draft import add_hnsw
from shortlist.export.tables import Floats
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb

SOUND = Graph(
    np.array([0, 1, 0, 0], np.uint8),
    np.array([[1, NONE, NONE, NONE], [0, 2, 3, NONE], [1, 3, NONE, NONE], [1, 2, 0, NONE]], np.int32),
    np.array([[NONE, NONE]], np.int32),
    1,
)


def vectors(items: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal((items, 16), dtype=np.float32)


def walk(graph: Graph, x: Floats, query: Floats, k: int, ef: int) -> list[int]:
    """The search of the paper, as plainly as it can be said."""
    score = x @ query
    at, slots = graph.entry, np.concatenate([[0], np.cumsum(graph.levels, dtype=np.int64)])
    for layer in range(int(graph.levels[at]), 0, -1):
        while True:
            near = [row for row in graph.upper_links[slots[at] + layer - 1].tolist() if row != NONE]
            best = max(near, key=lambda row: score[row], default=at)
            if score[best] <= score[at]:
                break
            at = best
    seen, open_, kept = {at}, [(-score[at], at)], [(score[at], -at)]
    while open_:
        worse, row = heappop(open_)
        if len(kept) == ef and -worse < kept[0][0]:
            break
        for near in graph.links[row].tolist():
            if near != NONE and near not in seen:
                seen.add(near)
                if len(kept) < ef or score[near] > kept[0][0]:
                    heappush(open_, (-score[near], near))
                    heappush(kept, (score[near], -near))
                    if len(kept) > ef:
                        heappop(kept)
    return [-row for _, row in sorted(kept, reverse=True)[:k]]


def test_the_graph_of_hnswlib_is_read_whole() -> None:
    """A walk over the tensors finds what hnswlib itself finds."""
    pytest.importorskip("hnswlib")
    x, queries = vectors(700), vectors(30, seed=1)
    index = build(x, HnswConfig(m=5, ef_construction=60))
    graph = Graph.read(graph_of(index).tensors(), items=700, m=5)
    assert graph.levels.max() >= 2
    assert (graph.links != NONE).sum(axis=1).min() >= 1
    index.set_ef(40)
    found, _ = index.knn_query(queries, k=15, num_threads=1)
    alike = [len(np.intersect1d(walk(graph, x, query, 15, 40), rows)) for query, rows in zip(queries, found, strict=True)]
    assert np.mean(alike) > 14.7  # sums in another order, so a tie or two may fall otherwise


def test_equal_builds_are_equal() -> None:
    pytest.importorskip("hnswlib")
    first, second = (graph_of(build(vectors(300), HnswConfig())).tensors() for _ in range(2))
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_wider_search_finds_more() -> None:
    pytest.importorskip("hnswlib")
    x, queries = vectors(2000), vectors(20, seed=1)
    index = build(x, HnswConfig(m=4, ef_construction=20))
    narrow, wide = recall_of(index, x, queries, 10, 10), recall_of(index, x, queries, 10, 2000)
    assert narrow < wide
    assert wide > 0.99


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ({"links": np.full((4, 4), 4, np.int32)}, "does not have"),
        ({"links": np.full((4, 4), -2, np.int32)}, "does not have"),
        ({"upper_links": np.array([[3, NONE]], np.int32)}, "above their level"),
        ({"upper_links": np.zeros((2, 2), np.int32)}, "upper_links"),
        ({"entry": np.array([0], np.int32)}, "does not have"),
        ({"levels": np.zeros(3, np.uint8)}, "levels"),
    ],
)
def test_a_damaged_graph_is_refused(damage: dict[str, np.ndarray], message: str) -> None:
    assert Graph.read(SOUND.tensors(), items=4, m=2).entry == 1
    with pytest.raises(BundleError, match=message):
        Graph.read(SOUND.tensors() | damage, items=4, m=2)


@pytest.mark.parametrize("wrong", [{"m": 1}, {"ef_construction": 3}, {"ef_search": -1}, {"queries": 0}, {"min_recall": 1.5}])
def test_wrong_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="hnsw"):
        HnswConfig(**wrong).check()  # type: ignore[arg-type]


def asking_for_hnsw(draft: writer.Draft) -> writer.Draft:
    funnel = pb.Funnel()
    funnel.CopyFrom(draft.content.funnel)
    funnel.sources[0].index = pb.INDEX_HNSW
    return replace(draft, content=replace(draft.content, funnel=funnel))


def test_a_release_carries_its_graph(
    plan: release.ReleasePlan, draft: writer.Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("hnswlib")
    maker = RequestMaker(plan.dataset, plan.content, plan.seed)
    assert add_hnsw(draft, HnswConfig(), maker, (), 0) is draft
    made = add_hnsw(asking_for_hnsw(draft), HnswConfig(queries=20), maker, (), 0)
    monkeypatch.setattr(release, "prove", lambda plan: made)
    read = reader.read(release.export_release(plan, tmp_path))
    spec = read.manifest.funnel.sources[0].hnsw
    assert spec.path == layout.HNSW
    assert (spec.m, spec.queries, spec.ef_search) == (16, 20, 2 * spec.recall_at)
    assert spec.recall >= spec.min_recall == 0.98, json_format.MessageToJson(spec)
    assert np.array_equal(read.hnsw["two_tower"].links, made.hnsw.links if made.hnsw else None)


def test_a_graph_that_finds_too_little_is_refused(plan: release.ReleasePlan, draft: writer.Draft) -> None:
    pytest.importorskip("hnswlib")
    maker = RequestMaker(plan.dataset, plan.content, plan.seed)
    weak = add_hnsw(asking_for_hnsw(draft), HnswConfig(queries=5, min_recall=1.0), maker, (), 0)
    gates = [replace_recall(gate) for gate in weak.gates]
    with pytest.raises(GateError, match="hnsw recall"):
        release.judge(gates, ())


def replace_recall(gate: pb.Gate) -> pb.Gate:
    """The toy's graph finds everything, so a worse one is made up."""
    return pb.Gate(name=gate.name, passed=gate.passed and gate.name != "hnsw recall", detail=gate.detail)
