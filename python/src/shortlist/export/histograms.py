"""Reference histograms for drift: how often each input and score took which values on the warm-up requests when the release was made.

reference/histograms.json: {"requests": n, "columns": {<graph input>: ids or numbers}, "scores": {<name>: numbers}}, where ids are
{"kind": "ids", "total": n, "counts": {"<id>": n}} (list columns count each id; 0 is unknown or padding) and numbers are
{"kind": "numbers", "total": n, "edges": [...], "counts": [...]}: counts[i] values lie in [edges[i-1], edges[i]), open at both ends.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Array, Tensors
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

BINS = 10


def histograms(funnel: ReferenceFunnel, requests: Sequence[wire.RecommendRequest]) -> str:
    """The file's text. Equal inputs give equal text."""
    traces = [funnel.run(request) for request in requests]
    schema = funnel.content.schema
    columns = {}
    for role, listed in (("user", schema.user), ("context", schema.context)):
        for column in listed:
            columns[f"{role}_{column.name}"] = _histogram(_joined(traces, f"in.{role}_{column.name}"))
    columns["history_length"] = _histogram(_joined(traces, "in.history_length").astype(np.float32))
    scores = {}
    for source in funnel.content.funnel.sources:
        scores[f"source.{source.name}"] = _histogram(_joined(traces, f"source.{source.name}.scores"))
    for name in ("prerank_score", "score"):
        scores[name] = _histogram(_joined(traces, name))
    logits = _joined(traces, "logits").reshape(-1, len(schema.tasks))
    for number, task in enumerate(schema.tasks):
        scores[f"logit.{task}"] = _histogram(logits[:, number])
    return json.dumps({"requests": len(requests), "columns": columns, "scores": scores}, indent=1, sort_keys=True) + "\n"


def _joined(traces: Sequence[Tensors], name: str) -> Array:
    parts = [trace[name].reshape(-1) for trace in traces if name in trace]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.float32)


def _histogram(values: Array) -> dict[str, object]:
    if values.dtype == np.int64:
        ids, counts = np.unique(values, return_counts=True)
        return {
            "kind": "ids",
            "total": int(counts.sum()),
            "counts": {str(i): int(count) for i, count in zip(ids.tolist(), counts.tolist(), strict=True)},
        }
    edges: list[float] = []
    if len(values):  # deciles, rounded so that they do not hang on the last bit
        edges = sorted({float(f"{edge:.4g}") for edge in np.quantile(values.astype(np.float64), np.arange(1, BINS) / BINS)})
    counts = np.bincount(np.searchsorted(edges, values.astype(np.float64), side="right"), minlength=len(edges) + 1)
    return {"kind": "numbers", "total": len(values), "edges": edges, "counts": counts.tolist()}
