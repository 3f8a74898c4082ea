"""Time and peak memory of making and encoding a marketplace.

python bench/data.py                                                # the demo
python bench/data.py users=100000,items=50000,events=2000000        # a large one
python bench/data.py ml-1m:../shared/data/ml-1m                     # or any spec of `shortlist.data.load`
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from typing import TypeVar

from shortlist.data.counters import count_crosses
from shortlist.data.dataset import EncodedLog, Split
from shortlist.data.encode import encode
from shortlist.data.load import load
from shortlist.data.splits import by_time, leave_one_out

T = TypeVar("T")


def timed(step: str, work: Callable[[], T]) -> T:
    begin = time.perf_counter()
    result = work()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(f"{step:8} {time.perf_counter() - begin:7.2f} s   peak {peak:.2f} GiB")
    return result


def split(log: EncodedLog) -> Split:
    if log.impressions is None:
        return leave_one_out(log)
    first, last = int(log.time.min()), int(log.time.max())
    return by_time(log, first + (last - first) * 8 // 10, first + (last - first) * 9 // 10)


def main() -> None:
    spec = sys.argv[1] if len(sys.argv) > 1 else "marketplace"
    dataset = timed("load", lambda: load(spec if "=" not in spec or ":" in spec else f"marketplace:{spec}"))
    log = timed("encode", lambda: encode(dataset))
    parts = timed("split", lambda: split(log))
    tables = timed("count", lambda: count_crosses(log, parts))
    pages = 0 if log.impressions is None else len(log.impressions.item)
    print(f"{len(log.user_ids):,} users, {len(log.item_ids):,} items, {len(log.item):,} events, {pages:,} shown items")
    print(f"counters: {', '.join(f'{name} {len(table.rows):,}' for name, table in tables.items())}")


if __name__ == "__main__":
    main()
