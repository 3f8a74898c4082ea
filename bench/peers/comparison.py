"""One line of the result: a figure of shortlistd, a peer's, and their ratio round by round beside what was promised."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from peers.search import Search


@dataclass(frozen=True, slots=True)
class Comparison:
    """`ratios` say how many times better shortlistd was in each round."""

    what: str
    peer: str
    unit: str
    ours: float
    theirs: float
    ratios: tuple[float, ...]
    promised: float

    @property
    def ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def kept(self) -> bool:
        return self.ratio >= self.promised

    def __str__(self) -> str:
        return (
            f"{self.what}: shortlistd {self.ours:.1f} {self.unit}, {self.peer} {self.theirs:.1f}: {self.ratio:.2f} times "
            f"({min(self.ratios):.2f}..{max(self.ratios):.2f}), promised {self.promised:g}: {'kept' if self.kept else 'NOT KEPT'}"
        )


def of_searches(what: str, peer: str, ours: Search, theirs: Search, promised: float) -> Comparison:
    """Of the rates that two searches found, by rounds."""
    found = tuple(a / b for a, b in zip(ours.rounds, theirs.rounds, strict=True))
    return Comparison(what, peer, "calls/s", statistics.median(ours.rounds), statistics.median(theirs.rounds), found, promised)
