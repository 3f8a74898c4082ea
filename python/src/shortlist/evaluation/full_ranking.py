"""Next-item evaluation by full ranking: every item of the catalog is ranked for every target, seen items left out, nothing sampled.

Sampled negatives change the order of models (Krichene and Rendle, 2020), so they are not offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.data.dataset import EncodedLog, Split
from shortlist.errors import DataError
from shortlist.evaluation.bootstrap import Estimate, estimate_means
from shortlist.evaluation.result import Result, SliceResult
from shortlist.evaluation.scorer import Retriever, Scorer, in_chunks, score_catalog, seen_items, users_of
from shortlist.evaluation.slices import target_slices, training_counts
from shortlist.metrics.coverage import catalog_coverage
from shortlist.metrics.diversity import intra_list_diversity, multi_hot
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.mrr import reciprocal_rank
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.metrics.novelty import novelty
from shortlist.metrics.order import order_keys, ranks_in_lists, target_ranks, top_k
from shortlist.metrics.popularity_bias import mean_popularity_rank, popularity_lift
from shortlist.metrics.recall import recall_at_k
from shortlist.metrics.value import checked_values, value_at_k
from shortlist.schema import Op

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

LIST_LENGTH = 10  # of the lists that coverage, novelty, diversity and bias look at
_MOST_CATEGORIES = 2_000  # of a column that says what an item is like


@dataclass(frozen=True)
class Ranked:
    """Where a model ranks the item of each target event, and the head of each list."""

    targets: Ints  # [T] absolute event indices
    ranks: Ints  # [T] from 1; NOT_RANKED where the item was seen before or is not retrieved
    lists: Ints | None = None  # [T,K] rows, best first; -1 is padding


def rank_targets(log: EncodedLog, scorer: Scorer, targets: Ints, *, depth: int = LIST_LENGTH) -> Ranked:
    """Exact ranks in the whole catalog, and the `depth` best rows."""
    _checked_targets(log, targets)
    ranks, lists = [], []
    for chunk in in_chunks(len(targets), len(log.item_ids)):
        events = targets[chunk]
        keys = order_keys(score_catalog(scorer, log, events), seen_items(log, events))
        ranks.append(target_ranks(keys, log.item[events]))
        lists.append(top_k(keys, depth))
    return Ranked(targets, np.concatenate(ranks), np.concatenate(lists))


def retrieve_targets(log: EncodedLog, retriever: Retriever, targets: Ints, *, depth: int, chunk: int = 1024) -> Ranked:
    """Ranks within the `depth` retrieved rows. MRR and any metric beyond `depth` count what was not retrieved as 0."""
    _checked_targets(log, targets)
    lists = []
    for part in in_chunks(len(targets), 1, chunk):
        rows = retriever.retrieve(log, targets[part], depth)
        padding = np.full((len(rows), depth - rows.shape[1]), -1, dtype=np.int64)
        lists.append(np.concatenate([rows, padding], axis=1))
    stacked = np.concatenate(lists)
    return Ranked(targets, ranks_in_lists(stacked, log.item[targets]), stacked)


def evaluate_ranked(
    model: str,
    log: EncodedLog,
    split: Split,
    ranked: Ranked,
    *,
    split_name: str = "test",
    ks: Sequence[int] = (10, 100),
    item_vectors: npt.ArrayLike | None = None,
    baseline: bool = False,
) -> Result:
    """Metrics of ranks, with intervals and slices; with lists also coverage, novelty, bias and, given vectors [I,V], diversity.

    Where the log has values of the targets, also what was found in money (`shortlist.metrics.value`).
    """
    users = users_of(log, ranked.targets)
    values = ranking_values(ranked.ranks, ks)
    metrics = estimate_means(values, users)
    worth, weights = log.value[ranked.targets].astype(np.float64), {}
    if worth.any():
        found, weighted = _value_values(ranked.ranks, worth, values, ks)
        metrics |= estimate_means(found, users) | estimate_means(weighted, users, weights=worth)
        values, weights = values | found | weighted, dict.fromkeys(weighted, worth)
    if ranked.lists is not None:
        lists = ranked.lists[:, :LIST_LENGTH]
        beyond = _list_values(log, split, lists, item_vectors)
        metrics |= estimate_means(beyond, users) | _catalog_metrics(log, split, lists, ranked.targets)
        values |= beyond
    slices = {
        name: SliceResult(int(mask.sum()), estimate_means({metric: values[metric][mask] for metric in ranking_names(ks)}, users[mask]))
        for name, mask in target_slices(log, split, ranked.targets).items()
    }
    return Result(model, split_name, len(ranked.targets), metrics, slices, baseline, values=values, weights=weights, groups=users)


def ranking_values(ranks: Ints, ks: Sequence[int]) -> dict[str, Floats]:
    """Metrics of every request [T] with one relevant item; `hr@k` then equals `recall@k`, so each k has the name its readers look for."""
    values = {}
    for k in ks:
        if k <= LIST_LENGTH:
            values[f"hr@{k}"] = hits_at_k(ranks, k)
            values[f"ndcg@{k}"] = ndcg_at_k(ranks, k)
        else:
            values[f"recall@{k}"] = recall_at_k(ranks, k)
    return values | {"mrr": reciprocal_rank(ranks)}


def ranking_names(ks: Sequence[int]) -> list[str]:
    return list(ranking_values(np.ones(1, dtype=np.int64), ks))


def content_vectors(log: EncodedLog) -> Floats | None:
    """What each item is, [I,V]: the categories of its vocabulary columns, for a diversity that no model defines. None without any."""
    kinds = (Op.VOCABULARY, Op.VOCABULARY_LIST)
    columns = [column for column in log.schema.item if column.op in kinds and column.cardinality <= _MOST_CATEGORIES]
    return np.concatenate([multi_hot(log.items[c.name], c.cardinality) for c in columns], axis=1) if columns else None


def _value_values(ranks: Ints, worth: Floats, values: dict[str, Floats], ks: Sequence[int]) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Metrics of every request [T] in money, and those whose mean is weighted by it."""
    worth, short = checked_values(worth), [k for k in ks if k <= LIST_LENGTH]
    found = {f"value@{k}": value_at_k(ranks, worth, k) for k in short}
    return found, {f"value_{name}@{k}": values[f"{name}@{k}"] for k in short for name in ("hr", "ndcg")}


def _list_values(log: EncodedLog, split: Split, lists: Ints, item_vectors: npt.ArrayLike | None) -> dict[str, Floats]:
    counts = training_counts(log, split)
    values = {f"novelty@{LIST_LENGTH}": novelty(lists, counts), f"popularity@{LIST_LENGTH}": mean_popularity_rank(lists, counts)}
    if item_vectors is not None:
        values[f"diversity@{LIST_LENGTH}"] = intra_list_diversity(lists, item_vectors)
    return values


def _catalog_metrics(log: EncodedLog, split: Split, lists: Ints, targets: Ints) -> dict[str, Estimate]:
    counts = training_counts(log, split)
    metrics = {f"coverage@{LIST_LENGTH}": Estimate(catalog_coverage(lists, len(log.item_ids)))}
    if counts[log.item[targets]].any() and (lists >= 0).any():
        metrics[f"popularity_lift@{LIST_LENGTH}"] = Estimate(popularity_lift(lists, log.item[targets], counts))
    return metrics


def _checked_targets(log: EncodedLog, targets: Ints) -> None:
    if len(targets) == 0:
        raise DataError("there are no targets", why="the split holds out no event", fix="check the split")
    if targets.min() < 0 or targets.max() >= len(log.item):
        raise DataError(
            f"a target is outside of the log's {len(log.item)} events",
            why="targets are absolute event indices",
            fix="use the split made from this log",
        )
