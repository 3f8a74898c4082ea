"""Matrix factorisation of implicit feedback by alternating least squares (iALS): Hu, Koren and Volinsky, 2008. A baseline.

The library `implicit` learns the item factors. A request's user factor is folded in from its history by the closed form, so that users
and events that came after training count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
from scipy import sparse

from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.splits import event_users, training_mask
from shortlist.errors import ConfigError

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]

_CELLS_AT_ONCE = 4_000_000  # of B x K x K, 8 bytes each


@dataclass(frozen=True, slots=True, kw_only=True)
class IalsConfig:
    """An item that a user took n times is preferred with confidence `alpha` * n, all others are not with confidence 1.

    A request folds in its newest `history_events` (0: all); one of age i counts `decay^i`, and 0 would be as if it never happened.
    """

    factors: int = 64
    alpha: float = 16.0
    regularization: float = 1.0
    iterations: int = 15
    history_events: int = 0
    decay: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("factors", "iterations"):
            if getattr(self, name) < 1:
                raise ConfigError(f"IalsConfig.{name} is {getattr(self, name)}", why="it must be at least 1")
        if self.history_events < 0:
            raise ConfigError(f"IalsConfig.history_events is {self.history_events}", why="it must not be negative", fix="use 0 for all")
        if not 1 <= self.alpha < np.inf:
            raise ConfigError(f"IalsConfig.alpha is {self.alpha}", why="what a user took must count at least as much as what was not taken")
        if not 0 < self.regularization < np.inf:
            raise ConfigError(f"IalsConfig.regularization is {self.regularization}", why="it must be finite and positive")
        if not 0 <= self.decay <= 1:
            raise ConfigError(f"IalsConfig.decay is {self.decay}", why="it must be between 0 and 1")


@dataclass(frozen=True)
class Ials:
    """Item factors [I,K]; items without training events have none (zeros)."""

    item_factors: Floats
    config: IalsConfig

    @classmethod
    def fit(cls, log: EncodedLog, split: Split, config: IalsConfig | None = None) -> Self:
        """Factorise the training events of `split`, with one thread, so that equal seeds give equal factors."""
        from implicit.cpu.als import AlternatingLeastSquares
        from threadpoolctl import threadpool_limits  # a dependency of implicit

        config = config or IalsConfig()
        events = np.flatnonzero(training_mask(log, split))
        user = event_users(log, events)
        taken = sparse.csr_matrix(
            (np.ones(len(events), dtype=np.float32), (user, log.item[events])), shape=(len(log.user_ids), len(log.item_ids))
        )
        with threadpool_limits(1, "blas"):
            model = AlternatingLeastSquares(
                factors=config.factors,
                regularization=config.regularization,
                alpha=config.alpha,
                iterations=config.iterations,
                num_threads=1,
                random_state=config.seed,
            )
            model.fit(taken, show_progress=False)
        return cls(np.asarray(model.item_factors, dtype=np.float32), config)

    def score_events(self, log: EncodedLog, events: Ints) -> Floats:
        """Scores [B,I] for the requests at `events`: a history is the user's events before."""
        begin = log.ptr[event_users(log, events)]
        if self.config.history_events:
            begin = np.maximum(begin, events - self.config.history_events)
        histories = [log.item[first:end] for first, end in zip(begin, events, strict=True)]
        return (self.user_factors(histories).astype(np.float32) @ self.item_factors.T).astype(np.float32)

    def user_factors(self, histories: list[Ints]) -> Doubles:
        """Factors [B,K] of users with these histories of catalog rows, oldest first.

        With Y the item factors, s the summed weights decay^age of an item's events and p that of its newest event, the factor solves
        (Y'Y + regularization I + sum (alpha s - p) y y') x = sum alpha s y: with decay 1 the least squares of the fit.
        """
        factors, config = self.item_factors.astype(np.float64), self.config
        gram = factors.T @ factors + config.regularization * np.eye(factors.shape[1])
        found = np.zeros((len(histories), factors.shape[1]))
        step = max(1, _CELLS_AT_ONCE // gram.size)
        for first in range(0, len(histories), step):
            part = histories[first : first + step]
            left = np.repeat(gram[None], len(part), axis=0)
            right = np.zeros((len(part), len(gram)))
            for row, history in enumerate(part):
                items, newest, place = np.unique(history[::-1], return_index=True, return_inverse=True)
                weight = config.alpha * np.bincount(place, weights=config.decay ** np.arange(len(history)), minlength=len(items))
                taken = factors[items]
                left[row] += (taken * (weight - config.decay**newest)[:, None]).T @ taken
                right[row] = weight @ taken
            found[first : first + step] = np.linalg.solve(left, right[..., None])[..., 0]
        return found
