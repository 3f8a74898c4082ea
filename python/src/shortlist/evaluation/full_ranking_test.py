from __future__ import annotations

import numpy as np
import pytest

from shortlist.data.dataset import EncodedLog
from shortlist.errors import DataError
from shortlist.evaluation import scorer
from shortlist.evaluation.full_ranking import Ranked, evaluate_ranked, rank_targets, retrieve_targets
from shortlist.evaluation.scorer import ExactRetriever, in_chunks, seen_items
from shortlist.evaluation.slices import target_slices
from shortlist.metrics.order import NOT_RANKED
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.testing.logs import encoded_log, leave_one_out, random_log


class FixedScores:
    """The same scores for everybody."""

    def __init__(self, scores: list[float]) -> None:
        self.scores = np.array(scores, dtype=np.float32)

    def score_events(self, log: EncodedLog, events: np.ndarray) -> np.ndarray:
        return np.tile(self.scores, (len(events), 1))


def test_ranks_and_lists_are_those_of_a_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shortlist.evaluation.full_ranking.in_chunks", lambda count, width: in_chunks(count, width, 7 * width))
    log = random_log(users=50, items=25)
    split = leave_one_out(log)
    model = Cooccurrence.fit(log, split)
    ranked = rank_targets(log, model, split.test, depth=5)
    assert ranked.lists is not None
    for target, rank, best in zip(split.test, ranked.ranks, ranked.lists, strict=True):
        begin = log.ptr[np.searchsorted(log.ptr, target, side="right") - 1]
        seen = set(log.item[begin:target].tolist())
        scores = model.scores(log.item[begin:target]).tolist()
        order = sorted((row for row in range(25) if row not in seen), key=lambda row: (-scores[row], row))
        assert best.tolist() == order[:5]
        assert rank == 1 + order.index(log.item[target])


def test_an_item_taken_again_cannot_be_found() -> None:
    log = encoded_log([[0, 1, 0], [2, 1, 0]], items=4)
    ranked = rank_targets(log, FixedScores([3, 2, 1, 0]), log.ptr[1:] - 1)
    assert ranked.ranks.tolist() == [NOT_RANKED, 1]
    assert ranked.lists is not None
    assert ranked.lists[0].tolist() == [2, 3, -1, -1]


def test_retriever_agrees_with_full_ranking_up_to_its_depth() -> None:
    log = random_log()
    split = leave_one_out(log)
    model = Popularity.fit(log, split)
    full, cut = rank_targets(log, model, split.test), retrieve_targets(log, ExactRetriever(model), split.test, depth=8, chunk=16)
    np.testing.assert_array_equal(cut.ranks, np.where(full.ranks <= 8, full.ranks, NOT_RANKED))
    assert full.lists is not None
    assert cut.lists is not None
    np.testing.assert_array_equal(cut.lists, full.lists[:, :8])


def test_metrics_by_hand_with_slices_and_list_metrics() -> None:
    log = encoded_log([[0, 1, 2, 3], [0, 1, 2, 4], [0, 2, 1, 5]], items=6)
    split = leave_one_out(log)
    vectors = np.eye(6)
    result = evaluate_ranked("fixed", log, split, rank_targets(log, FixedScores([5, 4, 3, 2, 1, 0]), split.test), item_vectors=vectors)
    assert result.values["hr@10"].tolist() == [1, 1, 1]
    assert result.values["mrr"] == pytest.approx([1, 1 / 2, 1 / 3])
    assert result.metrics["ndcg@10"].value == pytest.approx((1 + 1 / np.log2(3) + 1 / 2) / 3)
    assert result.metrics["coverage@10"].value == 0.5
    assert result.metrics["diversity@10"].value == pytest.approx(1)
    assert "popularity_lift@10" not in result.metrics  # no target was met in training
    assert {name for name in result.slices if "=" not in name} == {"short_history", "new_item", "tail_item"}
    assert sum(part.targets for name, part in result.slices.items() if name.startswith("gender=")) == 3
    assert not any(name.startswith("value") for name in result.metrics)  # the log has none
    assert result.slices["new_item"].targets == 3
    low, high = result.metrics["mrr"].low, result.metrics["mrr"].high
    assert low is not None
    assert high is not None
    assert 1 / 3 <= low < result.metrics["mrr"].value < high <= 1


def test_money_is_counted_where_the_log_has_values() -> None:
    log = encoded_log([[0, 1, 2, 3], [0, 1, 2, 4], [0, 2, 1, 5]], items=6)
    log.value[log.ptr[1:] - 1] = [10, 0, 30]
    split = leave_one_out(log)
    result = evaluate_ranked("fixed", log, split, Ranked(split.test, np.array([1, 2, 11])))
    assert result.metrics["value@10"].value == pytest.approx(10 / 3)
    assert result.metrics["value_hr@10"].value == pytest.approx(10 / 40)
    assert result.metrics["value_ndcg@10"].value == pytest.approx(10 / 40)
    low, high = result.metrics["value_hr@10"].low, result.metrics["value_hr@10"].high
    assert (low, high) == (0, 1)  # two users paid: a draw may hold one of them alone


def test_slices_are_what_they_say() -> None:
    log = random_log(users=60, items=40, longest=25)
    split = leave_one_out(log)
    targets = split.test
    slices = target_slices(log, split, targets)
    lengths = targets - log.ptr[:-1]
    np.testing.assert_array_equal(slices["short_history"], lengths < 10)
    np.testing.assert_array_equal(slices["head_item"], ~slices["tail_item"])
    assert len(set(log.item[targets[slices["head_item"]]].tolist())) <= 8
    np.testing.assert_array_equal(slices["new_user"], np.diff(log.ptr) == 2) if "new_user" in slices else None


def test_deeper_ranks_never_help_and_unranked_counts_as_nothing() -> None:
    log = random_log()
    split = leave_one_out(log)
    near = evaluate_ranked("near", log, split, Ranked(split.test, np.full(40, 3)), ks=(5, 10, 20))
    lost = evaluate_ranked("lost", log, split, Ranked(split.test, np.full(40, NOT_RANKED)), ks=(5, 10, 20))
    assert list(near.metrics) == ["hr@5", "ndcg@5", "hr@10", "ndcg@10", "recall@20", "mrr"]
    assert all(lost.metrics[name].value == 0 < near.metrics[name].value for name in near.metrics)


def test_seen_items_are_those_before_the_event() -> None:
    log = encoded_log([[0, 1], [2, 0, 1]], items=3)
    assert seen_items(log, np.array([0, 1, 2, 4])).tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 0], [1, 0, 1]]


def test_bad_input_is_refused() -> None:
    log = random_log()
    with pytest.raises(DataError, match=r"FixedScores gave scores \[1, 3\]"):
        rank_targets(log, FixedScores([1, 2, 3]), log.ptr[:1])
    with pytest.raises(DataError, match="scores has 1 of 30 values that are NaN"):
        rank_targets(log, FixedScores([np.nan] + [0.0] * 29), log.ptr[:1])
    with pytest.raises(DataError, match="no targets"):
        rank_targets(log, FixedScores([0.0] * 30), np.zeros(0, dtype=np.int64))
    with pytest.raises(DataError, match="outside of the log"):
        rank_targets(log, FixedScores([0.0] * 30), log.ptr[-1:])
    assert scorer.in_chunks(5, 10**9) == [slice(i, i + 1) for i in range(5)]
