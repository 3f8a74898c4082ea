"""Writes go/internal/vector/testdata/hnswlib.safetensors: a graph that hnswlib built, and what hnswlib finds with it.

The server's walk must find the same rows. Needs the extra `hnsw` (make setup-hnsw); the file changes only when this script does.

Example: python tests/cases/write_hnsw.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from shortlist.export.hnsw import HnswConfig, build, graph_of

FILE = Path(__file__).resolve().parents[2] / "go/internal/vector/testdata/hnswlib.safetensors"
ITEMS, WIDTH, QUERIES, M, EF, K = 400, 8, 25, 4, 24, 10


def main() -> None:
    random = np.random.default_rng(11)
    vectors, queries = (random.standard_normal((n, WIDTH), dtype=np.float32) for n in (ITEMS, QUERIES))
    index = build(vectors, HnswConfig(m=M, ef_construction=40))
    graph = graph_of(index)
    index.set_ef(EF)
    found, _ = index.knn_query(queries, k=K, num_threads=1)
    tensors = {
        "vectors": vectors,
        "queries": queries,
        "found": found.astype(np.int64),  # [B,k], best first
        "settings": np.array([M, EF], np.int32),
        **graph.tensors(),
        "levels": graph.levels.astype(np.int32),
    }
    FILE.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, FILE)


if __name__ == "__main__":
    main()
