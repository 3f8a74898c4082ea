"""Items alike by their feature columns, for items that few users took: a weight of co-occurrence is blended with likeness."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import sparse

from shortlist.data.dataset import EncodedLog
from shortlist.errors import ConfigError
from shortlist.models.item_similarity import Table, heaviest
from shortlist.models.pair_counts import blocks
from shortlist.schema import Op

_NUMBER_BUCKETS = 10
_CELLS_AT_ONCE = 4_000_000


def content_vectors(log: EncodedLog) -> Any:
    """Sparse unit vectors [I,F] of the item columns without the id: an entry for each id an item has, weighted by log(I / items with it).

    Numbers count as the decile they fall into, so that no unit outweighs the rest. Raises ConfigError when no column tells items apart.
    """
    items = len(log.item_ids)
    parts = []
    for column in log.schema.item:
        if column.op is Op.ITEM_ROW:
            continue
        values: Any = log.items[column.name]
        if column.op is Op.NUMBER:
            edges = np.quantile(values, np.linspace(0, 1, _NUMBER_BUCKETS + 1)[1:-1])
            values = 1 + np.searchsorted(edges, values, side="right")
        ids = values.reshape(items, -1).astype(np.int64)
        item, place = np.nonzero(ids)  # 0 is unknown or padding
        has = sparse.csr_array((np.ones(len(item)), (item, ids[item, place])), shape=(items, max(column.cardinality, _NUMBER_BUCKETS + 1)))
        has.data[:] = 1.0  # a token that an item has twice counts once
        rarity = np.log(items / np.maximum(has.sum(axis=0), 1.0))
        parts.append(has * rarity[None])
    vectors = sparse.hstack(parts, format="csr") if parts else sparse.csr_array((items, 1))
    vectors.eliminate_zeros()
    if vectors.nnz == 0:
        raise ConfigError(
            f"{log.name} has no content to blend", why="no item column but the id tells items apart", fix="set content_share to 0"
        )
    length = np.sqrt((vectors * vectors).sum(axis=1))
    return (vectors * (1.0 / np.where(length > 0, length, 1.0))[:, None]).tocsr()


def nearest(vectors: Any, neighbours: int) -> Table:
    """The `neighbours` items of the highest positive cosine of each, without itself. Costs a product of all pairs, by blocks of rows."""
    items = vectors.shape[0]
    transposed, tables = vectors.T.tocsr(), []
    for block in blocks(np.full(items, items), _CELLS_AT_ONCE):
        cosine = (vectors[block] @ transposed).tocsr()
        row = np.repeat(np.arange(cosine.shape[0]), np.diff(cosine.indptr))
        cosine.data[row + block.start == cosine.indices] = 0.0
        indptr, rows, weights = heaviest([cosine], neighbours)
        tables.append(sparse.csr_array((weights, rows, indptr), shape=cosine.shape))
    return heaviest(tables, neighbours)


def blend_content(table: Table, log: EncodedLog, share: float, neighbours: int) -> Table:
    """Give `share` of each item's total weight to the items of like content, by cosine.

    An item without a weight of its own, since nobody took it with another, gets the mean total.
    """
    items = len(log.item_ids)
    taken: Any = sparse.csr_array((table[2].astype(np.float64), table[1], table[0]), shape=(items, items))
    indptr, rows, weights = nearest(content_vectors(log), neighbours)
    alike: Any = sparse.csr_array((weights.astype(np.float64), rows, indptr), shape=(items, items))
    total, likeness = taken.sum(axis=1), alike.sum(axis=1)
    known, described = total > 0, likeness > 0
    total = np.where(known, total, total[known].mean() if known.any() else 1.0)
    own = np.where(known & described, 1.0 - share, 1.0)  # all of the weight where one of the two is missing
    other = np.where(known, share, 1.0) * total / np.where(described, likeness, 1.0)
    return heaviest([(taken * own[:, None] + alike * other[:, None]).tocsr()], neighbours)
