"""The models applied to logged pages: task logits of what was really shown, each page under the history and counters of its moment."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.counters import request_cross_features
from shortlist.data.dataset import EncodedImpressions
from shortlist.errors import DataError
from shortlist.features import window_starts
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.training.batches import LogTensors, Rows, Sequences, bucketed
from shortlist.training.cross import CrossCounters
from shortlist.training.scoring import FrozenRetriever, Lists, Stretches, encode_stretches, prerank_logits, rank_logits, stretches

Floats = npt.NDArray[np.float32]

_BATCH_EVENTS = 8192


def impressions_of(log: LogTensors) -> EncodedImpressions:
    """Raises DataError when the log has none."""
    if log.log.impressions is None:
        raise DataError(f"data set {log.log.name!r} has no impressions", why="there are no logged pages", fix="use data with impressions")
    return log.log.impressions


def page_histories(log: LogTensors, requests: Rows) -> Sequences:
    """The windowed history that each request of the log had; it may be empty."""
    impressions, schema = impressions_of(log), log.schema
    user, end = impressions.user[requests], impressions.history_end[requests]
    first = log.log.ptr[user]
    dropped = window_starts(end - first, schema.history_max_events, schema.history_step)
    return Sequences(user, first + dropped, end - first - dropped, dropped == 0)


def page_lists(log: LogTensors, cross: CrossCounters, users: Stretches, requests: Rows) -> Lists:
    """The pages of `requests` [B] as lists [B,1,M]. Counters leave nothing out: for requests after the counted events."""
    impressions, device = impressions_of(log), log.device
    begin, size = impressions.ptr[requests], np.diff(impressions.ptr)[requests]
    place = begin[:, None] + np.arange(max(1, int(size.max(initial=1))))
    valid = place < (begin + size)[:, None]
    place = np.where(valid, place, 0)
    rows, labels = impressions.item[place], impressions.labels[place] * valid[..., None]
    rates = torch.from_numpy(request_cross_features(log.log, cross.tables, requests, rows))
    context = {name: torch.tensor(values[requests], device=device).unsqueeze(1) for name, values in impressions.context.items()}
    rows_t, valid_t, labels_t, rates_t = (torch.as_tensor(x, device=device).unsqueeze(1) for x in (rows, valid, labels, rates))
    visible = users.length.unsqueeze(-1)
    return Lists(visible, torch.ones_like(visible, dtype=torch.bool), context, rows_t, valid_t, labels_t, rates_t)


@torch.no_grad()
def page_logits(
    retriever: FrozenRetriever, preranker: Preranker, ranker: AnyRanker, cross: CrossCounters, requests: Rows
) -> tuple[Floats, Floats]:
    """Task logits [n,T] of the preranker and of the ranker for all items shown in `requests`, one request after the other.

    As served, without the position tower: an item's logit does not know its place on the page.
    """
    tasks, sizes = len(retriever.log.schema.tasks), np.diff(impressions_of(retriever.log).ptr)[requests]
    begin = np.cumsum(sizes) - sizes
    found = np.zeros((2, int(sizes.sum()), tasks), dtype=np.float32)
    for chosen, users, lists in _batches(retriever.log, cross, requests):
        preranked = prerank_logits(retriever, preranker, users, lists)
        score = torch.matmul(preranked, preranker.task_weights)
        keys, values = encode_stretches(ranker, retriever, users)
        ranked = rank_logits(ranker, retriever, users, keys, values, lists, score)
        place = np.concatenate([np.arange(begin[row], begin[row] + sizes[row]) for row in chosen])
        for model, logits in enumerate((preranked, ranked)):
            found[model, place] = _shown(logits, lists)
    return found[0], found[1]


def page_labels(log: LogTensors, requests: Rows) -> Floats:
    """Labels [n,T] of all items shown in `requests`, in the order of `page_logits`."""
    impressions = impressions_of(log)
    places = [np.arange(impressions.ptr[request], impressions.ptr[request + 1]) for request in requests]
    return impressions.labels[np.concatenate(places)] if places else np.zeros((0, len(log.schema.tasks)), dtype=np.float32)


def _batches(log: LogTensors, cross: CrossCounters, requests: Rows) -> Iterator[tuple[Rows, Stretches, Lists]]:
    """Positions in `requests`, with their histories and pages."""
    histories = page_histories(log, requests)
    for chosen in bucketed(histories.length + 1, _BATCH_EVENTS, (0,)):
        users = stretches(log, histories, chosen)
        yield chosen, users, page_lists(log, cross, users, requests[chosen])


def _shown(logits: Tensor, lists: Lists) -> Floats:
    """[B,1,M,T] -> the valid candidates' [n,T], page after page."""
    shown: Floats = logits[lists.valid].float().cpu().numpy()
    return shown
