"""What averages of weights bring to the two-tower: the best epoch alone, EMA, SWA and soup, and spherical merges of runs.

python bench/weights.py ml-100k ml-100k:../shared/data/ml-100k --epochs 12 --seeds 0,1,2

All variants of a seed share one trajectory, so they differ by the averaging alone. Validation chooses, test is shown beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from shortlist.training import run
from shortlist.training.averaging import EpochWeights, State, copy_of
from shortlist.training.batches import LogTensors
from shortlist.training.checkpoint import read_tensors
from shortlist.training.config import RunConfig, override
from shortlist.training.loop import Stage, fit
from shortlist.training.merge import COEFFICIENTS, merged_state, towards
from shortlist.training.recipe import load_recipe
from shortlist.training.retrieval import rank_metrics, retrieval_ranks
from shortlist.training.source import load_source

DECAYS = (0.98, 0.995, 0.999)


class Watched:
    """A stage that keeps moving averages of its weights beside the training, which they do not touch."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.name, self.monitor, self.sequences, self.model = stage, stage.name, stage.monitor, stage.sequences, stage.model
        self.averages = {decay: copy_of(stage.model.state_dict()) for decay in DECAYS}
        self.steps = 0
        self.epochs: list[dict[float, State]] = []

    def batches(self, epoch):
        return self.stage.batches(epoch)

    def loss(self, batch):
        self.steps += 1
        with torch.no_grad():
            for decay, average in self.averages.items():
                for name, value in self.model.named_parameters():
                    average[name].lerp_(value, 1 - min(decay, (1 + self.steps) / (10 + self.steps)))
        return self.stage.loss(batch)

    def validate(self):
        self.epochs.append({decay: copy_of(average) for decay, average in self.averages.items()})
        return self.stage.validate()


class Bench:
    def __init__(self, config: RunConfig) -> None:
        self.config, self.source = config, load_source(config)
        self.log = LogTensors(self.source.log, torch.device("cpu"))
        self.rows: list[tuple[str, dict[str, float]]] = []

    def stage(self, seed: int) -> tuple[Stage, run.Training]:
        config = override(self.config, {"seed": str(seed)})
        models = run.build_models(config, self.source.log.schema)
        training = run.Training(Path(), config, self.source, self.log, models, {"stages": {}})
        return next(training.stages())[0], training

    def measure(self, name: str, stage: Stage, training: run.Training, state: State) -> float:
        """Add a row to the table; returns the watched metric."""
        stage.model.load_state_dict(state)
        stage.model.eval()
        with torch.inference_mode():
            watched = stage.validate()[stage.monitor]
            test = rank_metrics(retrieval_ranks(stage.model, self.log, training.test))
        self.rows.append((name, {"val ndcg@10": watched, "test ndcg@10": test["ndcg@10"], "test hr@10": test["hr@10"]}))
        print(name, self.rows[-1][1], flush=True)
        return watched

    def train(self, seed: int, optimisation, start: State | None = None) -> tuple[Stage, run.Training, Watched, dict[int, float], Path]:
        stage, training = self.stage(seed)
        if start:
            stage.model.load_state_dict(start)
        watched, folder = Watched(stage), Path(tempfile.mkdtemp())
        torch.manual_seed(seed)
        progress = fit(watched, optimisation, folder, self.log.device)
        values = {int(record["epoch"]): record[stage.monitor] for record in progress.epochs}
        return stage, training, watched, values, folder / "progress"

    def averages(self, seed: int, optimisation) -> State:
        """The rows of one trajectory; returns the weights of its best epoch."""
        stage, training, watched, values, progress = self.train(seed, optimisation)
        scored = {epoch: value for epoch, value in values.items() if epoch}
        best = max(scored, key=lambda epoch: scored[epoch])
        single = read_tensors(progress / f"two_tower-{best:04d}.safetensors")[0]
        self.measure("best epoch", stage, training, single)
        for decay in DECAYS:
            states = [single | average[decay] for average in watched.epochs[1 : len(scored) + 1]]
            chosen, value = states[0], -1.0
            for state in states:
                stage.model.load_state_dict(state)
                stage.model.eval()
                with torch.inference_mode():
                    now = stage.validate()[stage.monitor]
                chosen, value = (state, now) if now > value else (chosen, value)
            self.measure(f"EMA {decay}", stage, training, chosen)
        epochs = sorted(scored)
        for count in (3, 5):
            kept = EpochWeights(progress, "two_tower", count)

            def validate(state: State) -> float:
                stage.model.load_state_dict(state)
                stage.model.eval()
                with torch.inference_mode():
                    return stage.validate()[stage.monitor]

            chosen = kept.choose(scored, validate)
            self.measure(f"mean of {count}", stage, training, chosen[2] if chosen else single)
        print("epochs", epochs, "best", best, flush=True)
        return single

    def merges(self, names: tuple[str, str], states: list[State], anchor: State, *, from_anchor: bool) -> None:
        stage, training = self.stage(0)
        merged = merged_state(states, anchor, from_anchor=from_anchor)
        rows = []
        for share in (0.0, *COEFFICIENTS):
            rows.append((self.measure(f"{names[0]} {share:.2f}", stage, training, towards(anchor, merged, share)), share))
        self.rows.append((f"{names[1]}: chosen {max(rows)[1]:.2f}", next(v for n, v in self.rows if n == f"{names[0]} {max(rows)[1]:.2f}")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("data")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--further", type=int, default=4, help="epochs of the runs that start from the first seed's best")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="change a setting of the recipe")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = dict(setting.split("=", 1) for setting in arguments.set)
    bench = Bench(override(load_recipe(arguments.recipe), {"data": arguments.data, **settings}))
    changes = {"epochs": arguments.epochs, "patience": arguments.epochs, "average_epochs": max(2, arguments.epochs)}
    optimisation = override(bench.config.two_tower.optimisation, {name: str(value) for name, value in changes.items()})
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    bests = [bench.averages(seed, optimisation) for seed in seeds]
    start = bests[0]
    rate = optimisation.learning_rate / 2
    further = override(
        optimisation,
        {
            "epochs": str(arguments.further),
            "average_epochs": str(arguments.further),
            "learning_rate": str(rate),
            "schedule": "constant",
            "warmup_steps": "0",
        },
    )
    ends = []
    for seed in (101, 102, 103):
        stage, training, _, values, progress = bench.train(seed, further, start)
        state = read_tensors(progress / f"two_tower-{max(values):04d}.safetensors")[0]
        bench.measure(f"further, seed {seed}", stage, training, state)
        ends.append(state)
    bench.merges(("from the start", "merge of three from one start"), ends, start, from_anchor=True)
    bench.merges(("other seeds", "merge of two seeds"), bests[:2], bests[0], from_anchor=False)
    print("\n| weights | val NDCG@10 | test NDCG@10 | test HR@10 | runs |\n|---|---:|---:|---:|---:|")
    for name in dict.fromkeys(name for name, _ in bench.rows):
        rows = [row for other, row in bench.rows if other == name]
        cells = [f"{statistics.mean(row[metric] for row in rows):.4f}" for metric in ("val ndcg@10", "test ndcg@10", "test hr@10")]
        print(f"| {name} | {' | '.join(cells)} | {len(rows)} |")


if __name__ == "__main__":
    main()
