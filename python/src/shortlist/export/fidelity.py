"""Does a release of low precision rank as its fp32 graphs do? Measured on the final order of whole requests.

Two figures decide (the design's law): overlap@10, the share of the ten best items that both orders name, and what NDCG@10 loses on the item
that each user turned to next. One says that answers stay, the other that they stay good.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.export.queries import ItemId
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.tables import Ints
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

TOP = 10
LEAST_OVERLAP = 0.99
GREATEST_LOSS = 0.001
LEAST_REQUESTS = 100  # of fewer, one exchanged item in ten is within the law by chance

Judged = Sequence[tuple[wire.RecommendRequest, ItemId]]  # a request, and the item that its user turned to next


@dataclass(frozen=True)
class Fidelity:
    """`overlap` in [0,1]; `exact_ndcg` and `ndcg` are NDCG@10 of the fp32 order and of this one; means over `requests`."""

    requests: int
    overlap: float
    exact_ndcg: float
    ndcg: float

    @property
    def loss(self) -> float:
        return self.exact_ndcg - self.ndcg

    @property
    def passed(self) -> bool:
        return self.requests >= LEAST_REQUESTS and self.overlap >= LEAST_OVERLAP and self.loss <= GREATEST_LOSS

    def __str__(self) -> str:
        return f"overlap@{TOP} {self.overlap:.4f}, NDCG@{TOP} {self.ndcg:.4f} against {self.exact_ndcg:.4f} (loss {self.loss:+.4f})"


def orders(funnel: ReferenceFunnel, judged: Judged) -> list[Ints]:
    """The best rows of each request's final order, at most ten."""
    return [funnel.run(request)["final_rows"][:TOP] for request, _ in judged]


def fidelity(exact: Sequence[Ints], got: Sequence[Ints], targets: Sequence[int]) -> Fidelity:
    """Of parallel orders and the catalog rows of the next items (-1: not in the catalog, which no order finds)."""
    if not exact:
        return Fidelity(0, 0.0, 0.0, 0.0)
    return Fidelity(
        requests=len(exact),
        overlap=float(np.mean([overlap(mine, theirs) for mine, theirs in zip(got, exact, strict=True)])),
        exact_ndcg=float(np.mean([gain(rows, target) for rows, target in zip(exact, targets, strict=True)])),
        ndcg=float(np.mean([gain(rows, target) for rows, target in zip(got, targets, strict=True)])),
    )


def overlap(got: Ints, exact: Ints) -> float:
    """Share of the rows of the longer list that both name; 1 for two empty ones."""
    longest = max(len(got), len(exact))
    return len(np.intersect1d(got, exact)) / longest if longest else 1.0


def gain(rows: Ints, target: int) -> float:
    """NDCG of an order with one relevant row: 1 / log2(1 + its rank), 0 where it is missing."""
    found = np.flatnonzero(rows == target)
    return 1.0 / math.log2(2.0 + float(found[0])) if len(found) else 0.0
