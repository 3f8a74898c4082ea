"""Settings of models that fit in seconds, chosen on validation: one sweep over the settings, one at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Space:
    """A start, and for each of its fields the values to try, in the order of the sweep."""

    start: Any
    axes: Mapping[str, Sequence[Any]] = dataclasses.field(default_factory=dict)


def sweep(space: Space, quality: Callable[[Any], float]) -> tuple[Any, list[tuple[Any, float]]]:
    """The best configuration by `quality`, and all that were tried with theirs.

    For each setting the values are tried with the best of the settings before it, so k settings of v values cost about k v fits instead
    of v^k. On ties what was tried first stays.
    """
    best = space.start
    highest = quality(best) if space.axes else 0.0
    tried = [(best, highest)] if space.axes else []
    for name, values in space.axes.items():
        for value in values:
            config = dataclasses.replace(best, **{name: value})
            if any(config == other for other, _ in tried):
                continue
            found = quality(config)
            tried.append((config, found))
            if found > highest:
                best, highest = config, found
    return best, tried
