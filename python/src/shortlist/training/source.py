"""The data of a run: loaded by its spec, encoded and split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from shortlist.data.dataset import Array, Dataset, EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.load import load
from shortlist.data.splits import by_time, leave_one_out, with_trained_ids
from shortlist.errors import ConfigError
from shortlist.training.config import RunConfig


@dataclass(frozen=True)
class Source:
    """A loaded data set: raw frames, arrays, split. The log's item vocabulary holds the ids of training events only."""

    dataset: Dataset
    log: EncodedLog
    split: Split

    def digest(self) -> str:
        """sha256 over events, features and split: equal digests mean equal training data."""
        state = hashlib.sha256()
        log, split = self.log, self.split
        columns = [*log.users.items(), *log.items.items(), *log.context.items()]
        arrays: list[Array] = [log.ptr, log.item, log.action, log.time, log.value, *(values for _, values in columns)]
        arrays += [split.train_end, split.validation, split.test]
        for array in arrays:
            state.update(str((array.dtype, array.shape)).encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def load_source(config: RunConfig) -> Source:
    """The data that a run of this configuration uses. Raises ConfigError, SchemaError or DataError."""
    dataset = load(config.data)
    log = encode(dataset)
    split = split_log(log, config)
    return Source(dataset, with_trained_ids(log, split), split)


def split_log(log: EncodedLog, config: RunConfig) -> Split:
    """By the configuration's `split`: each user's last two events, or the last two shares of the time span."""
    if config.split == "leave-one-out":
        return leave_one_out(log)
    if config.split != "time":
        raise ConfigError(f"split is {config.split!r}", fix="use leave-one-out or time")
    if len(log.time) == 0:
        raise ConfigError(f"{log.name} has no events to split by time", fix="use data with events")
    first, span = int(log.time.min()), int(log.time.max() - log.time.min())
    validation, test = (first + round(span * (1 - share)) for share in (config.held_out, config.held_out / 2))
    return by_time(log, validation, test)
