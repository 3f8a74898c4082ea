"""How long and how often to measure."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from server import ROOT


@dataclass(frozen=True, slots=True)
class Settings:
    models: Path  # folder with bench/, and releases derived from it
    triton: Path  # virtual environment with nvidia-pytriton
    apart: bool = False  # the funnel's servers leave the last core to the generator
    rounds: int = 5
    tries: int = 3  # rates of a round: 3 within a factor of 1.44 resolve 4.7%, and the median of the rounds more
    seconds: float = 4.0  # that a rate is held
    layouts: bool = True  # Python peers are tried as processes and as threads; else processes
    calls: int = 30  # of each size in the curves of one call at a time
    scratch: Path = ROOT / ".tmp/peers"

    @classmethod
    def quick(cls, models: Path, triton: Path, apart: bool) -> Settings:
        return cls(models, triton, apart, rounds=1, tries=2, seconds=1.5, layouts=False, calls=8)

    @property
    def model(self) -> Path:
        return self.models / "bench"

    def release(self, name: str, *flags: str) -> None:
        """Makes a release of bench/make_bundle.py where it is missing."""
        if not (self.models / name / "current").exists():
            print(f"making the release {name}, which takes minutes once", flush=True)
            command = [sys.executable, "-W", "ignore", str(ROOT / "bench/make_bundle.py"), "--models", str(self.models), *flags]
            subprocess.run(command, check=True)
