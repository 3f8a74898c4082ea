"""From pair counts to item-to-item weights: the similarity forms of `CooccurrenceConfig`, and the heaviest neighbours of each item."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shortlist.models.pair_counts import PairCounts, blocks

if TYPE_CHECKING:
    from shortlist.models.cooccurrence import CooccurrenceConfig

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Table = tuple[Ints, Ints, npt.NDArray[np.float32]]  # (indptr [I+1], rows [n], weights [n]): neighbours of each item, heaviest first

_ENTRIES_AT_ONCE = 4_000_000  # about 60 bytes each while weighing


def _conditional(count: Floats, row: Floats, column: Floats, total: float) -> tuple[Floats, Floats]:
    return count, row


def _cosine(count: Floats, row: Floats, column: Floats, total: float) -> tuple[Floats, Floats]:
    return count, np.sqrt(row * column)


def _jaccard(count: Floats, row: Floats, column: Floats, total: float) -> tuple[Floats, Floats]:
    return count, row + column - count


def _pmi(count: Floats, row: Floats, column: Floats, total: float) -> tuple[Floats, Floats]:
    return np.maximum(np.log(count * total / (row * column)), 0.0), np.ones_like(row)


# (count, row's sum, column's sum, total) of each pair -> numerator and denominator of its similarity.
FORMS: dict[str, Callable[[Floats, Floats, Floats, float], tuple[Floats, Floats]]] = {
    "conditional": _conditional,
    "cosine": _cosine,
    "jaccard": _jaccard,
    "pmi": _pmi,
}


def weigh(counts: PairCounts, config: CooccurrenceConfig) -> Table:
    """The `neighbours` heaviest of each item under the similarity of `config`; an item is no neighbour of itself."""
    if config.pairs == "history":
        pairs, row_sum, column_sum, total = counts.pairs, counts.taken, counts.taken, counts.users
    else:
        pairs = (counts.pairs + config.backward * counts.pairs.T).tocsr() if config.backward else counts.pairs
        row_sum, column_sum = pairs.sum(axis=1), pairs.sum(axis=0)
        total = float(row_sum.sum())
    weighted = []
    for block in blocks(np.diff(pairs.indptr), _ENTRIES_AT_ONCE):
        part = pairs[block].tocoo()
        row, column = part.row + block.start, part.col
        keep = (row != column) & (part.data > 0)
        row, column, count = row[keep], column[keep], part.data[keep]
        numerator, denominator = FORMS[config.similarity](count, row_sum[row], column_sum[column], total)
        weight = numerator / (denominator * column_sum[column] ** config.popularity_power)
        if config.shrinkage:
            weight = weight * (count / (count + config.shrinkage))
        weighted.append(sparse.csr_array((weight, (row - block.start, column)), shape=part.shape))
    return heaviest(weighted, config.neighbours)


def heaviest(stacked: list[Any], neighbours: int) -> Table:
    """The `neighbours` heaviest positive entries of each row of stacked sparse matrices, heaviest first, lower row first on ties."""
    lengths, rows, weights = [], [], []
    for block in stacked:
        stored = block.data.astype(np.float32)
        kept = stored > 0
        for begin, end in zip(block.indptr[:-1], block.indptr[1:], strict=True):
            if end - begin > neighbours:  # what is lighter than the last that fits need not be sorted
                least = np.partition(stored[begin:end], end - begin - neighbours)[end - begin - neighbours]
                kept[begin:end] &= stored[begin:end] >= least
        row = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))[kept]
        column, weight = block.indices[kept], stored[kept]
        order = np.lexsort((column, -weight, row))
        count = np.bincount(row, minlength=block.shape[0])
        place = np.arange(len(order)) - np.repeat(np.cumsum(count) - count, count)
        first = order[place < neighbours]
        lengths.append(np.minimum(count, neighbours))
        rows.append(column[first].astype(np.int64))
        weights.append(weight[first])
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)
    return indptr, np.concatenate(rows), np.concatenate(weights)
