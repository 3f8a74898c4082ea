"""Averages of the weights that several epochs left: the stochastic weight average of the last ones and the greedy soup of the best ones.

One run walks around the floor of a valley of the loss; the mean of points of its walk lies nearer to the middle (arXiv 1803.05407). The
last epochs are averaged as they come; the best ones as a soup, each kept if validation gains (arXiv 2203.05482).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor

from shortlist.training import checkpoint

State = dict[str, Tensor]


class EpochWeights:
    """The weights of the last and of the best `count` validated epochs of a stage, as files `<stage>-<epoch>.safetensors`."""

    def __init__(self, folder: Path, stage: str, count: int) -> None:
        self.folder, self.stage, self.count = folder, stage, count

    def path(self, epoch: int) -> Path:
        return self.folder / f"{self.stage}-{epoch:04d}.safetensors"

    def keep(self, weights: State, values: dict[int, float], epoch: int) -> None:
        """Write the weights of an epoch and remove those no longer wanted; `values` has the validation metric of every epoch so far."""
        checkpoint.write_tensors(self.path(epoch), weights, {"epoch": epoch})
        for old in values.keys() - set(self.last(values)) - set(self.best(values)):
            self.path(old).unlink(missing_ok=True)

    def last(self, values: dict[int, float]) -> list[int]:
        return sorted(values)[: -self.count - 1 : -1]

    def best(self, values: dict[int, float]) -> list[int]:
        return sorted(values, key=lambda epoch: (-values[epoch], epoch))[: self.count]

    def choose(self, values: dict[int, float], validate: Callable[[State], float]) -> tuple[list[int], float, State] | None:
        """The epochs whose mean validates best, its metric and weights; None where no mean beats the best epoch."""
        best: tuple[list[int], float, State] | None = None
        limit = max(values.values(), default=0.0)
        for epochs, value, state in (*self._tails(values, validate), *self._soup(values, validate)):
            if value > limit:
                best, limit = (epochs, value, state), value
        return best

    def _tails(self, values: dict[int, float], validate: Callable[[State], float]) -> Iterable[tuple[list[int], float, State]]:
        """The means of the last 2, 3 ... `count` epochs."""
        epochs = self.last(values)
        for size in range(2, len(epochs) + 1):
            state = mean(self._load(epoch) for epoch in epochs[:size])
            yield sorted(epochs[:size]), validate(state), state

    def _soup(self, values: dict[int, float], validate: Callable[[State], float]) -> Iterable[tuple[list[int], float, State]]:
        """The best epoch, and each next one whose weight in the mean makes it better."""
        chosen: list[int] = []
        limit = 0.0
        for epoch in self.best(values):
            if not chosen:
                chosen, limit = [epoch], values[epoch]
                continue
            state = mean(self._load(member) for member in (*chosen, epoch))
            value = validate(state)
            if value > limit:
                chosen, limit = [*chosen, epoch], value
                yield sorted(chosen), value, state

    def _load(self, epoch: int) -> State:
        return checkpoint.read_tensors(self.path(epoch))[0]


def mean(states: Iterable[State]) -> State:
    """The mean of every floating tensor, in float64; others are those of the first state."""
    total: State = {}
    first: State = {}
    count = 0
    for state in states:
        count += 1
        first = first or state
        for name, value in state.items():
            if value.is_floating_point():
                total[name] = total[name] + value.double() if name in total else value.double()
    return {name: (total[name] / count).to(value.dtype) if name in total else value for name, value in first.items()}


def copy_of(state: State) -> State:
    """A state that training does not change."""
    return {name: torch.clone(value.detach()) for name, value in state.items()}
