from __future__ import annotations

import time

import numpy as np
import pytest

from shortlist.training import usage
from shortlist.training.usage import measured


def test_waiting_takes_time_and_no_cpu() -> None:
    with measured() as cost:
        time.sleep(0.05)
    assert cost.seconds >= 0.05
    assert cost.cpu_seconds < 0.05


@pytest.mark.skipif(not usage._CLEAR.exists(), reason="this system does not count the peak of a process's memory")
def test_the_peak_is_that_of_the_work_alone() -> None:
    np.ones(20_000_000).sum()  # 153 MiB, gone before the work begins
    with measured() as small:
        np.ones(1_000_000).sum()
    with measured() as large:
        np.ones(10_000_000).sum()
    with measured() as in_pieces:
        kept = [np.ones(100_000) for _ in range(100)]  # 0.8 MiB each: from the allocator's heap
    del kept
    with measured() as again:
        kept = [np.ones(100_000) for _ in range(100)]
    assert len(kept) == 100
    assert small.memory_mib is not None
    assert in_pieces.memory_mib is not None
    assert again.memory_mib is not None
    assert min(in_pieces.memory_mib, again.memory_mib) > 60  # what the first left in the heap is not free for the second
    assert large.memory_mib is not None
    assert small.memory_mib < 40 < 70 < large.memory_mib < 120
