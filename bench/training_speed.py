"""Training speed and quality beside RecTools' SASRec: same data, model size, loss and epochs, one after the other on the same machine.

    python -m venv .tmp/rectools && .tmp/rectools/bin/pip install 'rectools[torch]==0.19.0' 'setuptools<81'
    python bench/training_speed.py ml-1m --data ml-1m:../shared/data/ml-1m --peer .tmp/rectools/bin/python --epochs 3

RecTools needs packages that ours does not agree with, so it runs in a process of its own (bench/rectools_peer.py) and gives back its ten
best items of every user; both are measured by the same code, on validation.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from shortlist.metrics.order import ranks_in_lists
from shortlist.training.batches import LogTensors
from shortlist.training.config import RunConfig, override
from shortlist.training.loop import fit
from shortlist.training.recipe import load_recipe
from shortlist.training.retrieval import first_meetings, rank_metrics, retrieval_ranks
from shortlist.training.source import Source, load_source
from shortlist.training.two_tower_stage import TwoTowerStage

Row = dict[str, float | str]
# SASRec's sizes in the published comparisons on these files.
SIZE = {"width": "64", "retrieval_width": "64", "layers": "2", "heads": "1", "dropout": "0.1", "encoder": "sasrec", "towers": "tied"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--data", required=True)
    parser.add_argument("--peer", type=Path, required=True, help="Python interpreter of an environment that has RecTools.")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--negatives", type=int, default=0, help="0: full softmax; else so many uniform ones (shared by a batch here, by a user there)."
    )
    parser.add_argument("--json", type=Path, help="Where to write the rows.")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    changes = {f"two_tower.model.{name}": value for name, value in SIZE.items()}
    changes |= {"data": arguments.data, "two_tower.optimisation.epochs": str(arguments.epochs), "fresh_share": "0", "until": "two_tower"}
    changes |= {"two_tower.loss": "sampled_softmax" if arguments.negatives else "full_softmax"}
    changes |= {"two_tower.uniform_negatives": str(arguments.negatives), "two_tower.in_batch_negatives": "0"}
    config: RunConfig = override(load_recipe(arguments.recipe), changes)
    source = load_source(config)
    rows = [shortlist_row(config, source), rectools_row(config, source, arguments)]
    for row in rows:
        print("  ".join(f"{name} {value:.4f}" if isinstance(value, float) else f"{name} {value}" for name, value in row.items()))
    print(f"ratio of events per second {float(rows[0]['events_per_second']) / float(rows[1]['events_per_second']):.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def training_events(source: Source) -> int:
    """Events of an epoch: each user's newest, as many as a window and one target hold; both sides leave out the rest."""
    lengths = source.split.train_end - source.log.ptr[:-1]
    return int(np.minimum(lengths, source.log.schema.history_max_events + 1).sum())


def shortlist_row(config: RunConfig, source: Source) -> Row:
    log = LogTensors(source.log, torch.device("cpu"))
    torch.manual_seed(config.seed)
    model = config.two_tower.model.build(source.log.schema)
    validation = first_meetings(source.log, source.split.validation)
    stage = TwoTowerStage(model, log, source.split.train_end, validation[:500], config.two_tower, config.seed)
    with tempfile.TemporaryDirectory() as folder:
        progress = fit(stage, config.two_tower.optimisation, Path(folder), log.device)
    seconds = sum(record["seconds"] - record["validation_seconds"] for record in progress.epochs[1:])
    events = training_events(source) * progress.epoch
    return {"model": "shortlist", "events_per_second": events / seconds, "seconds": seconds} | rank_metrics(
        retrieval_ranks(model, log, validation)
    )


def rectools_row(config: RunConfig, source: Source, arguments: argparse.Namespace) -> Row:
    log, split = source.log, source.split
    validation = first_meetings(log, split.validation)
    users = np.repeat(np.arange(len(log.user_ids)), np.diff(log.ptr))
    trained = np.arange(len(log.item)) < split.train_end[users]
    model = config.two_tower.model
    with tempfile.TemporaryDirectory() as folder:
        data, answer = Path(folder) / "data.npz", Path(folder) / "answer.npz"
        settings = {
            "epochs": arguments.epochs,
            "threads": arguments.threads,
            "width": model.width,
            "layers": model.layers,
            "heads": model.heads,
            "dropout": model.dropout,
            "window": log.schema.history_max_events,
            "negatives": arguments.negatives,
            "learning_rate": 1e-3,
        }
        np.savez(data, user=users[trained], item=log.item[trained], wanted=users[validation], settings=json.dumps(settings))
        begin = time.monotonic()
        subprocess.run(
            [str(arguments.peer), str(Path(__file__).with_name("rectools_peer.py")), str(data), str(answer)], check=True, stdout=sys.stderr
        )
        print(f"RecTools with data preparation and lists: {time.monotonic() - begin:.0f} s", file=sys.stderr)
        found = np.load(answer)
        seconds, lists = float(found["seconds"]), found["lists"]
    ranks = ranks_in_lists(lists, log.item[validation])
    return {"model": "rectools", "events_per_second": training_events(source) * arguments.epochs / seconds, "seconds": seconds} | {
        name: value for name, value in rank_metrics(ranks).items() if name in ("hr@10", "ndcg@10")
    }


if __name__ == "__main__":
    main()
