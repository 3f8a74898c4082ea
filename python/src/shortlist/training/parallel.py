"""Data parallelism: processes that hold the same model and data, each with its share of every batch.

A step of all processes together is the step of one process with the same batch, to the rounding of sums: gradients are added, not
averaged, so a stage divides by what the whole batch holds and not by what its share holds. Draws come from a seed of the step and thus
are the same everywhere. Alone, every function here does nothing.
"""

from __future__ import annotations

import datetime
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed, multiprocessing, nn
from torch.multiprocessing.spawn import ProcessExitedException, ProcessRaisedException, spawn

from shortlist.errors import ConfigError, ShortlistError
from shortlist.training.batches import Rows

T = TypeVar("T")
_WAIT = datetime.timedelta(days=7)  # the others wait while the first process validates, or trains a stage alone


_apart = False


def rank() -> int:
    """This process's number; 0 validates, writes and reports."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def size() -> int:
    """How many processes work together."""
    return 1 if _apart or not distributed.is_initialized() else distributed.get_world_size()


def first_alone(work: Callable[[], object]) -> None:
    """The first process does work that the others take no part in; they wait until it is done."""
    global _apart
    if rank() == 0:
        _apart = True
        try:
            work()
        finally:
            _apart = False
    if size() > 1:
        distributed.barrier()


def share(batch: Rows) -> Rows:
    """This process's part of a batch: every `size`-th sequence, since neighbours have similar lengths. It may be empty."""
    return batch[rank() :: size()] if size() > 1 else batch


def seed_step(seed: int, step: int) -> None:
    """Set torch's generators to where step `step` of a run with this seed begins, on every process the same."""
    torch.manual_seed(int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0] >> np.uint64(1)))


def add_gradients(parameters: Iterable[nn.Parameter], *values: float) -> list[float]:
    """Replace the gradients, and return the values, by their sums over all processes: one exchange in all."""
    if size() == 1:
        return list(values)
    owned = list(parameters)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in owned]
    device = owned[0].device
    used = torch.tensor([float(p.grad is not None) for p in owned], device=device)
    flat = torch.cat([*(part.flatten().float() for part in parts), used, torch.tensor(values, device=device)])
    distributed.all_reduce(flat)
    *sums, used, totals = torch.split(flat, [*(part.numel() for part in parts), len(owned), len(values)])
    for parameter, total, count in zip(owned, sums, used.tolist(), strict=True):
        parameter.grad = total.view_as(parameter).to(parameter.dtype) if count else None  # nobody's gradient stays none
    result: list[float] = totals.tolist()
    return result


def from_first(make: Callable[[], T]) -> T:
    """What the first process makes, on all of them; they wait for it."""
    if size() == 1:
        return make()
    box: list[Any] = [make() if rank() == 0 else None]
    distributed.broadcast_object_list(box)
    made: T = box[0]
    return made


def copy_from_first(model: nn.Module) -> None:
    """Give every process the first one's weights and buffers."""
    if size() > 1:
        for value in model.state_dict().values():
            distributed.broadcast(value, 0)


def device_of_rank() -> torch.device:
    """The CPU, or this process's GPU."""
    return torch.device("cuda", rank()) if torch.cuda.is_available() else torch.device("cpu")


def run(processes: int, work: Callable[..., Any], *arguments: Any) -> None:
    """Call `work(*arguments)` in new processes that know of each other; `work` and arguments must be importable and picklable.

    An error in one of them ends all, and is raised here. Raises ConfigError for more processes than GPUs, where there are any.
    """
    if torch.cuda.is_available() and processes > torch.cuda.device_count():
        raise ConfigError(f"{processes} processes for {torch.cuda.device_count()} GPUs", fix="use at most one process per GPU")
    errors = multiprocessing.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        try:
            spawn(_joined, (processes, f"file://{Path(folder) / 'meet'}", errors, work, arguments), processes)  # type: ignore[no-untyped-call]
        except (ProcessRaisedException, ProcessExitedException) as failure:
            if not errors.empty():
                raise errors.get() from failure
            raise


def _joined(number: int, processes: int, meet: str, errors: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(number)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all processes are on this machine
    distributed.init_process_group("nccl" if cuda else "gloo", init_method=meet, rank=number, world_size=processes, timeout=_WAIT)
    try:
        work(*arguments)
    except ShortlistError as error:
        errors.put(error)
        raise
    distributed.destroy_process_group()
