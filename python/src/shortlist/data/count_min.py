"""Count-min sketch, Cormode and Muthukrishnan 2005: counts of any number of keys in bounded memory, never too small, rarely too large.

For logs whose distinct keys do not fit: which pairs of segment and item are frequent, and how often items are answers (LogQ correction).
"""

from __future__ import annotations

import math
from typing import Self

import numpy as np
import numpy.typing as npt

from shortlist.errors import ConfigError

Ints = npt.NDArray[np.int64]
_WORD = 64  # bits of a key


class CountMinSketch:
    """Counts of int64 keys in `depth` rows of `width` cells, 8 bytes each.

    With `within(epsilon, delta)`, an estimate is at least the true count, and exceeds it by more than epsilon x all counts together with
    probability at most delta. Hashing is multiply-shift (Dietzfelbinger et al. 1997): two keys share a cell of a row with probability at
    most 2 / width.
    """

    def __init__(self, width: int, depth: int, seed: int = 0) -> None:
        if width < 2 or width & (width - 1) or depth < 1:
            raise ConfigError(
                f"a sketch of {width} x {depth} cells", why="the width is a power of two, the depth at least 1", fix="change it"
            )
        self.width, self.depth, self.seed = width, depth, seed
        self.total = 0
        self.cells = np.zeros((depth, width), dtype=np.int64)
        random = np.random.default_rng(seed)
        self._factors = random.integers(0, 1 << 63, depth, dtype=np.uint64) * np.uint64(2) + np.uint64(1)  # odd

    @classmethod
    def within(cls, epsilon: float, delta: float, seed: int = 0) -> Self:
        """The sketch that keeps the promise: a row is off by more than epsilon x total with probability 1/e (Markov), all rows by delta."""
        if not (0 < epsilon < 1 and 0 < delta < 1):
            raise ConfigError(f"epsilon {epsilon} and delta {delta}", why="both are shares", fix="use values between 0 and 1")
        return cls(1 << max(1, math.ceil(math.log2(2 * math.e / epsilon))), max(1, math.ceil(math.log(1 / delta))), seed)

    def add(self, keys: Ints) -> None:
        """Counts each of the keys [n] once."""
        for row, cells in zip(self._cells_of(keys), self.cells, strict=True):
            cells += np.bincount(row, minlength=self.width)
        self.total += keys.size

    def merge(self, other: Self) -> None:
        """Adds what another sketch of the same size and seed counted."""
        if (self.width, self.depth, self.seed) != (other.width, other.depth, other.seed):
            raise ConfigError("two sketches differ in size or seed", why="their cells count different keys", fix="make them alike")
        self.cells += other.cells
        self.total += other.total

    def estimate(self, keys: Ints) -> Ints:
        """Counts of keys [...]: the least of their cells."""
        rows = self._cells_of(keys.ravel())
        counts: Ints = np.min([cells[row] for row, cells in zip(rows, self.cells, strict=True)], axis=0).reshape(keys.shape)
        return counts

    def shares(self, keys: Ints) -> npt.NDArray[np.float32]:
        """Estimated share of each key [...] in all that was counted: the frequencies of a LogQ correction."""
        shares: npt.NDArray[np.float32] = (self.estimate(keys) / max(1, self.total)).astype(np.float32)
        return shares

    def _cells_of(self, keys: Ints) -> list[Ints]:
        """Cell of each key [n] in every row: the top bits of key x odd factor mod 2^64."""
        shift = np.uint64(_WORD - int(math.log2(self.width)))
        unsigned = keys.astype(np.uint64)
        return [((unsigned * factor) >> shift).astype(np.int64) for factor in self._factors]
