"""Time and memory of a training step of the two-tower by length of history, with and without recomputed activations.

python bench/long_history.py --report bench/reports/long_history_<machine>_<date>.md
python bench/long_history.py --events 128,1024 --encoder ligr

Every batch holds equally many events, so the time per event shows what attention over longer histories costs. Linux only: the peak
of resident memory is reset between measurements.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import os
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from shortlist.models.two_tower import TwoTowerConfig
from shortlist.testing.logs import encoded_log
from shortlist.training.batches import LogTensors
from shortlist.training.config import Optimisation, TwoTowerTraining
from shortlist.training.two_tower_stage import TwoTowerStage

ITEMS = 5000


def memory(name: str) -> float:
    """A line of /proc/self/status in MiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def measure(events: int, batch_events: int, encoder: str, checkpointing: bool, steps: int) -> tuple[float, float, int]:
    """Processor seconds of a step, the peak of resident memory above that before it in MiB, and the events of a step.

    With one thread processor time is what a step takes on an idle core, whatever else the machine does.
    """
    random = np.random.default_rng(0)
    users = max(1, batch_events // events)
    log = encoded_log([random.integers(0, ITEMS, events + 1).tolist() for _ in range(users)], ITEMS)
    log = dataclasses.replace(log, schema=dataclasses.replace(log.schema, history_max_events=events))
    torch.manual_seed(0)
    config = TwoTowerTraining(
        model=TwoTowerConfig(encoder=encoder, checkpointing=checkpointing),
        optimisation=Optimisation(epochs=1),
        batch_events=batch_events + users,
    )
    model = config.model.build(log.schema)
    stage = TwoTowerStage(model, LogTensors(log, torch.device("cpu")), log.ptr[1:], np.arange(0), config, 0)
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model.train()
    batch = np.arange(users)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        stage.loss(batch)["loss"].backward()
        optimizer.step()

    step()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    before = memory("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")
    seconds = []
    for _ in range(steps):
        begin = time.process_time()
        step()
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds), memory("VmHWM") - before, int(log.ptr[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", default="128,256,512,1024,2048,4096")
    parser.add_argument("--batch-events", type=int, default=8192)
    parser.add_argument("--encoder", default="sasrec")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--report", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load = " ".join(f"{value:.2f}" for value in os.getloadavg())
    rows = []
    for events in map(int, arguments.events.split(",")):
        cells = []
        for checkpointing in (False, True):
            seconds, peak, count = measure(events, arguments.batch_events, arguments.encoder, checkpointing, arguments.steps)
            cells += [f"{seconds * 1e3:.0f}", f"{seconds / count * 1e6:.1f}", f"{peak:.0f}"]
        rows.append(f"| {events} | {max(1, arguments.batch_events // events)} | {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    text = "\n".join(
        (
            f"# Training on long histories: {platform.processor() or platform.machine()}, {os.cpu_count()} cores, 1 thread",
            "",
            f"Two-tower, encoder {arguments.encoder}, width 64, 2 layers, 1 head; {ITEMS:,} items; median of {arguments.steps} steps; "
            f"torch {torch.__version__}; {time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC; load average before {load}.",
            "Times are processor time. Memory is the peak of the process above its size before the steps.",
            "",
            "| history | batch | step, ms | per event, µs | memory, MiB | recomputed: step, ms | per event, µs | memory, MiB |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Command: `python bench/long_history.py --events {arguments.events} --batch-events {arguments.batch_events} "
            f"--encoder {arguments.encoder} --steps {arguments.steps}`",
            "",
        )
    )
    if arguments.report:
        arguments.report.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
