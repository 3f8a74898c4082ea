"""The quality figures of the table of rungs, by hand."""

from __future__ import annotations

import math
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from rungs import ndcg, overlap


def test_quality_is_whole_for_the_same_order_and_falls_with_what_is_lost() -> None:
    full = list("abcdefghij")
    assert overlap(full, full) == ndcg(full, full) == 1
    assert overlap(full[::-1], full) == 1
    assert 0 < ndcg(full[::-1], full) < 1
    assert overlap(list("abcdeXYZUV"), full) == 0.5
    assert ndcg(list("XYZ"), full) == overlap([], full) == 0
    assert overlap([], []) == ndcg(["a"], []) == 1
    # Places 1 and 2 swapped: (9 + 10/log2(3) + rest) / (10 + 9/log2(3) + rest).
    swapped = ["b", "a"]
    assert math.isclose(ndcg(swapped, ["a", "b"]), (9 + 10 / math.log2(3)) / (10 + 9 / math.log2(3)))
