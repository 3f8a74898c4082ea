"""The sketch's two promises, on data that hypothesis and chance make, and that bounded counting finds what exact counting finds."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shortlist.data.count_min import CountMinSketch
from shortlist.errors import ConfigError

KEYS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 20), max_size=200)


def _keys(values: list[int]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.array(values, dtype=np.int64)


@settings(max_examples=80, deadline=None)
@given(KEYS, st.integers(1, 4), st.integers(1, 6), st.integers(0, 5))
def test_estimates_are_never_too_small_nor_above_the_total(keys: list[int], depth: int, bits: int, seed: int) -> None:
    sketch = CountMinSketch(1 << bits, depth, seed)
    sketch.add(_keys(keys))
    true = Counter(keys)
    estimate = sketch.estimate(_keys(list(true)))
    assert all(true[key] <= guess <= len(keys) for key, guess in zip(true, estimate.tolist(), strict=True))
    assert sketch.cells.sum() == len(keys) * depth


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.3, 1.5), st.booleans())
def test_the_error_bound_holds(seed: int, power: float, scattered: bool) -> None:
    """At most delta of the keys may be over by more than epsilon x total; four deviations of a share of 2,000 keys are let pass."""
    epsilon, delta = 0.002, 0.05
    random = np.random.default_rng(seed)
    population = np.unique(random.integers(-(2**63), 2**63 - 1, 2_000)) if scattered else np.arange(2_000, dtype=np.int64)
    weights = 1 / np.arange(1, len(population) + 1) ** power
    counts = random.multinomial(30_000, weights / weights.sum())
    sketch = CountMinSketch.within(epsilon, delta, seed)
    sketch.add(np.repeat(population, counts))
    over = sketch.estimate(population) - counts
    assert over.min() >= 0
    assert (over > epsilon * sketch.total).mean() <= delta + 4 * np.sqrt(delta * (1 - delta) / len(population))
    assert sketch.cells.nbytes <= 8 * 2 * (2 * np.e / epsilon) * (np.log(1 / delta) + 1)  # whatever was counted


@settings(max_examples=40, deadline=None)
@given(KEYS, KEYS)
def test_merged_sketches_equal_one_sketch_of_everything(first: list[int], second: list[int]) -> None:
    parts = [CountMinSketch(16, 3), CountMinSketch(16, 3)]
    for part, keys in zip(parts, (first, second), strict=True):
        part.add(_keys(keys))
    parts[0].merge(parts[1])
    whole = CountMinSketch(16, 3)
    whole.add(_keys(first + second))
    np.testing.assert_array_equal(parts[0].cells, whole.cells)
    assert parts[0].total == whole.total


def test_shares_of_a_wide_sketch_are_exact() -> None:
    sketch = CountMinSketch(1 << 16, 4)
    sketch.add(_keys([5, 5, 7, 9]))
    np.testing.assert_allclose(sketch.shares(_keys([5, 7, 8])), [0.5, 0.25, 0.0])


@pytest.mark.parametrize(("width", "depth"), [(3, 1), (0, 1), (4, 0), (1, 1)])
def test_sizes_that_no_hash_fits_are_refused(width: int, depth: int) -> None:
    with pytest.raises(ConfigError, match="power of two"):
        CountMinSketch(width, depth)


def test_promises_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(ConfigError, match="both are shares"):
        CountMinSketch.within(0.0, 0.1)
    with pytest.raises(ConfigError, match="differ in size or seed"):
        CountMinSketch(16, 2).merge(CountMinSketch(16, 2, seed=1))
