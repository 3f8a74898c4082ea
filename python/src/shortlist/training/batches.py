"""From flat event arrays to padded batches: prefixes of histories, their columns, and which users share a batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from shortlist.data.dataset import EncodedLog
from shortlist.features import window_starts
from shortlist.schema import ACTION, TIME, Schema

Rows = npt.NDArray[np.int64]


class LogTensors:
    """An `EncodedLog` as tensors of one device, with the gathers that models need."""

    def __init__(self, log: EncodedLog, device: torch.device) -> None:
        self.log, self.device = log, device
        self.schema: Schema = log.schema
        # Copies: arrays of a log may be read-only, which torch does not support.
        self.items = {name: torch.tensor(values, device=device) for name, values in log.items.items()}
        self.users = {name: torch.tensor(values, device=device) for name, values in log.users.items()}
        self.context = {name: torch.tensor(values, device=device) for name, values in log.context.items()}
        # One more row of zeros, which padding points at.
        self._history = {
            column.name: torch.cat((self.items[column.name], torch.zeros_like(self.items[column.name][:1])))
            for column in log.schema.history
        }
        self._item = torch.cat((torch.tensor(log.item), torch.tensor([len(log.item_ids)]))).to(device)
        self._time = torch.cat((torch.tensor(log.time), torch.tensor([0]))).to(device)
        self._action = torch.cat((torch.tensor(log.action), torch.tensor([0]))).to(device)
        self.event_user = torch.from_numpy(np.repeat(np.arange(len(log.user_ids)), np.diff(log.ptr))).to(device)

    @property
    def item_count(self) -> int:
        return len(self.log.item_ids)

    def event_index(self, start: Tensor, length: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Absolute indices [B,N] of `length` [B] events from `start` [B], padded to N = `count`, and whether each is one."""
        offset = torch.arange(count, device=self.device)
        valid = offset < length.unsqueeze(-1)
        return torch.where(valid, start.unsqueeze(-1) + offset, len(self._item) - 1), valid

    def history(self, index: Tensor) -> dict[str, Tensor]:
        """History columns of absolute event indices [B,N]; the index E is padding."""
        row = self._item[index]
        columns = {name: values[row] for name, values in self._history.items()}
        columns[ACTION] = self._action[index]
        columns[TIME] = self._time[index]
        return columns

    def times(self, index: Tensor) -> Tensor:
        """Times of event indices, unix seconds or ranks; 0 on padding."""
        return self._time[index]

    def rows(self, index: Tensor) -> Tensor:
        """Catalog rows of event indices; padding gives I."""
        return self._item[index]

    def actions(self, index: Tensor) -> Tensor:
        return self._action[index]

    def user_columns(self, user: Tensor) -> dict[str, Tensor]:
        return {name: values[user] for name, values in self.users.items()}

    def context_columns(self, event: Tensor) -> dict[str, Tensor]:
        return {name: values[event] for name, values in self.context.items()}

    def item_columns(self, row: Tensor) -> dict[str, Tensor]:
        return {name: values[row] for name, values in self.items.items()}


@dataclass(frozen=True)
class Sequences:
    """Stretches of events: `length` events from absolute index `start`; `whole` where the user's first event is in it."""

    user: Rows
    start: Rows
    length: Rows
    whole: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.start)


def training_sequences(log: EncodedLog, train_end: Rows) -> Sequences:
    """Each user's newest training events: a full window of inputs and one more target."""
    first = log.ptr[:-1]
    length = np.minimum(train_end - first, log.schema.history_max_events + 1)
    user = np.flatnonzero(length >= 1)
    start = (train_end - length)[user]
    return Sequences(user, start, length[user], start == first[user])


def cut(sequences: Sequences, window: int) -> Sequences:
    """The stretches in pieces of at most `window` inputs and one more target.

    A piece begins with the last event of the one before it, so that every event is still a target once and only its far past is unseen.
    """
    pieces = np.maximum(1, -(-(sequences.length - 1) // window))
    index = np.repeat(np.arange(len(sequences)), pieces)
    offset = window * (np.arange(len(index)) - np.repeat(np.cumsum(pieces) - pieces, pieces))
    length = np.minimum(sequences.length[index] - offset, window + 1)
    return Sequences(sequences.user[index], sequences.start[index] + offset, length, sequences.whole[index] & (offset == 0))


class WindowWarmup:
    """Short windows in the first epochs, the whole ones after: epoch i sees stretches cut to `windows[i]` events.

    `sequences` holds the stretches of every window; `chosen` says which of them an epoch trains on.
    """

    def __init__(self, sequences: Sequences, windows: tuple[int, ...]) -> None:
        self.windows = windows
        parts = [cut(sequences, window) for window in windows] + [sequences]
        fields = (np.concatenate([getattr(part, name) for part in parts]) for name in ("user", "start", "length", "whole"))
        self.sequences = Sequences(*fields)
        self._edges = np.cumsum([0, *map(len, parts)])

    def chosen(self, epoch: int) -> Rows:
        part = min(epoch, len(self.windows))
        return np.arange(self._edges[part], self._edges[part + 1])


def fresh_start(log: EncodedLog, train_end: Rows, share: float, seed: int = 0) -> Rows:
    """Absolute index [U] of each user's first fresh event: the newest `share` of the training events, but never all of them.

    Shares of an event are drawn: of users with six events and a share of 0.05, three in ten give one. The two-tower does not train on
    fresh events. It scores an event that it trained on far too well, and a later stage that learned from such scores would trust them
    too much; so the later stages learn what a score is worth from fresh events alone.
    """
    count = train_end - log.ptr[:-1]
    wanted = np.floor(count * share + np.random.default_rng(seed).random(len(count))).astype(np.int64)
    start: Rows = train_end - np.minimum(wanted, np.maximum(count - 1, 0))
    return start


def target_histories(log: EncodedLog, target: Rows) -> Sequences:
    """The windowed history of each target event; a history may be empty."""
    user = np.searchsorted(log.ptr, target, side="right") - 1
    first = log.ptr[user]
    dropped = window_starts(target - first, log.schema.history_max_events, log.schema.history_step)
    return Sequences(user.astype(np.int64), first + dropped, target - first - dropped, dropped == 0)


def bucketed(length: Rows, batch_events: int, seed: tuple[int, ...]) -> list[Rows]:
    """Batches of sequence indices: similar lengths together, padded size at most `batch_events`, order by `seed` alone."""
    generator = np.random.default_rng(seed)
    order = np.argsort(length * generator.uniform(0.9, 1.1, len(length)), kind="stable")
    batches: list[Rows] = []
    begin, longest = 0, 0
    for position, index in enumerate(order):
        longest = max(longest, int(length[index]))
        if (position - begin + 1) * longest > batch_events and position > begin:
            batches.append(order[begin:position])
            begin, longest = position, int(length[index])
    if begin < len(order):
        batches.append(order[begin:])
    generator.shuffle(batches)
    return batches
