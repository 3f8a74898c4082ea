"""The kinds of rankers behind one trained two-tower and preranker: quality over seeds, and the time of their graphs.

    python bench/rankers.py quality marketplace_demo --window 30 --seeds 3 --out .tmp/rankers --set cascade.prerank=50
    python bench/rankers.py report --out .tmp/rankers
    python bench/rankers.py speed --candidates 100,500,3000 --events 50,200

`quality` trains the first two stages once and then every kind with every seed; only the ranker differs. A result is written as soon as it
is there, and the same command continues where it was stopped, in the middle of a training too. `report` prints the table of what is there.
Epochs are chosen on validation, figures are of test. Seconds are CPU seconds of one thread, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import torch

from shortlist.evaluation.bootstrap import Estimate, difference_over_seeds, estimate_over_seeds
from shortlist.export.backends import OrtGraphs
from shortlist.export.graphs import FunnelModels
from shortlist.export.laws import random_columns, random_history
from shortlist.export.onnx_export import export_graph
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import AnyRanker, RankerConfig, RankerKind
from shortlist.models.trees import TreeConfig, TreeRanker
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset
from shortlist.training.batches import LogTensors
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import Optimisation, RunConfig, override, to_json
from shortlist.training.recipe import load_recipe
from shortlist.training.run import Training, begin, build_models
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source

# From cheap to dear, so that an interrupted comparison has told the most.
ALL: tuple[RankerKind, ...] = ("amortized", "trees", "mean-pool", "din", "amortized-self", "transact", "bst")
SETTINGS, STAGES, RESULTS = "settings.json", "stages.json", "results"


def quality(arguments: argparse.Namespace) -> None:
    config: RunConfig = override(load_recipe(arguments.recipe), dict(pair.split("=", 1) for pair in arguments.set))
    config = dataclasses.replace(config, refit=Optimisation(epochs=0))  # every ranker learns from events that the base did not train on
    source = shortened(load_source(config), arguments.window)
    out: Path = arguments.out
    same_settings(out / SETTINGS, {"config": to_json(config), "window": arguments.window, "data": source.digest()})
    base = trained(dataclasses.replace(config, name="base", until="preranker"), source, out)
    retriever = FrozenRetriever(base.models.two_tower, base.log)
    evaluation = CascadeEvaluation(retriever, base.cross, base.test, config.cascade)
    if not (out / STAGES).exists():
        user = np.searchsorted(source.log.ptr, base.test, side="right") - 1
        ranks = {name: found.tolist() for name, found in evaluation.ranks(base.models.preranker, None).items()}
        write(out / STAGES, {"users": user.tolist(), "ranks": {name: ranks[name] for name in ("two_tower", "preranker")}})
    for seed in range(arguments.seeds):
        for kind in arguments.kinds:
            if not (path := out / RESULTS / f"{kind}-{seed}.json").exists():
                write(path, result_of(kind, seed, config, base, evaluation))
                print(f"{kind}, seed {seed}: {json.loads(path.read_text())['ndcg@10']:.4f}", flush=True)
    report(arguments)


def shortened(source: Source, window: int) -> Source:
    """The data with a history window of so many events, for every stage and kind alike; 0 leaves it."""
    if not window:
        return source
    schema = dataclasses.replace(source.log.schema, history_max_events=window, history_step=max(1, window // 4))
    return dataclasses.replace(
        source, dataset=dataclasses.replace(source.dataset, schema=schema), log=dataclasses.replace(source.log, schema=schema)
    )


def same_settings(path: Path, settings: dict[str, Any]) -> None:
    """Results of other settings must not share a table."""
    if not path.exists():
        write(path, settings)
    elif json.loads(path.read_text()) != json.loads(json.dumps(settings)):
        sys.exit(f"{path.parent} holds results of other settings ({path.name} says which): give another --out, or remove it")


def result_of(kind: RankerKind, seed: int, config: RunConfig, base: Training, evaluation: CascadeEvaluation) -> dict[str, Any]:
    """Train one ranker behind the base's first stages, and rank the test targets with it."""
    folder = base.folder.parent / f"{kind}-{seed}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("two_tower", "preranker"):
        shutil.copy(base.folder / f"{name}.safetensors", folder)
    ranker = dataclasses.replace(config.ranker, model=dataclasses.replace(config.ranker.model, kind=kind))
    resumed, begun = (folder / "progress").exists(), time.process_time()
    training = trained(dataclasses.replace(config, name=folder.name, seed=seed, ranker=ranker), base.source, folder.parent, base)
    seconds = time.process_time() - begun
    ranks = evaluation.ranks(training.models.preranker, training.models.ranker)["cascade"]
    return {
        "kind": kind,
        "seed": seed,
        "size": size_of(training.models.ranker),
        "cpu_seconds": None if resumed else seconds,
        "best_epoch": training.record["stages"]["ranker"]["best_epoch"],
        "epochs": training.record["stages"]["ranker"]["epochs"],
        "ndcg@10": float(ndcg_at_k(ranks, 10).mean()),
        "ranks": ranks.tolist(),
    }


def trained(config: RunConfig, source: Source, out: Path, base: Training | None = None) -> Training:
    """The stages of a run, without its final metrics; stages whose weights are there are not trained."""
    folder = out / config.name
    log = base.log if base else LogTensors(source.log, torch.device("cpu"))
    training = Training(folder, config, source, log, build_models(config, source.log.schema), begin(folder, config, source))
    if base is not None:  # another seed would draw other fresh events, and the base's two-tower has trained on those
        training.fresh_start, training.watched = base.fresh_start, base.watched
    training.run_stages()
    return training


def size_of(ranker: AnyRanker) -> str:
    if isinstance(ranker, TreeRanker):
        return f"{sum(booster.num_trees() for booster in ranker.trees.boosters):,} trees"
    return f"{sum(parameter.numel() for parameter in ranker.fusion.parameters()):,}"


def write(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(document))
    os.replace(temporary, path)


def report(arguments: argparse.Namespace) -> None:
    """Test metrics of what is there. Means over seeds with Student's interval; differences to `--base` are paired, and their interval draws
    users and the seeds of both sides."""
    results = [json.loads(path.read_text()) for path in sorted((arguments.out / RESULTS).glob("*.json"))]
    stages = json.loads((arguments.out / STAGES).read_text())
    users = np.array(stages["users"])
    by_kind = {kind: found for kind in ALL if (found := [result for result in results if result["kind"] == kind])}
    gains = {kind: [ndcg_at_k(np.array(result["ranks"]), 10) for result in found] for kind, found in by_kind.items()}
    print(f"{len(users):,} test targets of {len(np.unique(users)):,} users\n")
    print(f"| ranker | seeds | NDCG@10 | HR@10 | NDCG@10 minus {arguments.base} | CPU s | best epoch | fusion parameters |")
    print("|---|---:|---|---|---|---:|---|---:|")
    for stage, ranks in stages["ranks"].items():
        print(
            f"| {stage}, no ranker | | {ndcg_at_k(np.array(ranks), 10).mean():.4f} | {hits_at_k(np.array(ranks), 10).mean():.4f} | | | | |"
        )
    for kind, found in by_kind.items():
        ndcg = estimate_over_seeds([float(values.mean()) for values in gains[kind]])
        hits = estimate_over_seeds([float(hits_at_k(np.array(result["ranks"]), 10).mean()) for result in found])
        other = gains.get(arguments.base) if kind != arguments.base else None
        apart = shown(difference_over_seeds(gains[kind], other, users), "+.4f") if other else ""
        seconds = [result["cpu_seconds"] for result in found if result["cpu_seconds"] is not None]
        cost, size = f"{np.mean(seconds):.0f}" if seconds else "", found[0]["size"]
        epochs = ", ".join(str(result["best_epoch"]) for result in found)
        print(f"| {kind} | {len(found)} | {shown(ndcg)} | {shown(hits)} | {apart} | {cost} | {epochs} | {size} |")


def shown(estimate: Estimate, form: str = ".4f") -> str:
    interval = "" if estimate.low is None else f" [{estimate.low:{form}}, {estimate.high:{form}}]"
    return f"{estimate.value:{form}}{interval}"


CHUNK = 512  # candidates in one run of the graph, as the server cuts them


def speed(arguments: argparse.Namespace) -> None:
    """CPU milliseconds of the graphs in ONNX Runtime, one thread, one request; the least of some repeats. Weights are untrained; trees
    are of full size, grown on noise: speed depends on shapes alone."""
    schema = toy_dataset(ToyDataConfig(items=500, users=50, events=1000, item_id="int64")).schema
    rng = np.random.default_rng(0)
    print("| ranker | graph | events | candidates | CPU ms |\n|---|---|---|---|---|")
    for kind in arguments.kinds:
        torch.manual_seed(0)
        tower = TwoTowerConfig(width=64, retrieval_width=64)
        ranker = RankerConfig(kind=kind).build(schema)
        if isinstance(ranker, TreeRanker):
            grow(ranker, TreeConfig())
        models = FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), ranker)
        graphs = OrtGraphs({name: export_graph(name, models) for name in ("history_encoder", "ranker")})
        request = random_columns("user", schema.user, (1,), rng) | random_columns("context", schema.context, (1,), rng)
        for events in arguments.events:
            history = random_history(schema, 1, events, np.array([events]), rng) | graphs.no_past("history_encoder", 1)
            cache = graphs.run("history_encoder", history)
            print(f"| {kind} | history_encoder | {events} | | {least(arguments.repeats, graphs, 'history_encoder', [history]):.2f} |")
            for count in arguments.candidates:
                chunks = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
                inputs = [
                    cache
                    | request
                    | {
                        "history_length": np.array([events]),
                        "ranker_token": rng.normal(size=(1, size, ranker.width)).astype(np.float32),
                        "cross": rng.random((1, size, len(schema.cross)), dtype=np.float32),
                        "prerank_score": rng.normal(size=(1, size)).astype(np.float32),
                    }
                    for size in chunks
                ]
                print(f"| {kind} | ranker | {events} | {count} | {least(arguments.repeats, graphs, 'ranker', inputs):.2f} |", flush=True)


def grow(ranker: TreeRanker, config: TreeConfig) -> None:
    """Trees of full size over the ranker's features."""
    rng = np.random.default_rng(0)
    table = rng.normal(size=(20_000, len(ranker.features.names)))
    parameters = {"objective": "binary", "num_leaves": config.leaves, "min_data_in_leaf": config.least_in_leaf, "use_missing": False}
    data = [lightgbm.Dataset(table, rng.random(len(table)) < 0.5) for _ in range(ranker.trees.tasks)]
    grown = [lightgbm.train(parameters | {"verbose": -1, "num_threads": 1}, one, config.rounds) for one in data]
    ranker.trees.set([booster.model_to_string() for booster in grown])


def least(repeats: int, graphs: OrtGraphs, name: str, inputs: list[dict[str, np.ndarray]]) -> float:
    graphs.run(name, inputs[0])
    times = []
    for _ in range(repeats):
        begun = time.process_time()
        for one in inputs:
            graphs.run(name, one)
        times.append(time.process_time() - begun)
    return 1000 * min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)

    def names(text: str) -> list[str]:
        return text.split(",")

    def numbers(text: str) -> list[int]:
        return [int(part) for part in text.split(",")]

    command = commands.add_parser("quality")
    command.add_argument("recipe")
    command.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as of `shortlist train`")
    command.add_argument("--kinds", type=names, default=list(ALL))
    command.add_argument("--seeds", type=int, default=3)
    command.add_argument("--window", type=int, default=0, help="events of history that all stages and kinds see; 0: as the data says")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--base", choices=ALL, default="amortized")
    command.set_defaults(run=quality)
    command = commands.add_parser("report")
    command.add_argument("--out", type=Path, required=True)
    command.add_argument("--base", choices=ALL, default="amortized")
    command.set_defaults(run=report)
    command = commands.add_parser("speed")
    command.add_argument("--kinds", type=names, default=list(ALL))
    command.add_argument("--candidates", type=numbers, default=[100, 500, 3000])
    command.add_argument("--events", type=numbers, default=[50, 200])
    command.add_argument("--repeats", type=int, default=5)
    command.set_defaults(run=speed)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
