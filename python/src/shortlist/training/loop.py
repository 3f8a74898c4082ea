"""The training loop of every stage: steps, validation, early stopping, resumable checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from shortlist.errors import ShortlistError
from shortlist.training import checkpoint
from shortlist.training.batches import Rows
from shortlist.training.config import Optimisation
from shortlist.training.logs import RunLog, track


class Stage(Protocol):
    """One model to train. Batches depend on the seed and epoch alone; `loss` may draw from torch's default generator."""

    name: str
    monitor: str  # the validation metric to maximise

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Sequence[Rows]: ...

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        """The scalar "loss", and parts of it to log."""
        ...

    def validate(self) -> dict[str, float]: ...


@dataclass
class Progress:
    """Scalars of a checkpoint."""

    epoch: int = 0  # epochs done
    step: int = 0  # optimizer steps done
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0


def fit(stage: Stage, config: Optimisation, folder: Path, device: torch.device, *, resume: bool = True) -> Progress:
    """Train until the epochs are over or validation stops improving; the model ends with its best weights.

    Writes `<folder>/progress/<stage>.safetensors` after each epoch and, with `resume`, continues from it: on CPU the result is bit-equal
    to an uninterrupted run. Raises ShortlistError when the loss is not finite.
    """
    path = folder / "progress" / f"{stage.name}.safetensors"
    model = stage.model
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=(0.9, 0.98))
    state = Progress()
    average: dict[str, Tensor] = {}
    best: dict[str, Tensor] = {}
    if config.ema_decay:
        average = {name: value.detach().clone() for name, value in model.named_parameters()}
    if resume and path.exists():
        average, best, scalars = checkpoint.load_progress(path, model, optimizer)
        average = {name: value.to(device) for name, value in average.items()}
        state = Progress(**scalars)
    total = config.epochs * len(stage.batches(0))
    log = RunLog(folder / "logs", stage.name)
    try:
        if state.step == 0:  # later stages start as the stage before them: training must improve on that, or it is not kept
            metrics = _validate(stage, average)
            log.write(0, {"epoch": 0.0, **metrics}, show=True)
            state.best = metrics[stage.monitor]
            best = {name: value.detach().clone() for name, value in (model.state_dict() | average).items()}
        while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
            begin = time.monotonic()
            loss = _epoch(stage, config, optimizer, average, state, total, log, device)
            state.epoch += 1
            metrics = _validate(stage, average)
            state.seconds += time.monotonic() - begin
            log.write(state.step, {"epoch": float(state.epoch), "train_loss": loss, **metrics}, show=True)
            if metrics[stage.monitor] > state.best:
                state.best, state.best_epoch = metrics[stage.monitor], state.epoch
                best = {name: value.detach().clone() for name, value in (model.state_dict() | average).items()}
            checkpoint.save_progress(path, model, optimizer, average, best, vars(state))
    finally:
        log.close()
    if best:
        model.load_state_dict(best)
    model.eval()
    return state


def _epoch(
    stage: Stage,
    config: Optimisation,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    state: Progress,
    total: int,
    log: RunLog,
    device: torch.device,
) -> float:
    """One pass over the batches; returns the mean loss."""
    model = stage.model.train()
    parameters = list(model.parameters())
    losses = torch.zeros((), dtype=torch.float64)
    batches = stage.batches(state.epoch)
    for batch in track(batches, f"{stage.name} epoch {state.epoch + 1}"):
        rate = learning_rate(config, state.step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            parts = stage.loss(batch)
        if not torch.isfinite(parts["loss"]):
            raise ShortlistError(
                f"{stage.name}: the loss is {parts['loss'].item()} at step {state.step}",
                why="the weights or the data hold values that are not finite",
                fix="lower the learning rate or check the number columns",
            )
        parts["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        state.step += 1
        losses += parts["loss"].item()
        if average:
            decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))  # early averages forget the start
            with torch.no_grad():
                for name, value in model.named_parameters():
                    average[name].lerp_(value, 1 - decay)
        if state.step % 20 == 0:
            log.write(state.step, {name: value.item() for name, value in parts.items()} | {"learning_rate": rate})
    return losses.item() / len(batches)


def _validate(stage: Stage, average: dict[str, Tensor]) -> dict[str, float]:
    """Validate with the averaged weights where there are any, and put the trained ones back."""
    model = stage.model
    trained = {name: value.detach().clone() for name, value in model.named_parameters()} if average else {}
    model.load_state_dict(average, strict=False) if average else None
    model.eval()
    with torch.inference_mode():
        metrics = stage.validate()
    if average:
        model.load_state_dict(trained, strict=False)
    return metrics


def learning_rate(config: Optimisation, step: int, total: int) -> float:
    """Linear warm-up, then a half cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    done = min(1.0, (step - config.warmup_steps) / max(1, total - config.warmup_steps))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done)))
