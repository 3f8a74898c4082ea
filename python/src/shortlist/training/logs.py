"""What a training run says: JSON lines and TensorBoard for later, a progress bar on a terminal now."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

T = TypeVar("T")


class RunLog:
    """Writes `<folder>/<stage>.jsonl` and TensorBoard events; validation lines go to the console too."""

    def __init__(self, folder: Path, stage: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.stage = stage
        self._lines = (folder / f"{stage}.jsonl").open("a", encoding="utf-8")
        self._board = SummaryWriter(str(folder / "tensorboard" / stage))
        self._console = Console(stderr=True, highlight=False)
        self._begin = time.monotonic()

    def write(self, step: int, values: dict[str, float], *, show: bool = False) -> None:
        """One line of numbers at a step."""
        seconds = round(time.monotonic() - self._begin, 3)
        self._lines.write(json.dumps({"step": step, "seconds": seconds, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        if show:
            self._console.print(f"{self.stage} step {step} {seconds:.0f}s  " + "  ".join(f"{n} {v:.4f}" for n, v in values.items()))

    def close(self) -> None:
        self._lines.close()
        self._board.close()


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """A progress bar; silent where the error output is no terminal."""
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty(), transient=True) as bar:
        yield bar


def track(items: Sequence[T], title: str) -> Iterator[T]:
    """Iterate with a progress bar."""
    with progress(title) as bar:
        task = bar.add_task("", total=len(items))
        for item in items:
            yield item
            bar.advance(task)


def peak_memory(device: torch.device) -> dict[str, float]:
    """The process's greatest resident size so far in MiB, and that of the device's tensors where it has memory of its own."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # bytes there, KiB elsewhere
    peak = {"peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)}
    if device.type == "cuda":
        peak["peak_cuda_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20, 1)
    return peak
