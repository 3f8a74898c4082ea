from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shortlist.data.dataset import EncodedLog
from shortlist.errors import ConfigError
from shortlist.models import content_similarity
from shortlist.models.content_similarity import content_vectors, nearest
from shortlist.models.cooccurrence import Cooccurrence, CooccurrenceConfig
from shortlist.schema import Column, Op
from shortlist.testing.logs import encoded_log, leave_one_out, random_log

GENRES = Column(name="genres", op=Op.VOCABULARY_LIST, vocabulary=("a", "b", "c"), width=2)
PRICE = Column(name="price", op=Op.NUMBER)


def described(log: EncodedLog, genres: list[list[int]], price: list[float] | None = None) -> EncodedLog:
    items = {**log.items, "genres": np.array(genres)}
    columns = (*log.schema.item, GENRES)
    if price is not None:
        items["price"], columns = np.array(price, dtype=np.float32), (*columns, PRICE)
    return replace(log, items=items, schema=replace(log.schema, item=columns))


def test_vectors_weigh_rare_ids_and_count_each_once() -> None:
    log = described(encoded_log([[0, 1, 2, 3]], items=4), [[1, 2], [1, 1], [3, 0], [0, 0]])
    a, b, c = np.log(4 / 2), np.log(4 / 1), np.log(4 / 1)
    expected = np.array([[0, a, b, 0], [0, a, 0, 0], [0, 0, 0, c], [0, 0, 0, 0]])
    expected[:3] /= np.linalg.norm(expected[:3], axis=1, keepdims=True)
    np.testing.assert_allclose(content_vectors(log).toarray()[:, :4], expected)


def test_numbers_are_deciles() -> None:
    log = encoded_log([[0, 1, 2, 3]], items=20)
    log = replace(described(log, [[1, 0]] * 20, np.linspace(1, 1e6, 20).tolist()))
    alike = (content_vectors(log) @ content_vectors(log).T).toarray() > 0.5
    np.testing.assert_array_equal(alike, np.kron(np.eye(10), np.ones((2, 2))) > 0)  # a genre of all items says nothing


def test_nearest_is_the_dense_cosine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_similarity, "_CELLS_AT_ONCE", 50)
    random = np.random.default_rng(0)
    vectors = content_vectors(described(random_log(), random.integers(0, 4, (30, 2)).tolist()))
    cosine = (vectors @ vectors.T).toarray()
    np.fill_diagonal(cosine, 0)
    indptr, rows, weights = nearest(vectors, 5)
    for item in range(30):
        place = slice(indptr[item], indptr[item + 1])
        best = np.lexsort((np.arange(30), -cosine[item].astype(np.float32)))[:5]
        best = best[cosine[item][best] > 0]
        assert rows[place].tolist() == best.tolist()
        np.testing.assert_allclose(weights[place], cosine[item][best], rtol=1e-6)


def test_a_share_of_the_weight_goes_to_likeness_and_items_nobody_took_have_it_alone() -> None:
    log = described(random_log(items=31), [[1 + row % 3, 0] for row in range(31)])
    log = replace(log, item=np.where(log.item == 30, 0, log.item))  # nobody took item 30
    split, config = leave_one_out(log), CooccurrenceConfig(content_share=0.25, neighbours=31)
    plain, blended = (Cooccurrence.fit(log, split, c) for c in (replace(config, content_share=0.0), config))
    before, after = (dense(model, 31) for model in (plain, blended))
    alike = np.equal.outer(np.arange(31) % 3, np.arange(31) % 3) & ~np.eye(31, dtype=bool)
    assert not before[30].any()
    totals = before.sum(1)
    totals[30] = totals[:30][totals[:30] > 0].mean()
    for item in range(31):
        like = alike[item] / alike[item].sum()
        own = 0.75 * before[item] + 0.25 * totals[item] * like if before[item].any() else totals[item] * like
        np.testing.assert_allclose(after[item], own, rtol=1e-5, atol=1e-9)


def dense(model: Cooccurrence, items: int) -> np.ndarray:
    weights = np.zeros((items, items))
    weights[np.repeat(np.arange(items), np.diff(model.indptr)), model.rows] = model.weights
    return weights


def test_a_catalog_without_content_is_refused() -> None:
    log = random_log()
    with pytest.raises(ConfigError, match="sample has no content to blend"):
        Cooccurrence.fit(log, leave_one_out(log), CooccurrenceConfig(content_share=0.1))
