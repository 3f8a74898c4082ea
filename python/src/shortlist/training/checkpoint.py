"""Weights and resumable training state as safetensors; scalars as JSON in the file's metadata. No pickle."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from shortlist.errors import CheckpointError


def write_tensors(path: Path, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
    """Write a file that is either complete or absent."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    save_file({name: value.detach().cpu().contiguous() for name, value in tensors.items()}, temporary, {"scalars": json.dumps(scalars)})
    os.replace(temporary, path)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Raises CheckpointError when the file is absent or not one of ours."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata["scalars"])  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(
            f"{path} cannot be read", why=f"{type(error).__name__}: {error}", fix="train again, or name another run"
        ) from error


def save_model(path: Path, model: nn.Module) -> None:
    """Weights and buffers of one model."""
    write_tensors(path, model.state_dict(), {})


def load_model(path: Path, model: nn.Module) -> None:
    """Raises CheckpointError where names or shapes differ."""
    tensors, _ = read_tensors(path)
    load_state(path, model, tensors)


def load_state(path: Path, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(
            f"{path} does not fit the model", why=str(error), fix="use the configuration that it was trained with"
        ) from error


def save_progress(
    path: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    best: dict[str, Tensor],
    scalars: dict[str, Any],
) -> None:
    """Everything that the next step depends on: weights, optimizer moments, averages, best weights so far. Draws follow from the step."""
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    tensors |= {f"average.{name}": value for name, value in average.items()}
    tensors |= {f"best.{name}": value for name, value in best.items()}
    write_tensors(path, tensors, scalars)


def load_progress(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Restore what `save_progress` wrote; returns averages, best weights and scalars. Raises CheckpointError."""
    tensors, scalars = read_tensors(path)

    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    load_state(path, model, part("model."))
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer.").items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return part("average."), part("best."), scalars
