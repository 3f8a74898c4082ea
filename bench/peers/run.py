"""Measure shortlistd beside other servers: the same release, requests and machine, in one run.

PYTHONPATH=bench python -m peers.run                  everything, a report in bench/reports; 25 minutes on two cores
PYTHONPATH=bench python -m peers.run --quick          fewer and shorter rounds, no report; figures are no evidence
PYTHONPATH=bench python -m peers.run --only funnel    one part
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from peers.funnel_part import measure_funnel
from peers.settings import Settings
from server import ROOT

PARTS: dict[str, Callable[[Settings], object]] = {"funnel": measure_funnel}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part instead of all")
    parser.add_argument(
        "--models", type=Path, default=ROOT / ".tmp/bench", help="folder of the benchmark releases; they are made when missing"
    )
    parser.add_argument(
        "--apart", action="store_true", help="the funnel's servers leave the last core to the generator, as those of the other parts do"
    )
    args = parser.parse_args()
    settings = Settings.quick(args.models, args.apart) if args.quick else Settings(args.models, args.apart)
    settings.scratch.mkdir(parents=True, exist_ok=True)
    if not (settings.model / "current").exists():
        subprocess.run([sys.executable, "-W", "ignore", ROOT / "bench/make_bundle.py", "--models", args.models], check=True)
    for name, measure in PARTS.items():
        if args.only in (None, name):
            measure(settings)


if __name__ == "__main__":
    main()
