"""When two answers are equal: the tolerance of a release and the order under the tie rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.export.tables import Array

ABSOLUTE = 1e-5
RELATIVE = 1e-4
REASON = (
    "fp32: kernels sum in different orders, which moves a score by a few units in the last place per reduction; "
    "a hundred times that still separates rounding from a wrong graph"
)


@dataclass(frozen=True)
class Tolerance:
    """|got - want| <= absolute + relative * |want|."""

    absolute: float = ABSOLUTE
    relative: float = RELATIVE
    reason: str = REASON

    def limit(self, want: Array) -> npt.NDArray[np.float64]:
        limit: npt.NDArray[np.float64] = self.absolute + self.relative * np.abs(want.astype(np.float64))
        return limit

    def strictest(self) -> Tolerance:
        """For what no graph computes, inputs and counters: at most that of fp32, whatever the precision of the graphs."""
        return Tolerance(min(self.absolute, ABSOLUTE), min(self.relative, RELATIVE))


def tensor_violation(got: Array, want: Array, tolerance: Tolerance) -> str | None:
    """Why `got` is not `want`, or None. Integers must be equal, floats finite and within the tolerance."""
    if got.shape != want.shape or got.dtype != want.dtype:
        return f"is {got.dtype} {list(got.shape)}, not {want.dtype} {list(want.shape)}"
    if got.dtype != np.float32:
        different = np.argwhere(got != want)
        return None if len(different) == 0 else _at(got, want, different[0], f"{len(different)} of {got.size} differ")
    if not np.isfinite(got).all():
        return f"holds {int((~np.isfinite(got)).sum())} values that are NaN or infinite"
    ratio = worst_ratio(got, want, tolerance)
    if ratio <= 1:
        return None
    distance = np.abs(got.astype(np.float64) - want) / tolerance.limit(want)
    worst = np.array(np.unravel_index(int(np.argmax(distance)), distance.shape))
    return _at(got, want, worst, f"off by {ratio:.3g} times the tolerance")


def worst_ratio(got: Array, want: Array, tolerance: Tolerance) -> float:
    """Largest |difference| / tolerance; 1 is the limit."""
    if got.size == 0:
        return 0.0
    return float((np.abs(got.astype(np.float64) - want) / tolerance.limit(want)).max())


def order_violation(got_rows: Array, got_scores: Array, want_rows: Array, want_scores: Array, tolerance: Tolerance) -> str | None:
    """Why a ranked list is not the wanted one, or None.

    The lists may differ only where scores are closer than twice the tolerance: an item swapped with a neighbour, or exchanged at the
    end of a cut list for one of about the same score. Scores must agree position by position.
    """
    if len(got_rows) != len(want_rows):
        return f"has {len(got_rows)} items, not {len(want_rows)}"
    if len(set(got_rows.tolist())) != len(got_rows):
        return "names an item twice"
    if (violation := tensor_violation(got_scores, want_scores, tolerance)) is not None:
        return f"scores: {violation}"
    if len(want_rows) == 0:
        return None
    want_of = dict(zip(want_rows.tolist(), want_scores.astype(np.float64).tolist(), strict=True))
    last = float(want_scores[-1])
    for position, (row, want_row, want_score) in enumerate(
        zip(got_rows.tolist(), want_rows.tolist(), want_scores.astype(np.float64).tolist(), strict=True)
    ):
        # An item that the wanted list does not have can only have stood just below its end.
        gap = abs(want_of.get(row, last) - want_score)
        if row != want_row and gap > 2 * float(tolerance.limit(np.array(want_score))):
            return f"position {position} holds row {row}, not row {want_row}, and their scores differ by {gap:.3g}"
    return None


def _at(got: Array, want: Array, index: Array, summary: str) -> str:
    place = tuple(int(i) for i in index)
    return f"{summary}; at {list(place)} it is {got[place]!r}, not {want[place]!r}"
