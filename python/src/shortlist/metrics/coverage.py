"""Catalog coverage: the share of the catalog that appears in at least one list."""

from __future__ import annotations

import numpy as np

from shortlist.errors import DataError
from shortlist.metrics.order import Ints


def catalog_coverage(lists_BK: Ints, items: int) -> float:
    """Distinct rows in the lists (-1 is padding) / catalog size."""
    if items < 1:
        raise DataError(f"the catalog has {items} items", why="coverage is a share of it", fix="pass the catalog size")
    shown = np.unique(lists_BK[lists_BK >= 0])
    if len(shown) and shown[-1] >= items:
        raise DataError(f"a list names row {int(shown[-1])}", why=f"the catalog has {items} items", fix="rank rows of this catalog")
    return len(shown) / items
