from __future__ import annotations

import numpy as np
import pytest

from shortlist.errors import DataError
from shortlist.metrics.order import NOT_RANKED
from shortlist.metrics.value import value_at_k, value_weighted


def test_value_by_hand() -> None:
    ranks, values = np.array([1, 10, 11, NOT_RANKED]), np.array([5.0, 2.0, 100.0, 1.0])
    assert value_at_k(ranks, values, 10).tolist() == [5, 2, 0, 0]
    assert value_weighted([1, 1, 0, 0], values) == pytest.approx(7 / 108)
    assert value_weighted([0.2, 0.4, 0.6, 0.8], np.ones(4)) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "match"), [([1.0, -1.0], "1 of 2 below 0"), ([0.0, 0.0], "no request has a value"), ([1.0], "shapes differ")]
)
def test_bad_values_are_refused(values: list[float], match: str) -> None:
    with pytest.raises(DataError, match=match):
        value_at_k(np.array([1, 2]), values, 10)
