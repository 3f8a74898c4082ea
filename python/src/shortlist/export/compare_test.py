"""The tolerance and the order rule, at their edges."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.export.compare import Tolerance, order_violation, tensor_violation, worst_ratio

TOLERANCE = Tolerance(1e-5, 1e-4)


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_floats_within_the_tolerance() -> None:
    assert tensor_violation(floats(1.0001, 0.0), floats(1.0, 0.00001), TOLERANCE) is None
    assert worst_ratio(floats(1.0 + 0.5e-4), floats(1.0), TOLERANCE) == pytest.approx(0.45, abs=0.01)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1.001])
def test_floats_outside(bad: float) -> None:
    message = tensor_violation(floats(0.0, bad), floats(0.0, 1.0), TOLERANCE)
    assert message is not None


def test_violation_names_the_place() -> None:
    message = tensor_violation(floats(0.0, 2.0), floats(0.0, 1.0), TOLERANCE)
    assert message is not None
    assert "[1]" in message


def test_integers_shapes_and_types_must_be_equal() -> None:
    assert tensor_violation(np.array([1, 2]), np.array([1, 3]), TOLERANCE) is not None
    assert tensor_violation(floats(1.0), floats(1.0, 1.0), TOLERANCE) is not None
    assert tensor_violation(np.array([1.0]), floats(1.0), TOLERANCE) is not None


ROWS = np.array([7, 2, 9, 4])
SCORES = floats(3.0, 2.0001, 2.0, 1.0)


def order(rows: list[int], scores: np.ndarray = SCORES) -> str | None:
    return order_violation(np.array(rows), scores, ROWS, SCORES, TOLERANCE)


def test_near_ties_may_swap_and_others_may_not() -> None:
    assert order([7, 2, 9, 4]) is None
    assert order([7, 9, 2, 4]) is None  # 2.0001 and 2.0 are closer than twice the tolerance
    assert "position 0" in str(order([2, 7, 9, 4]))


def test_an_unknown_item_counts_as_the_last() -> None:
    assert order([7, 2, 9, 55]) is None
    assert "row 55" in str(order([7, 55, 9, 4]))


def test_lengths_repeats_and_scores() -> None:
    assert "items" in str(order_violation(ROWS[:3], SCORES[:3], ROWS, SCORES, TOLERANCE))
    assert "twice" in str(order([7, 2, 2, 4]))
    assert "scores" in str(order([7, 2, 9, 4], floats(3.0, 2.0001, 2.0, 1.1)))
