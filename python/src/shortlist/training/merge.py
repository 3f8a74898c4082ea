"""One run from several: their weights are merged on the sphere and drawn back to an anchor as far as validation likes.

Runs with the same start walk away from it in directions that share what the data says and differ in what chance added. The spherical mean
keeps their length, where the plain mean of almost orthogonal steps would shrink it; going part of the way back to the anchor keeps what
it knew (WARP, arXiv 2406.16768). Weights that never had a common start lie in different valleys, and no mean of them is a model.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from shortlist.errors import CheckpointError, ConfigError
from shortlist.training import checkpoint, run
from shortlist.training.averaging import State, copy_of
from shortlist.training.batches import LogTensors
from shortlist.training.loop import Stage
from shortlist.training.source import load_source
from shortlist.training.tree_stage import TreeStage

COEFFICIENTS = (0.25, 0.5, 0.75, 1.0)  # of the way from the anchor to the merged weights; 0, the anchor itself, always competes


def slerp(first: Tensor, second: Tensor, share: float) -> Tensor:
    """The tensor at `share` of the arc from `first` to `second`: directions turn at an even pace, lengths change evenly.

    Along the straight line where an arc is not defined: a zero tensor, or opposite directions.
    """
    a, b = first.double(), second.double()
    length_a, length_b = a.norm(), b.norm()
    unit_a, unit_b = a / length_a.clamp(min=1e-300), b / length_b.clamp(min=1e-300)
    # The angle by half-sums: arccos of the dot product loses half of the digits near 0.
    angle = 2 * math.atan2(float((unit_a - unit_b).norm()), float((unit_a + unit_b).norm()))
    if min(float(length_a), float(length_b)) == 0 or not 1e-9 < angle < math.pi - 1e-6:
        return torch.lerp(a, b, share).to(first.dtype)
    direction = (math.sin((1 - share) * angle) * unit_a + math.sin(share * angle) * unit_b) / math.sin(angle)
    merged: Tensor = direction * torch.lerp(length_a, length_b, share)
    return merged.to(first.dtype)


def spherical_mean(tensors: Sequence[Tensor]) -> Tensor:
    """Each next tensor is merged into those before it with the share 1/n: equal weights, as far as a sphere has them."""
    mean = tensors[0]
    for count, tensor in enumerate(tensors[1:], 2):
        mean = slerp(mean, tensor, 1 / count)
    return mean


def merged_state(states: Sequence[State], anchor: State, *, from_anchor: bool) -> State:
    """The spherical mean of every floating tensor; others are the anchor's.

    With `from_anchor` what is merged are the steps away from the anchor, else the weights themselves.
    """
    merged = dict(anchor)
    for name, base in anchor.items():
        if base.is_floating_point():
            origin = base if from_anchor else torch.zeros_like(base)
            merged[name] = origin + spherical_mean([state[name] - origin for state in states])
    return merged


def towards(anchor: State, merged: State, share: float) -> State:
    """The point at `share` of the line from the anchor to the merged weights."""
    return {
        name: torch.lerp(base.double(), merged[name].double(), share).to(base.dtype) if base.is_floating_point() else base
        for name, base in anchor.items()
    }


def merge_runs(folders: Sequence[Path], out: Path, anchor: Path | None = None, data: str = "") -> Path:
    """Write the run directory `out`, merged from those of `folders`; returns it.

    The anchor is the first run unless another is given. An anchor that is not among the runs is taken as their common start. Stage by
    stage validation chooses how far to go; a stage whose weights differ in names or shapes stays that of the anchor. `data` replaces
    the data spec of the runs. Raises ConfigError, and CheckpointError for runs of other data or schemas and when `out` exists.
    """
    base = anchor or folders[0]
    loaded = _load(folders, base)
    if (out / "run.json").exists():
        raise CheckpointError(f"{out} holds a run already", fix="give another directory")
    config = dataclasses.replace(loaded[base].config, name=out.name, data=data or loaded[base].config.data)
    torch.set_num_threads(config.threads or os.cpu_count() or 1)
    source = load_source(config)
    if source.digest() != loaded[base].record["data"]["digest"]:
        raise CheckpointError(f"{config.data} is not what {base} was trained on", fix="name the run's data by --data")
    record = run.begin(out, config, source)
    log = LogTensors(source.log, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    models = run.build_models(config, source.log.schema)
    training = run.Training(out, config, source, log, models, record)
    states = {folder: {name: model.state_dict() for name, model in run.named_models(one.models).items()} for folder, one in loaded.items()}
    for stage, model, _ in training.stages():
        model.load_state_dict(states[base][stage.name])
        record["stages"][stage.name] = _merge_stage(
            stage, model, [states[folder][stage.name] for folder in folders], from_anchor=base not in folders
        )
        checkpoint.save_model(out / f"{stage.name}.safetensors", model.eval())
    record["merged"] = {"runs": [str(folder) for folder in folders], "anchor": str(base)}
    training.finish()
    return out


def _load(folders: Sequence[Path], base: Path) -> dict[Path, run.Run]:
    if len(folders) < 2:
        raise ConfigError(f"{len(folders)} run cannot be merged", fix="name two runs or more")
    loaded = {folder: run.load_run(folder) for folder in (base, *folders)}
    for folder, one in loaded.items():
        if (one.schema, one.record["data"]["digest"]) != (loaded[base].schema, loaded[base].record["data"]["digest"]):
            raise CheckpointError(
                f"{folder} cannot be merged with {base}", why="they were trained on different data", fix="merge runs of the same data"
            )
    return loaded


def _merge_stage(stage: Stage | TreeStage, model: torch.nn.Module, states: Sequence[State], *, from_anchor: bool) -> dict[str, object]:
    """Give the model, which holds the anchor's weights, those that validate best; returns what the record says of it."""
    anchor = copy_of(model.state_dict())
    shapes = {name: value.shape for name, value in anchor.items()}
    if any({name: value.shape for name, value in state.items()} != shapes for state in states):
        return {"coefficient": 0.0, "why": "the runs' weights differ in names or shapes"}
    device = next(iter(anchor.values())).device
    placed = [{name: value.to(device) for name, value in state.items()} for state in states]
    merged = merged_state(placed, anchor, from_anchor=from_anchor)
    values: dict[float, float] = {}
    for share in (0.0, *COEFFICIENTS):
        model.load_state_dict(towards(anchor, merged, share))
        model.eval()
        with torch.inference_mode():
            values[share] = stage.validate()[stage.monitor]
    best = max(values, key=lambda share: (values[share], -share))
    model.load_state_dict(towards(anchor, merged, best))
    return {"coefficient": best, "best": values[best], "tried": {str(share): value for share, value in values.items()}}
