"""Does the diagnosis name what was planted, and nothing on a plain market? All planted markets, several seeds.

python bench/diagnosis.py                   # seeds 0 to 4, one process a core
python bench/diagnosis.py 10 2 order leak   # seeds 0 to 9, two processes, these markets alone
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time

from shortlist.evaluation.diagnosis.diagnose import DiagnosisConfig, diagnose
from shortlist.testing.planted import LEAKS, PROPERTIES, planted_market


def found(case: tuple[str, int]) -> tuple[tuple[str, ...], float]:
    """The properties that were found, and the seconds it took."""
    begin = time.perf_counter()
    return diagnose(planted_market(*case), DiagnosisConfig(jobs=1)).found, time.perf_counter() - begin


def main() -> int:
    """The exit code: 1 when a planted property was missed, or anything was named on a plain market."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    processes = int(sys.argv[2]) if len(sys.argv) > 2 else os.cpu_count()
    names = sys.argv[3:] or ["plain", *PROPERTIES, *LEAKS]
    os.environ["OMP_NUM_THREADS"] = "1"
    cases = [(name, seed) for name in names for seed in range(seeds)]
    wrong = 0
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        for name, start in ((name, index * seeds) for index, name in enumerate(names)):
            answers = pool.map(found, cases[start : start + seeds], chunksize=1)
            planted = "leak" if name in LEAKS else name
            named = sum(planted in properties for properties, _ in answers)
            besides = sorted(other for properties, _ in answers for other in properties if other != planted)
            wrong += bool(besides) if name == "plain" else seeds - named
            right = f"{seeds - sum(bool(p) for p, _ in answers)} of {seeds} clean" if name == "plain" else f"named in {named} of {seeds}"
            slowest = max(seconds for _, seconds in answers)
            print(f"{name:18} {right:18} besides: {', '.join(besides) or 'nothing'}   slowest {slowest:.1f} s", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
