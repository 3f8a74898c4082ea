"""What a piece of work costs: seconds, and the memory it adds."""

from __future__ import annotations

import ctypes
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_RESET_PEAK = "5"  # proc(5): sets the peak resident size to what is resident now


@dataclass
class Usage:
    """Filled when the work is done. `memory_mib` is the peak resident size above that at the start; None where the system cannot tell."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    memory_mib: float | None = None


class Stopwatch:
    """Adds up the seconds inside its blocks: `with watch: ...`."""

    seconds = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._begun


@contextmanager
def measured() -> Iterator[Usage]:
    """Measure what runs inside."""
    usage = Usage()
    before = _start_peak()
    wall, cpu = time.monotonic(), time.process_time()
    yield usage
    usage.seconds, usage.cpu_seconds = round(time.monotonic() - wall, 3), round(time.process_time() - cpu, 3)
    if before is not None:
        usage.memory_mib = round(_resident("VmHWM") - before, 1)


def give_memory_back() -> None:
    """Return to the system what the allocator keeps: batches of ever new shapes leave holes in its heap, gigabytes of them in an hour."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


def _start_peak() -> float | None:
    """Forget the peak so far; the resident size in MiB, or None where there is no such counter (Linux alone has it).

    What the allocator keeps from earlier work is given back first, for new work that fits into it would look free.
    """
    gc.collect()
    give_memory_back()
    try:
        _CLEAR.write_text(_RESET_PEAK, encoding="ascii")
        return _resident("VmRSS")
    except OSError:
        return None


def _resident(counter: str) -> float:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{counter}:"))
