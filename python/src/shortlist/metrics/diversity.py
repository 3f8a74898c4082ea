"""Intra-list diversity (Ziegler et al., 2005): mean distance, 1 - cosine, between the items of a list."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError
from shortlist.metrics.checks import finite
from shortlist.metrics.order import Ints

_ITEMS_AT_ONCE = 4_000_000  # gathered vector components, 8 bytes each


def intra_list_diversity(lists_BK: Ints, vectors_IV: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mean over the pairs of each list [B], from item vectors [I,V] (-1 is padding). Lists of fewer than two items have none: 0.

    A zero vector is at distance 1 from everything. The sum over pairs comes from |sum v|^2, so a list costs K, not K^2.
    """
    vectors = finite("item vectors", vectors_IV)
    if vectors.ndim != 2:
        raise DataError(f"item vectors have shape {list(vectors.shape)}", why="each item needs one vector", fix="pass [items, width]")
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.concatenate([vectors / np.where(norms > 0, norms, 1.0), np.zeros((1, vectors.shape[1]))])  # the last row is padding's
    size = np.concatenate([norms[:, 0] > 0, [False]]).astype(np.float64)
    result = np.zeros(len(lists_BK))
    step = max(1, _ITEMS_AT_ONCE // max(1, lists_BK.shape[1] * vectors.shape[1]))
    for begin in range(0, len(lists_BK), step):
        rows = lists_BK[begin : begin + step]
        similarity = (units[rows].sum(axis=1) ** 2).sum(axis=1) - size[rows].sum(axis=1)
        items = (rows >= 0).sum(axis=1)
        pairs = items * (items - 1.0)
        result[begin : begin + step] = np.where(pairs > 0, 1.0 - similarity / np.maximum(pairs, 1.0), 0.0)
    return result


def multi_hot(ids_IW: npt.ArrayLike, cardinality: int) -> npt.NDArray[np.float64]:
    """Vectors [I, cardinality - 1] of encoded categories [I] or [I,W]; id 0 (unknown, padding) is no category."""
    ids = np.asarray(ids_IW, dtype=np.int64)
    ids = ids[:, None] if ids.ndim == 1 else ids
    if ids.size and (ids.min() < 0 or ids.max() >= cardinality):
        raise DataError(f"a category id is outside of 0..{cardinality - 1}", fix="pass the cardinality of the column")
    vectors = np.zeros((len(ids), cardinality))
    np.put_along_axis(vectors, ids, 1.0, axis=1)
    return vectors[:, 1:]
