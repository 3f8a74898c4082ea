"""How long and how often to measure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from server import ROOT


@dataclass(frozen=True, slots=True)
class Settings:
    models: Path  # folder with bench/, and releases derived from it
    apart: bool = False  # the funnel's servers leave the last core to the generator
    rounds: int = 5
    tries: int = 4  # rates of a round: 4 within a factor of 1.56 resolve 2.8%
    seconds: float = 4.0  # that a rate is held
    scratch: Path = ROOT / ".tmp/peers"

    @classmethod
    def quick(cls, models: Path, apart: bool) -> Settings:
        return cls(models, apart, rounds=1, tries=2, seconds=1.5)

    @property
    def model(self) -> Path:
        return self.models / "bench"
