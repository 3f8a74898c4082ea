"""A graph of neighbours over the retrieval vectors (HNSW, arXiv 1603.09320): built by hnswlib, stored as plain tensors (docs/bundle.md).

hnswlib has no wheels, so it is the extra `hnsw` of the package and is imported where a graph is built; reading one needs it not.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from shortlist.errors import BundleError, ConfigError
from shortlist.export.small_vectors import recall, top
from shortlist.export.tables import Array, Floats, Ints, Tensors, take

Links = npt.NDArray[np.int32]
NONE = -1  # where a list of neighbours ends

# The header of a file that hnswlib 0.8.0 saves: sizes in bytes of an element of layer 0, and the graph's own numbers.
_HEADER = np.dtype(
    [
        ("level0_offset", "<u8"),
        ("capacity", "<u8"),
        ("count", "<u8"),
        ("element_size", "<u8"),
        ("label_offset", "<u8"),
        ("vector_offset", "<u8"),
        ("top", "<i4"),
        ("entry", "<u4"),
        ("max_m", "<u8"),
        ("max_m0", "<u8"),
        ("m", "<u8"),
        ("multiplier", "<f8"),
        ("ef_construction", "<u8"),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HnswConfig:
    """How a graph is built and searched. `ef_search` of 0 is twice the source's limit.

    The release is refused when the mean share of the exact best `limit` items that a search finds, over `queries` held-out requests, is
    below `min_recall`.
    """

    m: int = 16
    ef_construction: int = 200
    ef_search: int = 0
    queries: int = 500
    min_recall: float = 0.98

    def check(self) -> None:
        """Raises ConfigError."""
        if not 2 <= self.m <= 1024 or self.ef_construction < self.m or self.ef_search < 0 or self.queries < 1:
            raise ConfigError(
                f"hnsw has m={self.m}, ef_construction={self.ef_construction}, ef_search={self.ef_search}, queries={self.queries}",
                why="2 <= m <= 1024, m <= ef_construction, 0 <= ef_search and 1 <= queries must hold",
                fix="change the setting",
            )
        if not 0 <= self.min_recall <= 1:
            raise ConfigError(f"hnsw.min_recall is {self.min_recall}", why="it is a share", fix="choose one between 0 and 1")


@dataclass(frozen=True)
class Graph:
    """Neighbours of items in layers. A row is in layer 0 and in all up to its level; lists are filled up with -1."""

    levels: npt.NDArray[np.uint8]  # [I]
    links: Links  # [I,2m] layer 0
    upper_links: Links  # [sum of levels, m] layers 1 to the level, row after row
    entry: int  # a row of the highest level, where a search begins

    def tensors(self) -> Tensors:
        entry = np.array([self.entry], np.int32)
        return {"levels": self.levels, "links": self.links, "upper_links": self.upper_links, "entry": entry}

    @classmethod
    def read(cls, tensors: Tensors, *, items: int, m: int) -> Graph:
        """Raises BundleError where a search could leave the tables."""
        levels = take(tensors, "levels", np.uint8, (items,))
        graph = cls(
            levels,
            take(tensors, "links", np.int32, (items, 2 * m)),
            take(tensors, "upper_links", np.int32, (int(levels.sum(dtype=np.int64)), m)),
            int(take(tensors, "entry", np.int32, (1,))[0]),
        )
        layer = np.concatenate([np.arange(1, level + 1) for level in levels[levels > 0]] or [np.zeros(0, np.int64)])
        outside = any(bool(((links < NONE) | (links >= items)).any()) for links in (graph.links, graph.upper_links))
        if outside or not 0 <= graph.entry < items or levels[graph.entry] != levels.max():
            raise BundleError("the graph names rows that it does not have", fix="export the release again")
        if bool(((graph.upper_links != NONE) & (levels[graph.upper_links] < layer[:, np.newaxis])).any()):
            raise BundleError("the graph has neighbours in layers above their level", fix="export the release again")
        return graph


def build(vectors: Floats, config: HnswConfig, seed: int = 0) -> Any:
    """The hnswlib.Index of vectors [I,K] by inner product. One thread, because with more the graph depends on their race.

    Raises ConfigError without hnswlib.
    """
    try:
        import hnswlib
    except ImportError as error:
        raise ConfigError(
            "hnswlib is not installed",
            why="it builds the graph, and is compiled where it is installed",
            fix="run `make setup-hnsw` (it needs a C++ compiler)",
        ) from error
    config.check()
    index = hnswlib.Index(space="ip", dim=vectors.shape[1])
    index.init_index(len(vectors), M=config.m, ef_construction=config.ef_construction, random_seed=seed)
    index.add_items(vectors, np.arange(len(vectors)), num_threads=1)
    return index


def graph_of(index: Any) -> Graph:
    """The graph of an hnswlib.Index whose labels are rows, from the file that it saves. Raises BundleError for another format."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "index.bin"
        index.save_index(str(path))
        data = np.fromfile(path, np.uint8)
    header = data[: _HEADER.itemsize].view(_HEADER)[0]
    count, m, wide = int(header["count"]), int(header["max_m"]), int(header["max_m0"])
    end = _HEADER.itemsize + count * int(header["element_size"])
    if wide != 2 * m or header["element_size"] != 4 + 4 * wide + 4 * index.dim + 8 or end > len(data):
        raise BundleError("hnswlib saved an index in another format", why="0.8.0 is read", fix="run `make setup-hnsw`")
    elements = data[_HEADER.itemsize : end].reshape(count, -1)
    row_of = _column(elements, int(header["label_offset"]), 2).view(np.int64).ravel()  # by position in the file
    links = np.full((count, wide), NONE, np.int32)
    links[row_of] = _rows(_column(elements, 0, 1 + wide), row_of)

    levels, at = np.zeros(count, np.uint8), end
    lists: dict[int, Links] = {}  # by row, of those above layer 0
    for row in row_of.tolist():
        size = int(data[at : at + 4].view(np.uint32)[0])
        at += 4
        levels[row] = size // (4 + 4 * m)
        if size:
            lists[row] = _rows(data[at : at + size].view(np.int32).reshape(-1, 1 + m), row_of)
        at += size
    upper = np.concatenate([lists[row] for row in sorted(lists)]) if lists else np.zeros((0, m), np.int32)
    return Graph(levels, links, upper, int(row_of[header["entry"]]))


def _column(elements: Array, offset: int, numbers: int) -> Links:
    return np.ascontiguousarray(elements[:, offset : offset + 4 * numbers]).view(np.int32)


def _rows(lists: Links, row_of: Ints) -> Links:
    """Lists [n, 1 + length] of a count and positions as rows [n, length]; the count is in the lower half, deletions in the upper."""
    positions, counts = lists[:, 1:], lists[:, :1] & 0xFFFF
    used = np.arange(positions.shape[1]) < counts
    return np.where(used, row_of[np.where(used, positions, 0)], NONE).astype(np.int32)


def recall_of(index: Any, vectors: Floats, queries: Floats, k: int, ef: int) -> float:
    """Mean share of the k best of vectors [I,K] for queries [B,K] that a search finds."""
    index.set_ef(max(ef, k))
    shares = []
    for query in queries:  # one at a time: the scores of all items at once may not fit
        found, _ = index.knn_query(query[np.newaxis], k=k, num_threads=1)
        shares.append(recall(found.astype(np.int64), top((vectors @ query)[np.newaxis], k)))
    return float(np.mean(shares))
