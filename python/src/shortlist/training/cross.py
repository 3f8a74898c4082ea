"""Cross counters of training batches: an event never counts itself."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.counters import count_crosses, event_segments, request_segments
from shortlist.data.dataset import EncodedLog, Split
from shortlist.training.batches import Rows


class CrossCounters:
    """Counts of the training events, with the segment of every event and request looked up once."""

    def __init__(self, log: EncodedLog, split: Split) -> None:
        self.log = log
        self.tables = count_crosses(log, split)
        events = np.arange(len(log.item))
        self.segments = {c.name: event_segments(log, c.segment, events) for c in log.schema.cross}
        self.requests = {}
        if log.impressions is not None:
            requests = np.arange(len(log.impressions.user))
            self.requests = {c.name: request_segments(log, c.segment, requests) for c in log.schema.cross}

    def at_events(self, event: Tensor, rows: Tensor, *, leave_out: bool) -> Tensor:
        """[...,M,C] for events [...] and rows [...,M]; `leave_out` where they are training events."""
        events, wanted = event.cpu().numpy(), rows.cpu().numpy()
        without = self.log.item[events] if leave_out else None
        rates = [self.tables[name].rates(segment[events], wanted, without=without) for name, segment in self.segments.items()]
        return _stack(rates, wanted).to(rows.device)

    def at_requests(self, request: Rows, rows: Rows, engaged: npt.NDArray[np.bool_]) -> Tensor:
        """[...,M,C] for training requests [...] and rows [...,M]. Engaged items [...,M] leave out their own event, others the first one's,
        so that no rate tells which items were engaged."""
        first = np.where(engaged.any(axis=-1), np.take_along_axis(rows, engaged.argmax(axis=-1)[..., None], axis=-1)[..., 0], -1)
        without = np.where(engaged, rows, first[..., None])
        rates = []
        for name, segment in self.requests.items():
            each = np.broadcast_to(segment[request][..., None], rows.shape)
            rates.append(self.tables[name].rates(each, rows[..., None], without=without)[..., 0])
        return _stack(rates, rows)


def _stack(rates: list[npt.NDArray[np.float32]], rows: Rows) -> Tensor:
    stacked = np.stack(rates, axis=-1) if rates else np.zeros((*rows.shape, 0), dtype=np.float32)
    return torch.from_numpy(np.maximum(stacked, 0.0))
