"""The kinds of rankers behind one trained two-tower and preranker: quality over seeds, and the time of their graphs.

    python bench/rankers.py quality marketplace_demo --kinds amortized,bst --seeds 5 --out .tmp/rankers
    python bench/rankers.py speed --candidates 100,500,3000 --events 50,200

`quality` keeps every run's ranks in --out and continues where it stopped; `report` prints the table of what is there. Epochs are chosen on
validation, figures are of test. Seconds are CPU seconds of one thread, so that a busy machine changes them little.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path

import numpy as np
import torch

from shortlist.evaluation.bootstrap import paired_difference
from shortlist.export.backends import OrtGraphs
from shortlist.export.graphs import FunnelModels
from shortlist.export.laws import random_columns, random_history
from shortlist.export.onnx_export import export_graph
from shortlist.metrics.hits import hits_at_k
from shortlist.metrics.ndcg import ndcg_at_k
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import KINDS, RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset
from shortlist.training.batches import LogTensors
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RunConfig, override
from shortlist.training.recipe import load_recipe
from shortlist.training.run import Training, begin, build_models
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source


def quality(arguments: argparse.Namespace) -> None:
    config: RunConfig = override(load_recipe(arguments.recipe), dict(pair.split("=", 1) for pair in arguments.set))
    source = load_source(config)
    base = arguments.out / "base"
    if not (base / "preranker.safetensors").exists():
        trained(dataclasses.replace(config, name="base", until="preranker"), source, arguments.out)
    for seed in range(arguments.seeds):
        for kind in arguments.kinds:
            folder = arguments.out / f"{kind}-{seed}"
            if (folder / "result.json").exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            for name in ("two_tower", "preranker"):
                shutil.copy(base / f"{name}.safetensors", folder)
            model = dataclasses.replace(config.ranker.model, kind=kind)
            ranker = dataclasses.replace(config.ranker, model=model)
            begun = time.process_time()
            training = trained(dataclasses.replace(config, name=folder.name, seed=seed, ranker=ranker), source, arguments.out)
            seconds = time.process_time() - begun
            models, log = training.models, training.log
            evaluation = CascadeEvaluation(FrozenRetriever(models.two_tower, log), training.cross, training.test, config.cascade)
            ranks = evaluation.ranks(models.preranker, models.ranker)
            user = np.searchsorted(source.log.ptr, training.test, side="right") - 1
            result = {
                "kind": kind,
                "seed": seed,
                "parameters": sum(parameter.numel() for parameter in models.ranker.fusion.parameters()),
                "train_seconds": seconds,
                "progress": training.record["stages"]["ranker"],
                "users": user.tolist(),
                "ranks": {name: found.tolist() for name, found in ranks.items()},
            }
            (folder / "result.json").write_text(json.dumps(result))
    report(arguments)


def trained(config: RunConfig, source: Source, out: Path) -> Training:
    """The stages of a run, without its final metrics; stages whose weights are there are not trained."""
    folder = out / config.name
    training = Training(
        folder,
        config,
        source,
        LogTensors(source.log, torch.device("cpu")),
        build_models(config, source.log.schema),
        begin(folder, config, source),
    )
    training.run_stages()
    return training


def report(arguments: argparse.Namespace) -> None:
    """Mean and deviation over seeds on test, and the paired difference to the amortized ranker, bootstrapped over users."""
    results = [json.loads(path.read_text()) for path in sorted(arguments.out.glob("*/result.json"))]
    by_kind = {kind: [r for r in results if r["kind"] == kind] for kind in KINDS}
    ndcg = {kind: np.stack([gains(r["ranks"]["cascade"]) for r in found]) for kind, found in by_kind.items() if found}
    first, users = results[0]["ranks"], np.array(results[0]["users"])
    print(
        "| ranker | seeds | NDCG@10 | HR@10 | minus amortized | CPU s | best epoch | fusion parameters |\n|---|---|---|---|---|---|---|---|"
    )
    for stage in ("two_tower", "preranker"):
        print(f"| {stage}, no ranker | | {gains(first[stage]).mean():.4f} | {hits_at_k(np.array(first[stage]), 10).mean():.4f} | | | | |")
    for kind, values in ndcg.items():
        found = by_kind[kind]
        hits = np.mean([hits_at_k(np.array(r["ranks"]["cascade"]), 10).mean() for r in found])
        each = values.mean(axis=1)
        gap = ""
        if kind != "amortized" and "amortized" in ndcg:
            difference = paired_difference(values.mean(axis=0), ndcg["amortized"].mean(axis=0), users)
            gap = f"{difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}]"
        seconds, epochs = np.mean([r["train_seconds"] for r in found]), [r["progress"]["best_epoch"] for r in found]
        print(
            f"| {kind} | {len(found)} | {each.mean():.4f} ± {each.std():.4f} | {hits:.4f} | {gap} | {seconds:.0f} | "
            f"{', '.join(map(str, epochs))} | {found[0]['parameters']:,} |"
        )


def gains(ranks: list[int]) -> np.ndarray:
    return ndcg_at_k(np.array(ranks), 10)


CHUNK = 512  # candidates in one run of the graph, as the server cuts them


def speed(arguments: argparse.Namespace) -> None:
    """CPU milliseconds of the graphs with untrained weights in ONNX Runtime, one thread, one request; the least of some repeats."""
    schema = toy_dataset(ToyDataConfig(items=500, users=50, events=1000, item_id="int64")).schema
    rng = np.random.default_rng(0)
    print("| ranker | graph | events | candidates | CPU ms |\n|---|---|---|---|---|")
    for kind in arguments.kinds:
        torch.manual_seed(0)
        tower = TwoTowerConfig(width=64, retrieval_width=64)
        ranker = RankerConfig(kind=kind).build(schema)
        models = FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), ranker)
        graphs = OrtGraphs({name: export_graph(name, models) for name in ("history_encoder", "ranker")})
        layers, heads, width = graphs.cache_shape
        request = random_columns("user", schema.user, (1,), rng) | random_columns("context", schema.context, (1,), rng)
        for events in arguments.events:
            past = {name: np.zeros((1, layers, heads, 0, width), np.float32) for name in ("past_keys", "past_values")}
            history = random_history(schema, 1, events, np.array([events]), rng) | past
            cache = graphs.run("history_encoder", history)
            print(f"| {kind} | history_encoder | {events} | | {least(arguments.repeats, graphs, 'history_encoder', [history]):.2f} |")
            for count in arguments.candidates:
                chunks = [min(CHUNK, count - begin) for begin in range(0, count, CHUNK)]
                inputs = [
                    cache
                    | request
                    | {
                        "history_length": np.array([events]),
                        "ranker_token": rng.normal(size=(1, size, 64)).astype(np.float32),
                        "cross": rng.random((1, size, len(schema.cross)), dtype=np.float32),
                        "prerank_score": rng.normal(size=(1, size)).astype(np.float32),
                    }
                    for size in chunks
                ]
                print(f"| {kind} | ranker | {events} | {count} | {least(arguments.repeats, graphs, 'ranker', inputs):.2f} |", flush=True)


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
    command.add_argument("--kinds", type=names, default=list(KINDS))
    command.add_argument("--seeds", type=int, default=5)
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=quality)
    command = commands.add_parser("report")
    command.add_argument("--out", type=Path, required=True)
    command.set_defaults(run=report)
    command = commands.add_parser("speed")
    command.add_argument("--kinds", type=names, default=list(KINDS))
    command.add_argument("--candidates", type=numbers, default=[100, 500, 3000])
    command.add_argument("--events", type=numbers, default=[50, 200])
    command.add_argument("--repeats", type=int, default=5)
    command.set_defaults(run=speed)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
