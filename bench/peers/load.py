"""`shortlist-load` as what `search.py` measures with: one rate held, its report read."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from peers.search import Step
from peers.servers import Served
from server import BINARIES

VOID = 3  # exit status: the generator was the bottleneck
CONNECTIONS = 4
DEADLINE_MS = 1000
FEWEST_CALLS = 120  # so that a p99 exists


def hold(served: Served, flags: list[str], rate: float, seconds: float, seed: int, out: Path) -> Step:
    """`flags` say what is sent; arrivals are Poisson. Calls and times repeat with the seed."""
    seconds = held_calls(rate, seconds) / rate
    command = [*served.generator, str(BINARIES / "shortlist-load"), "-address", ",".join(served.addresses), *flags]
    command += ["-rate", f"{rate:.3f}", "-duration", f"{seconds:.2f}s", "-warmup", "0s", "-deadline", f"{DEADLINE_MS}ms"]
    command += ["-seed", str(seed), "-connections", str(CONNECTIONS * len(served.addresses)), "-json", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, VOID):
        sys.exit(f"bench-peers: shortlist-load failed on {served.name}:\n{done.stderr}")
    return step_of(json.loads(out.read_text())["steps"][0], rate)


def held_calls(rate: float, seconds: float) -> float:
    """How many calls a step of `seconds` is to have."""
    return max(FEWEST_CALLS, rate * seconds)


def step_of(report: dict, rate: float) -> Step:
    """A step of a report; where answers are too few for a percentile the largest stands for it."""
    latency = report["latency_us"]
    p50, p99 = (latency.get(name, latency["max"]) / 1000 for name in ("p50", "p99"))
    full = (report["rungs"] or {}).get("full", 0)
    return Step(rate, report["due"], full, p50, p99, tuple(report["void_reasons"] or ()))
