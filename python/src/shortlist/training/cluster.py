"""The same work on many arguments: in this process one after the other, or on a Ray cluster where Ray is installed."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from shortlist.errors import ConfigError

A = TypeVar("A")
R = TypeVar("R")


def map_tasks(work: Callable[[Any, A], R], shared: Any, arguments: Sequence[A], workers: int = 1) -> list[R]:
    """`work(shared, argument)` of every argument, in their order. `shared` reaches each machine once.

    One worker is this process. More are tasks of Ray: on the cluster of the environment (RAY_ADDRESS), else on a local one that ends
    with the work. An error of a task is raised here as it is. Raises ConfigError where Ray is missing.
    """
    if workers < 1:
        raise ConfigError(f"{workers} workers cannot work", fix="use 1 or more")
    if workers == 1:
        return [work(shared, argument) for argument in arguments]
    require_ray()
    import ray
    from ray.exceptions import RayTaskError

    ours = not ray.is_initialized()
    if ours:
        ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        task = ray.remote(num_cpus=1, max_retries=0)(work)
        placed = ray.put(shared)
        return list(ray.get([task.remote(placed, argument) for argument in arguments]))
    except RayTaskError as error:
        cause: BaseException = error.cause if isinstance(error.cause, BaseException) else error
        raise cause from error
    finally:
        if ours:
            ray.shutdown()


def require_ray() -> None:
    """Raises ConfigError where Ray is missing."""
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "several workers need Ray",
            why="it is not installed",
            fix="pip install 'shortlist[scale]', or use one worker: no Ray, one at a time",
        )
