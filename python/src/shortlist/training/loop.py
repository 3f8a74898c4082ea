"""The training loop of every stage: steps, validation, early stopping, resumable checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn

from shortlist.errors import ShortlistError
from shortlist.training import checkpoint, parallel
from shortlist.training.averaging import EpochWeights, copy_of
from shortlist.training.batches import Rows, Sequences
from shortlist.training.config import Optimisation
from shortlist.training.logs import RunLog, peak_memory, track
from shortlist.training.usage import Stopwatch, give_memory_back

_TRIM_STEPS = 64  # between two returns of free memory: seconds of work, against a fraction of one for touching the pages again


class Stage(Protocol):
    """One model to train. Batches depend on the seed and epoch alone; `loss` may draw from torch's default generator.

    A stage with a true attribute `parallel` trains in all processes; its `loss` is then that of `parallel.share(batch)` divided by what
    the whole batch holds, so that the losses of all processes sum up to that of the batch.
    """

    name: str
    monitor: str  # the validation metric to maximise
    sequences: Sequences  # what a batch holds indices of
    making: Stopwatch  # runs while a batch is made, negatives and candidates included, and not while the model learns from it

    @property
    def model(self) -> nn.Module: ...

    def batches(self, epoch: int) -> Sequence[Rows]:
        """Asked for once as each epoch begins, with the weights that the last one ended with."""
        ...

    def loss(self, batch: Rows) -> dict[str, Tensor]:
        """The scalar "loss", and parts of it to log."""
        ...

    def validate(self) -> dict[str, float]: ...


@dataclass
class Progress:
    """What run.json says of a stage, and the scalars of a checkpoint. `epochs` has a record per epoch, from 0: before training."""

    seed: int = 0  # of the draws of all steps
    epoch: int = 0  # epochs done
    step: int = 0  # optimizer steps done
    best: float = -math.inf
    best_epoch: int = 0
    seconds: float = 0.0
    averaged: list[int] = field(default_factory=list)  # the epochs whose mean the weights are; none: those of the best epoch
    epochs: list[dict[str, float]] = field(default_factory=list)


def fit(stage: Stage, config: Optimisation, folder: Path, device: torch.device, *, resume: bool = True) -> Progress:
    """Train until the epochs or minutes are over or validation stops improving; the model ends with its best weights.

    Writes `<folder>/progress/<stage>.safetensors` after each epoch and, with `resume`, continues from it: on CPU the result is bit-equal
    to an uninterrupted run. Raises ShortlistError when the loss is not finite.
    """
    path = folder / "progress" / f"{stage.name}.safetensors"
    model = stage.model
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, betas=config.betas, fused=True
    )
    state = Progress(seed=torch.initial_seed())
    average: dict[str, Tensor] = {}
    best: dict[str, Tensor] = {}
    if config.ema_decay:
        average = {name: value.detach().clone() for name, value in model.named_parameters()}
    if resume and path.exists():
        average, best, scalars = checkpoint.load_progress(path, model, optimizer)
        average = {name: value.to(device) for name, value in average.items()}
        state = Progress(**scalars)
    limit = 60 * config.max_minutes or math.inf
    patience = config.patience * config.validate_every
    kept = EpochWeights(path.parent, stage.name, config.average_epochs)
    log = RunLog(folder / "logs", stage.name) if parallel.rank() == 0 else None
    try:
        parallel.copy_from_first(model)
        if not state.epochs:  # later stages start as the stage before them: training must improve on that, or it is not kept
            metrics = parallel.from_first(lambda: _validate(stage, average))
            _record(state, log, {"epoch": 0.0, **metrics})
            state.best = metrics[stage.monitor]
            best = copy_of(model.state_dict() | average)
        while state.epoch < config.epochs and state.epoch - state.best_epoch < patience and state.seconds < limit:
            begin = time.monotonic()
            record = _epoch(stage, config, optimizer, average, state, begin + limit - state.seconds, log, device)
            state.epoch += 1
            trained = time.monotonic() - begin
            over = bool(record.pop("over")) or state.epoch == config.epochs
            metrics = parallel.from_first(lambda: _validate(stage, average)) if over or state.epoch % config.validate_every == 0 else {}
            seconds = time.monotonic() - begin
            record = {"epoch": float(state.epoch), "seconds": seconds, "validation_seconds": seconds - trained, **record}
            record = parallel.from_first(lambda: record | metrics | peak_memory(device))  # noqa: B023
            state.seconds += record["seconds"]
            _record(state, log, record)
            if metrics and metrics[stage.monitor] > state.best:
                state.best, state.best_epoch = metrics[stage.monitor], state.epoch
                best = copy_of(model.state_dict() | average)
            if metrics and kept.count and log is not None:
                kept.keep(model.state_dict() | average, _validated(stage, state), state.epoch)
            if log is not None:
                checkpoint.save_progress(path, model, optimizer, average, best, vars(state))
        model.load_state_dict(best)
        if kept.count and log is not None:
            _average(stage, kept, state, log)
        parallel.copy_from_first(model)
    finally:
        if log is not None:
            log.close()
    model.eval()
    return state


def _validated(stage: Stage, state: Progress) -> dict[int, float]:
    """The monitored metric of the epochs that have been validated, but for that before training."""
    return {int(record["epoch"]): record[stage.monitor] for record in state.epochs[1:] if stage.monitor in record}


def _average(stage: Stage, kept: EpochWeights, state: Progress, log: RunLog) -> None:
    """Give the model the mean of epochs that validates best, where it beats the weights that the model has."""
    model = stage.model
    best = copy_of(model.state_dict())

    def validate(weights: dict[str, Tensor]) -> float:
        model.load_state_dict(weights)
        return _validate(stage, {})[stage.monitor]

    chosen = kept.choose(_validated(stage, state), validate)
    if chosen is not None and chosen[1] > state.best:
        state.averaged, state.best, best = chosen
        log.write(state.step, {f"averaged_{stage.monitor}": state.best, "averaged_epochs": float(len(state.averaged))}, show=True)
    model.load_state_dict(best)


def _record(state: Progress, log: RunLog | None, record: dict[str, float]) -> None:
    state.epochs.append(record)
    if log is not None:
        log.write(state.step, record, show=True)


def _epoch(
    stage: Stage,
    config: Optimisation,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
    state: Progress,
    deadline: float,
    log: RunLog | None,
    device: torch.device,
) -> dict[str, float]:
    """One pass over the batches, or over those before the deadline (monotonic seconds).

    Returns the mean loss, the speed, the seconds that went into making batches (on a GPU: into asking for them), and whether the deadline
    is "over".
    """
    model = stage.model.train()
    parameters = list(model.parameters())
    begin, first, made = time.monotonic(), state.step, stage.making.seconds
    loss, events, late = 0.0, 0, 0.0
    with stage.making:
        batches = stage.batches(state.epoch)
    total = state.step + (config.epochs - state.epoch) * len(batches)
    for batch in track(batches, f"{stage.name} epoch {state.epoch + 1}"):
        rate = learning_rate(config, state.step, total)
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.zero_grad(set_to_none=True)
        parallel.seed_step(state.seed, state.step)
        parts: dict[str, Tensor] = {}
        if len(parallel.share(batch)):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                parts = stage.loss(batch)
            parts["loss"].backward()  # type: ignore[no-untyped-call]
        late = float(time.monotonic() >= deadline)
        value, late = parallel.add_gradients(parameters, parts["loss"].item() if parts else 0.0, late)
        if not math.isfinite(value):
            raise ShortlistError(
                f"{stage.name}: the loss is {value} at step {state.step}",
                why="the weights or the data hold values that are not finite",
                fix="lower the learning rate or check the number columns",
            )
        nn.utils.clip_grad_norm_(parameters, config.clip_norm)
        optimizer.step()
        state.step += 1
        loss += value
        events += int(stage.sequences.length[batch].sum())
        if average:
            decay = min(config.ema_decay, (1 + state.step) / (10 + state.step))  # early averages forget the start
            with torch.no_grad():
                for name, weight in model.named_parameters():
                    average[name].lerp_(weight, 1 - decay)
        if log is not None and state.step % 20 == 0:
            shown = {name: part.item() for name, part in parts.items()} if parallel.size() == 1 else {}
            log.write(state.step, shown | {"loss": value, "learning_rate": rate})
        if state.step % _TRIM_STEPS == 0:
            give_memory_back()
        if late:
            break
    steps, seconds = state.step - first, time.monotonic() - begin
    speed, made = events / max(seconds, 1e-9), stage.making.seconds - made
    return {"train_loss": loss / max(1, steps), "steps": float(steps), "events_per_second": speed, "batch_seconds": made, "over": late}


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
    """Linear warm-up, then constant, or a half cosine down to the final rate."""
    if step < config.warmup_steps:
        return config.learning_rate * (step + 1) / config.warmup_steps
    if config.schedule == "constant":
        return config.learning_rate
    done = min(1.0, (step - config.warmup_steps) / max(1, total - config.warmup_steps))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * 0.5 * (1 + math.cos(math.pi * done)))
