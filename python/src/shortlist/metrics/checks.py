"""Checks that every metric makes on its input."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from shortlist.errors import DataError


def finite(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """`values` in float64. Raises DataError when one is NaN or infinite: a mean over it would be a wrong answer, not an error."""
    array = np.asarray(values, dtype=np.float64)
    refuse_not_finite(name, array)
    return array


def refuse_not_finite(name: str, values: npt.NDArray[np.floating]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{name} has {int(bad.sum())} of {bad.size} values that are NaN or infinite, the first at {first_index(bad)}",
            why="a metric of them means nothing",
            fix="find the model or the data that made them",
        )


def binary(name: str, values: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """0/1 labels in float64. Raises DataError on any other value."""
    array = finite(name, values)
    bad = (array != 0) & (array != 1)
    if bad.any():
        where = first_index(bad)
        raise DataError(f"{name} is {array[bad][0]} at {where}", why="labels are 0 or 1", fix="binarise the labels before this metric")
    return array


def same_shape(**arrays: npt.NDArray[np.generic]) -> None:
    """Raises DataError when the named arrays differ in shape or are empty."""
    shapes = {name: array.shape for name, array in arrays.items()}
    if len(set(shapes.values())) != 1:
        raise DataError(f"shapes differ: {shapes}", why="the arrays are parallel", fix="pass one value of each per observation")
    if any(array.size == 0 for array in arrays.values()):
        raise DataError(f"{', '.join(shapes)} are empty", why="a metric of no observations is undefined", fix="check the split")


def positive_k(k: int) -> int:
    if k < 1:
        raise DataError(f"k is {k}", why="a cut-off keeps at least one item", fix="pass k >= 1")
    return k


def first_index(bad: npt.NDArray[np.bool_]) -> list[int]:
    return [int(axis[0]) for axis in np.nonzero(bad)]
