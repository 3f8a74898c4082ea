"""Cross counters of training batches: a feature never knows the event it is for, nor, where times are known, any later one."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.counters import count_crosses, count_histories, event_segments, request_segments
from shortlist.data.dataset import EncodedLog, Split
from shortlist.training.batches import Rows


class CrossCounters:
    """Counts of the training events, with the segment of every event and request looked up once.

    Held-out events read the tables that a release has. Training events read them as they were at the event's time; without a split by
    time there may be no common clock, so there counters without a window read the whole table less the event itself.
    """

    def __init__(self, log: EncodedLog, split: Split) -> None:
        self.log = log
        self.tables = count_crosses(log, split)
        self.histories = count_histories(log, split, [c for c in log.schema.cross if split.times is not None or c.window])
        events = np.arange(len(log.item))
        self.segments = {c.name: event_segments(log, c.segment, events) for c in log.schema.cross}
        self.requests = {}
        if log.impressions is not None:
            requests = np.arange(len(log.impressions.user))
            self.requests = {c.name: request_segments(log, c.segment, requests) for c in log.schema.cross}

    def at_events(self, event: Tensor, rows: Tensor, *, training: bool) -> Tensor:
        """[...,M,C] for events [...] and rows [...,M]; `training` where they are training events."""
        events, wanted = event.cpu().numpy(), rows.cpu().numpy()
        rates = []
        for name, segment in self.segments.items():
            if training and name in self.histories:
                rates.append(self.histories[name].rates(segment[events], wanted, self.log.time[events]))
            else:
                rates.append(self.tables[name].rates(segment[events], wanted, without=self.log.item[events] if training else None))
        return _stack(rates, wanted).to(rows.device)

    def at_requests(self, request: Rows, rows: Rows) -> Tensor:
        """[...,M,C] for training requests [...] and rows [...,M], at the time of each request: requests come with a split by time."""
        assert self.log.impressions is not None
        moments = self.log.impressions.time[request]
        return _stack([self.histories[name].rates(segment[request], rows, moments) for name, segment in self.requests.items()], rows)


def _stack(rates: list[npt.NDArray[np.float32]], rows: Rows) -> Tensor:
    stacked = np.stack(rates, axis=-1) if rates else np.zeros((*rows.shape, 0), dtype=np.float32)
    return torch.from_numpy(np.maximum(stacked, 0.0))
