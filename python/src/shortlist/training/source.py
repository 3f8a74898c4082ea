"""Data sets by name: how each is loaded and split. `RunConfig.data` is such a name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shortlist.data.dataset import Array, Dataset, EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.marketplace import MarketplaceConfig, make_marketplace
from shortlist.data.movielens import load_ml_1m, load_ml_100k
from shortlist.data.splits import by_time, leave_one_out, with_trained_ids
from shortlist.errors import ConfigError


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


def load_source(name: str, options: Mapping[str, Any], root: Path | None) -> Source:
    """Load the data set `name`. Files are in `root`/`name`, or in `root` itself; generated data needs no root.

    Raises ConfigError for unknown names and a missing root, DataError for bad files.
    """
    if name == "marketplace":
        market = MarketplaceConfig(**options)
        dataset = make_marketplace(market)
        log = encode(dataset)
        split = by_time(log, market.validation_start, market.test_start)
        return Source(dataset, with_trained_ids(log, split), split)
    if name not in _FILES:
        raise ConfigError(f"no data set is called {name!r}", fix=f"use one of marketplace, {', '.join(_FILES)}")
    if root is None:
        raise ConfigError(f"the data set {name} needs its files", fix="give the folder that holds them (--data)")
    dataset = _FILES[name](root / name if (root / name).is_dir() else root)
    log = encode(dataset)
    split = leave_one_out(log)
    return Source(dataset, with_trained_ids(log, split), split)


_FILES: dict[str, Callable[[Path], Dataset]] = {"ml-1m": load_ml_1m, "ml-100k": load_ml_100k}
