"""Measure shortlistd beside other servers: the same release, requests and machine, in one run.

PYTHONPATH=bench python -m peers.run                  everything, a report in bench/reports; 25 minutes on two cores
PYTHONPATH=bench python -m peers.run --quick          fewer and shorter rounds, a report in .tmp/peers; no evidence
PYTHONPATH=bench python -m peers.run --only funnel    one part
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from peers.funnel_part import measure_funnel
from peers.oip_part import measure_oip
from peers.page import facts, write
from peers.rankers_part import measure_rankers
from peers.settings import Settings
from peers.triton import VENV
from server import ROOT

PARTS: dict[str, Callable[[Settings], Any]] = {"funnel": measure_funnel, "oip": measure_oip, "rankers": measure_rankers}


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that servers are stopped
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    parser.add_argument("--only", choices=tuple(PARTS), help="one part instead of all")
    parser.add_argument(
        "--models", type=Path, default=ROOT / ".tmp/bench", help="folder of the benchmark releases; they are made when missing"
    )
    parser.add_argument("--reports", type=Path, default=ROOT / "bench/reports", help="folder of the report and its pictures")
    parser.add_argument("--triton", type=Path, default=VENV, help="virtual environment of Triton, which make bench-peers-setup makes")
    parser.add_argument(
        "--apart", action="store_true", help="the funnel's servers leave the last core to the generator, as those of the other parts do"
    )
    args = parser.parse_args()
    where = (args.models, args.triton, args.apart)
    settings = Settings.quick(*where) if args.quick else Settings(*where)
    settings.scratch.mkdir(parents=True, exist_ok=True)
    settings.release("bench")
    known = facts(settings)
    measured = {name: measure(settings) for name, measure in PARTS.items() if args.only in (None, name)}
    results = {name: result for name, result in measured.items() if result is not None}
    folder = settings.scratch if args.quick else args.reports
    if results:
        print(f"report: {write(folder, settings, known, results)}")


if __name__ == "__main__":
    main()
