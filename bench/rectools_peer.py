"""The other side of bench/training_speed.py: RecTools' SASRec, in an environment of its own.

Reads data.npz (training `user` and `item` in time order, `wanted` users, `settings`), writes answer.npz (`seconds` of training, and
`lists` [n,10] of catalog rows without seen items; -1 is padding).
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel


class Clock(Callback):  # type: ignore[misc]
    """When each epoch began and ended; kept by the class, since RecTools trains with a copy."""

    times: ClassVar[list[float]] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        self.times.append(time.monotonic())

    def on_train_epoch_end(self, *_: Any) -> None:
        self.times.append(time.monotonic())


def main() -> None:
    data, answer = np.load(sys.argv[1]), sys.argv[2]
    settings = json.loads(str(data["settings"]))
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(0)
    times = pd.Timestamp("2000-01-01") + pd.to_timedelta(np.arange(len(data["user"])), unit="s")  # the order is all that is known
    frame = pd.DataFrame({Columns.User: data["user"], Columns.Item: data["item"], Columns.Weight: 1.0, Columns.Datetime: times})

    def trainer() -> Trainer:
        return Trainer(
            max_epochs=settings["epochs"],
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            callbacks=[Clock()],
        )

    model = SASRecModel(
        n_blocks=settings["layers"],
        n_heads=settings["heads"],
        n_factors=settings["width"],
        dropout_rate=settings["dropout"],
        session_max_len=settings["window"],
        loss="sampled_softmax" if settings["negatives"] else "softmax",
        n_negatives=settings["negatives"] or 1,
        lr=settings["learning_rate"],
        batch_size=128,
        epochs=settings["epochs"],
        get_trainer_func=trainer,
        recommend_torch_device="cpu",
    )
    dataset = Dataset.construct(frame)
    model.fit(dataset)
    found = model.recommend(data["wanted"], dataset, k=10, filter_viewed=True)
    lists = np.full((len(data["wanted"]), 10), -1, dtype=np.int64)
    place = {user: row for row, user in enumerate(data["wanted"].tolist())}
    rows = found[Columns.User].map(place).to_numpy()
    lists[rows, found[Columns.Rank].to_numpy() - 1] = found[Columns.Item].to_numpy()
    np.savez(answer, seconds=Clock.times[-1] - Clock.times[0], lists=lists)


if __name__ == "__main__":
    main()
