from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from shortlist.errors import DataError
from shortlist.metrics import diversity
from shortlist.metrics.diversity import intra_list_diversity, multi_hot


def test_equals_the_mean_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity, "_ITEMS_AT_ONCE", 100)
    random = np.random.default_rng(0)
    vectors = random.normal(size=(20, 6))
    vectors[3] = 0
    lists = random.permuted(np.tile(np.arange(20), (9, 1)), axis=1)[:, :7]
    lists[0, 4:] = -1
    cosine = np.nan_to_num((vectors @ vectors.T) / np.outer(*[np.maximum(np.linalg.norm(vectors, axis=1), 1e-150)] * 2))
    expected = [np.mean([1 - cosine[a, b] for a, b in combinations(rows[rows >= 0], 2)]) for rows in lists]
    np.testing.assert_allclose(intra_list_diversity(lists, vectors), expected, atol=1e-12)


def test_same_category_has_no_diversity_and_disjoint_categories_have_all() -> None:
    categories = multi_hot(np.array([[1, 2], [2, 1], [3, 0], [4, 0]]), cardinality=5)
    assert categories.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert intra_list_diversity(np.array([[0, 1, -1], [0, 2, 3], [2, -1, -1]]), categories) == pytest.approx([0, 1, 0])


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="item vectors has 1 of 2"):
        intra_list_diversity(np.array([[0]]), np.array([[np.nan, 1.0]]))
    with pytest.raises(DataError, match=r"outside of 0..2"):
        multi_hot(np.array([3]), cardinality=3)
