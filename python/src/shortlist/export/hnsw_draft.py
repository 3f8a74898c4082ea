"""A draft gets the graph of neighbours that its funnel asks for, with the gate that its recall must pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from shortlist.export import layout
from shortlist.export.backends import OrtGraphs
from shortlist.export.golden import RequestMaker
from shortlist.export.hnsw import HnswConfig, build, graph_of, recall_of
from shortlist.export.queries import ItemId
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.writer import Draft
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb


def add_hnsw(draft: Draft, config: HnswConfig, maker: RequestMaker, held_out: Sequence[tuple[ItemId, int]], seed: int) -> Draft:
    """The draft with a graph over its item vectors, measured on held-out requests, where a source searches by one.

    Raises ConfigError where it cannot be built.
    """
    sources = [source for source in draft.content.funnel.sources if source.index == pb.INDEX_HNSW]
    if not sources:
        return draft
    index = build(draft.item_vectors, config, seed)
    funnel = ReferenceFunnel(draft.content, OrtGraphs(draft.graphs))
    requests = [request for request, _ in maker.held_out(held_out, config.queries, stream=5)]
    queries = np.stack([funnel.query_vectors_of(request)[0, 0] for request in requests])
    described, gates = {}, []
    for source in sources:
        limit = min(source.limit, len(draft.item_vectors))
        ef = config.ef_search or 2 * limit
        found = recall_of(index, draft.item_vectors, queries, limit, ef)
        described[source.name] = pb.Hnsw(
            path=layout.HNSW,
            m=config.m,
            ef_construction=config.ef_construction,
            ef_search=ef,
            recall=found,
            recall_at=limit,
            queries=len(requests),
            min_recall=config.min_recall,
        )
        detail = f"recall@{limit} of {source.name} {found:.4f} over {len(requests)} held-out requests, {config.min_recall} is asked"
        gates.append(pb.Gate(name="hnsw recall", passed=found >= config.min_recall, detail=detail))
    return replace(draft, hnsw=graph_of(index), hnsw_sources=described, gates=(*draft.gates, *gates))
