"""From a finished run to what `export_release` takes: the place where training and export meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from shortlist.export.from_run import ReleaseConfig, plan_from_run
from shortlist.export.hnsw import HnswConfig
from shortlist.export.precision import Precision
from shortlist.export.release import ReleasePlan
from shortlist.training.run import load_run
from shortlist.training.source import load_source


def release_plan(
    folder: Path,
    *,
    data: str = "",
    name: str = "",
    value: Mapping[str, float] | None = None,
    precision: Precision | None = None,
    small_vectors: Sequence[str] = (),
    index: str = "",
    hnsw: HnswConfig | None = None,
) -> ReleasePlan:
    """The plan of a run directory. `data` is a spec of `shortlist.data.load`; none: the run's own. `value` weighs tasks in the value
    formula; none: the first task alone, which evaluation ranks by.

    Raises CheckpointError, and ConfigError when the data is not what the run was trained on.
    """
    run = load_run(folder)
    source = load_source(dataclasses.replace(run.config, data=data or run.config.data))
    formula = " + ".join(f"{weight!r}*{task}" for task, weight in (value or {}).items())
    config = ReleaseConfig(
        name=name,
        value=formula,
        precision=precision or Precision(),
        small_vectors=tuple(small_vectors),
        index=index,
        hnsw=hnsw or HnswConfig(),
    )
    return plan_from_run(run, source, config)
