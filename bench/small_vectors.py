"""Recall of retrieval vectors in 8 and 4 bits against exact fp32, and their bytes: the tables of docs/reports/small.md.

Example: python bench/small_vectors.py --release models/marketplace --items 20000

Recall@k: mean share of the exact k best that the search finds when the best R*k by small vectors are scored
again in fp32. R=1 has no slack.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from shortlist.export import layout, reader
from shortlist.export.backends import OrtGraphs
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.small_vectors import KINDS, rotated_width, small_vectors, top
from shortlist.export.tables import Floats

DEPTHS = (10, 100, 500)
MULTIPLES = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", type=Path, action="append", default=[], help="model folder with trained vectors; may be repeated")
    parser.add_argument("--arrays", type=Path, action="append", default=[], help=".npz with `vectors` [I,K] and `queries` [B,K]")
    parser.add_argument("--items", type=int, default=20_000, help="of the random sets")
    parser.add_argument("--queries", type=int, default=100)
    arguments = parser.parse_args()
    columns = [f"@{k} R={multiple}" for k in DEPTHS for multiple in MULTIPLES]
    print(f"| vectors | items | codes | bytes per item | {' | '.join(columns)} |")
    print("|---|---:|---|---:|" + "---:|" * len(columns))
    for name, vectors, queries in data_sets(arguments):
        exact = top(queries @ vectors.T, max(DEPTHS))
        for kind in KINDS:
            small = small_vectors(kind, vectors)
            order = top(small.scores(queries), max(DEPTHS) * max(MULTIPLES))
            found = [share(order[:, : k * multiple], exact[:, :k]) for k in DEPTHS for multiple in MULTIPLES]
            size = f"{small.bytes_per_item} of {4 * vectors.shape[1]}"
            print(f"| {name} | {len(vectors):,} | {kind} | {size} | {' | '.join(f'{one:.4f}' for one in found)} |", flush=True)
        plain = top(queries @ unrotated(vectors).T, max(DEPTHS) * max(MULTIPLES))
        found = [share(plain[:, : k * multiple], exact[:, :k]) for k in DEPTHS for multiple in MULTIPLES]
        size = f"{rotated_width(vectors.shape[1]) // 2 + 4} of {4 * vectors.shape[1]}"
        print(f"| {name} | {len(vectors):,} | int4, not rotated | {size} | {' | '.join(f'{one:.4f}' for one in found)} |", flush=True)


def share(rows: np.ndarray, exact: np.ndarray) -> float:
    """Mean share of the exact rows among the shortlist: re-ranking in fp32 finds every one of them, and no other."""
    return float(np.mean([len(np.intersect1d(mine, theirs)) / len(theirs) for mine, theirs in zip(rows, exact, strict=True)]))


def unrotated(vectors: Floats) -> Floats:
    """The 4-bit grid on the vectors as they are: what the rotation is worth."""
    step = np.maximum(np.abs(vectors).max(axis=1, keepdims=True) / 7.5, np.float32(1e-30))
    return ((np.clip(np.floor(vectors / step), -8, 7) + 0.5) * step).astype(np.float32)


def data_sets(arguments: argparse.Namespace) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, vectors [I,K] and queries [B,K]."""
    for folder in arguments.release:
        bundle = reader.read(layout.current(folder))
        funnel = ReferenceFunnel(bundle.content, OrtGraphs(bundle.graphs))
        requests = [request for request in bundle.warmup if not request.HasField("candidates")][: arguments.queries]
        queries = np.concatenate([funnel.run(request)["query_vectors"][:, 0] for request in requests])
        yield f"{bundle.manifest.lineage.data}, trained", bundle.item_vectors, queries
    for path in arguments.arrays:
        with np.load(path) as arrays:
            yield path.stem, arrays["vectors"], arrays["queries"][: arguments.queries]
    rng = np.random.default_rng(0)
    gaussian = rng.normal(size=(arguments.items, 64)).astype(np.float32)
    yield "Gaussian", gaussian, rng.normal(size=(arguments.queries, 64)).astype(np.float32)
    centres = 3 * rng.normal(size=(100, 64))
    members = centres[rng.integers(100, size=arguments.items)] + rng.normal(size=(arguments.items, 64))
    wanted = centres[rng.integers(100, size=arguments.queries)] + rng.normal(size=(arguments.queries, 64))
    yield "100 clusters", members.astype(np.float32), wanted.astype(np.float32)
    yield "Gaussian, two long axes", long_axes(gaussian), rng.normal(size=(arguments.queries, 64)).astype(np.float32)


def long_axes(vectors: Floats) -> Floats:
    """Lengths that sit in few coordinates, as a popularity direction makes them."""
    stretched = vectors.copy()
    stretched[:, :2] *= 10
    return stretched


if __name__ == "__main__":
    main()
