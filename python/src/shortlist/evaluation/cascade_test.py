from __future__ import annotations

import numpy as np
import pytest

from shortlist.data.dataset import EncodedLog
from shortlist.errors import DataError
from shortlist.evaluation.cascade import rank_cascade
from shortlist.evaluation.full_ranking import rank_targets
from shortlist.evaluation.scorer import ExactRetriever, Scorer
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.testing.logs import leave_one_out, random_log


class FromScorer:
    """A reranker that takes a scorer's score of each candidate."""

    def __init__(self, scorer: Scorer) -> None:
        self.scorer = scorer

    def score_rows(self, log: EncodedLog, events: np.ndarray, rows_BM: np.ndarray) -> np.ndarray:
        scores = np.take_along_axis(self.scorer.score_events(log, events), np.maximum(rows_BM, 0), axis=1)
        return np.where(rows_BM < 0, np.float32(np.nan), scores)


class Fixed:
    def __init__(self, rows: list[int]) -> None:
        self.rows = rows

    def retrieve(self, log: EncodedLog, events: np.ndarray, k: int) -> np.ndarray:
        return np.tile(np.array(self.rows, dtype=np.int64), (len(events), 1))


def test_a_cascade_of_one_model_is_full_ranking() -> None:
    log = random_log(users=50)
    split = leave_one_out(log)
    model = Cooccurrence.fit(log, split)
    same = FromScorer(model)
    cascade = rank_cascade(log, ExactRetriever(model), same, same, split.test, retrieve=30, prerank_keep=30, chunk=16)
    np.testing.assert_array_equal(cascade.ranking.ranks, rank_targets(log, model, split.test).ranks)


def test_cuts_count_what_each_stage_loses() -> None:
    log = random_log(users=50)
    split = leave_one_out(log)
    popular, together = Popularity.fit(log, split), Cooccurrence.fit(log, split)
    cascade = rank_cascade(
        log, ExactRetriever(together), FromScorer(popular), FromScorer(together), split.test, retrieve=15, prerank_keep=8, limit=1
    )
    recalls = [
        float((stage.ranks <= cut.width).mean())
        for stage, cut in zip((cascade.retrieval, cascade.preranking, cascade.ranking), cascade.cuts, strict=True)
    ]
    assert [cut.recall for cut in cascade.cuts] == recalls
    assert recalls[0] > recalls[1] > recalls[2] > 0
    assert np.prod([cut.kept for cut in cascade.cuts]) == pytest.approx(recalls[-1])
    in_ranking, in_preranking = cascade.ranking.lists, cascade.preranking.lists
    assert in_ranking is not None
    assert in_preranking is not None
    for ranked, preranked in zip(in_ranking, in_preranking, strict=True):
        assert set(ranked.tolist()) == set(preranked[:8].tolist())


def test_bad_stages_are_refused() -> None:
    log = random_log()
    split = leave_one_out(log)
    same = FromScorer(Popularity.fit(log, split))
    with pytest.raises(DataError, match="stage sizes are 5, 8, 3"):
        rank_cascade(log, Fixed([0]), same, same, split.test, retrieve=5, prerank_keep=8, limit=3)
    with pytest.raises(DataError, match="an item twice"):
        rank_cascade(log, Fixed([4, 2, 4]), same, same, split.test, retrieve=5, prerank_keep=4, limit=3)
    with pytest.raises(DataError, match=r"the retriever gave rows \[40, 6\]"):
        rank_cascade(log, Fixed([0, 1, 2, 3, 4, 5]), same, same, split.test, retrieve=5, prerank_keep=4, limit=3)
