"""Codes are within their bound, the rotation keeps dot products, and a long enough shortlist finds the exact answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shortlist.errors import BundleError, ConfigError
from shortlist.export.small_vectors import (
    KINDS,
    Int4Vectors,
    Int8Vectors,
    misfit,
    random_signs,
    read_small,
    recall,
    rotate,
    rotated_width,
    search,
    small_vectors,
    top,
)
from shortlist.export.tables import Floats

FLOATS = st.floats(-1e4, 1e4, width=32, allow_subnormal=False)


def matrices(rows: int = 12, widths: st.SearchStrategy[int] | None = None) -> st.SearchStrategy[Floats]:
    """[1..rows, K] with values of any size, zeros among them."""
    shapes = st.tuples(st.integers(1, rows), st.integers(1, 20) if widths is None else widths)
    return shapes.flatmap(lambda shape: arrays.arrays(np.float32, shape, elements=FLOATS))


@given(st.integers(1, 70), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_rotation_is_orthogonal(width: int, seed: int) -> None:
    signs = random_signs(width, seed)
    size = rotated_width(width)
    assert size >= width
    assert size & (size - 1) == 0
    matrix = rotate(np.eye(size, dtype=np.float32), signs)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-5)
    assert np.array_equal(signs, random_signs(width, seed))


@given(matrices())
@settings(max_examples=40, deadline=None)
def test_dot_products_survive_the_rotation(x: Floats) -> None:
    signs = random_signs(x.shape[1], 3)
    rotated = rotate(x, signs).astype(np.float64)
    exact = x.astype(np.float64) @ x.T.astype(np.float64)
    lengths = np.linalg.norm(x.astype(np.float64), axis=1)
    assert (np.abs(rotated @ rotated.T - exact) <= 1e-5 * np.outer(lengths, lengths) + 1e-6).all()


@given(matrices())
@settings(max_examples=60, deadline=None)
def test_codes_are_within_half_a_step(x: Floats) -> None:
    eight, four = Int8Vectors.encode(x), Int4Vectors.encode(x)
    for decoded, true, scale in ((eight.decode(), x, eight.scale), (four.decode(), rotate(x, four.signs), four.scale)):
        bound = scale[:, np.newaxis] * 0.5 * (1 + 1e-4) + 1e-6 * np.abs(true)
        assert (np.abs(decoded - true) <= bound).all()


@given(matrices(widths=st.just(16)), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_scores_are_within_the_bound_of_their_codes(x: Floats, seed: int) -> None:
    """|error| <= step / 2 times the 1-norm of the query as it is scored."""
    queries = np.random.default_rng(seed).normal(size=(3, 16)).astype(np.float32)
    exact = queries.astype(np.float64) @ x.T.astype(np.float64)
    for small, scored in ((Int8Vectors.encode(x), queries), (four := Int4Vectors.encode(x), rotate(queries, four.signs))):
        bound = 0.5 * np.abs(scored).sum(axis=1)[:, np.newaxis] * small.scale[np.newaxis]
        assert (np.abs(small.scores(queries) - exact) <= bound * (1 + 1e-3) + 1e-3).all()


@given(st.integers(0, 1000), st.sampled_from(KINDS), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_a_whole_shortlist_gives_the_exact_answer(seed: int, kind: str, k: int) -> None:
    rng = np.random.default_rng(seed)
    vectors, queries = rng.normal(size=(30, 8)).astype(np.float32), rng.normal(size=(4, 8)).astype(np.float32)
    vectors[15:] = vectors[:15]  # ties everywhere
    exact = top(np.stack([vectors @ query for query in queries]), k)
    assert np.array_equal(search(small_vectors(kind, vectors), vectors, queries, k, 30), exact)


@pytest.mark.parametrize("kind", KINDS)
def test_longer_shortlists_find_more(kind: str) -> None:
    rng = np.random.default_rng(0)
    vectors, queries = rng.normal(size=(2000, 32)).astype(np.float32), rng.normal(size=(20, 32)).astype(np.float32)
    small, exact = small_vectors(kind, vectors), top(queries @ vectors.T, 10)
    found = [recall(search(small, vectors, queries, 10, shortlist), exact) for shortlist in (10, 20, 40)]
    assert found == sorted(found)
    assert found[2] > 0.99
    assert found[0] > {"int8": 0.9, "int4": 0.6}[kind]


def test_the_rotation_is_what_makes_4_bits_enough() -> None:
    """Vectors whose length sits in two coordinates: unrotated, all others would fall on the same two codes."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(1000, 64)).astype(np.float32)
    vectors[:, :2] *= 30
    queries = rng.normal(size=(20, 64)).astype(np.float32)
    queries[:, :2] *= 0.01
    exact = top(queries @ vectors.T, 10)
    rotated = Int4Vectors.encode(vectors)
    codes = np.floor(vectors / (np.abs(vectors).max(axis=1, keepdims=True) / 7.5)) + 0.5
    plain = top(queries @ (codes * np.abs(vectors).max(axis=1, keepdims=True) / 7.5).astype(np.float32).T, 40)
    assert recall(search(rotated, vectors, queries, 10, 40), exact) > 1.5 * recall(plain, exact)


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_stored_and_read_again(kind: str) -> None:
    vectors = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    vectors[4] = 0
    small = small_vectors(kind, vectors)
    again = read_small(kind, small.tensors(), items=9, width=6)
    assert all(np.array_equal(value, again.tensors()[name]) for name, value in small.tensors().items())
    assert misfit(small, vectors) <= 1.001
    assert misfit(small, vectors[::-1].copy()) > 2
    assert small.bytes_per_item == {"int8": 10, "int4": 8}[kind]
    with pytest.raises(BundleError, match="codes"):
        read_small(kind, small.tensors(), items=8, width=6)
    if kind == "int4":
        with pytest.raises(BundleError, match="signs"):
            read_small(kind, {**small.tensors(), "signs": np.zeros(8, np.float32)}, items=9, width=6)


def test_wrong_settings_are_refused() -> None:
    vectors = np.ones((3, 2), np.float32)
    with pytest.raises(ConfigError, match="int2"):
        small_vectors("int2", vectors)
    with pytest.raises(ConfigError, match="shortlist"):
        search(Int8Vectors.encode(vectors), vectors, vectors, 3, 2)
