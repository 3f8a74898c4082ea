"""Throughput at equal p99: the highest rate of an open loop at which a server still answers in full and in time.

The first search brackets the knee by steps and bisects it; each later round bisects again around the last finding, so that rounds of
several servers can take turns and drift of the machine falls on all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

COMPLETE = 0.99  # of the calls that were due must be answered in full
STEP = 1.5  # factor between rates while the knee is not bracketed
MOST_STEPS = 14
GOLDEN = 0.618  # multiples of it spread evenly


@dataclass(frozen=True, slots=True)
class Step:
    """One rate that was held for a while. Times are milliseconds from the moment that a call was due."""

    rate: float
    due: int
    full: int  # answers in time and on the full rung
    p50: float
    p99: float
    void: tuple[str, ...] = ()  # why these figures are the generator's and not the server's

    def passes(self, bound: float) -> bool:
        return self.due > 0 and self.full >= COMPLETE * self.due and self.p99 <= bound


Measure = Callable[[float], Step]  # holds a rate


@dataclass(slots=True)
class Search:
    """Rounds of one server. `bound` is the p99 in milliseconds, `width` how far a round looks to both sides of the last finding."""

    measure: Measure
    bound: float
    tries: int = 3
    width: float = 1.2
    found: list[float] = field(default_factory=list)  # of every round
    steps: list[Step] = field(default_factory=list)

    def passes(self, rate: float) -> bool:
        step = self.measure(rate)
        self.steps.append(step)
        return step.passes(self.bound)

    def bracket(self, rate: float) -> tuple[float, float]:
        """A rate that passes and the next that does not."""
        up = self.passes(rate)
        for _ in range(MOST_STEPS):
            other = rate * STEP if up else rate / STEP
            if self.passes(other) != up:
                return (rate, other) if up else (other, rate)
            rate = other
        raise RuntimeError(
            f"no rate between {rate:g} and the first try is a knee: the server {'never tires' if up else 'answers none in time'}"
        )

    def start(self, rate: float) -> None:
        """Finds the knee from anywhere; its result only says where the rounds begin."""
        low, high = self.bracket(rate)
        self.found = [self.bisect(low, high, 2)]

    def round(self) -> float:
        # Rounds try other rates each: the same ones again would say no more of a knee between two of them.
        shift = self.width ** ((len(self.found) * GOLDEN % 1 - 0.5) * 2.0 ** (1 - self.tries))
        centre = self.found[-1] * shift
        self.found.append(self.bisect(centre / self.width, centre * self.width, self.tries))
        return self.found[-1]

    def bisect(self, low: float, high: float, tries: int) -> float:
        """Between the highest rate that passed and the lowest that did not; a knee outside of the bracket is followed by the next round."""
        for _ in range(tries):
            middle = (low * high) ** 0.5
            low, high = (middle, high) if self.passes(middle) else (low, middle)
        return (low * high) ** 0.5

    @property
    def rounds(self) -> list[float]:
        """What the rounds found, without the start."""
        return self.found[1:]
