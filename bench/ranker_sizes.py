"""Does a faster ranker rank worse? Heads and activation of the amortized ranker behind one trained two-tower and preranker, over seeds.

    python bench/ranker_sizes.py ml_100k --variants heads=1 heads=2 heads=1,activation=relu --seeds 3 --out .tmp/ranker_sizes

Every result is kept in --out, and a run continues where it stopped. Epochs are chosen on validation, figures are of test; differences to
the first variant are paired over users, with a bootstrap interval.
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
from rankers import gains, trained

from shortlist.evaluation.bootstrap import paired_difference
from shortlist.metrics.hits import hits_at_k
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import RunConfig, override
from shortlist.training.recipe import load_recipe
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source, load_source


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as of `shortlist train`")
    parser.add_argument("--variants", nargs="+", required=True, metavar="FIELD=VALUE,...", help="fields of RankerConfig")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    config: RunConfig = override(load_recipe(arguments.recipe), dict(pair.split("=", 1) for pair in arguments.set))
    source = load_source(config)
    base = arguments.out / "base"
    if not (base / "preranker.safetensors").exists():
        trained(dataclasses.replace(config, name="base", until="preranker"), source, arguments.out)
    for seed in range(arguments.seeds):
        for variant in arguments.variants:
            folder = arguments.out / f"{variant.replace('=', '_').replace(',', '-')}-{seed}"
            if not (folder / "result.json").exists():
                measure(folder, base, config, source, variant, seed)
    report(arguments.out, arguments.variants)


def measure(folder: Path, base: Path, config: RunConfig, source: Source, variant: str, seed: int) -> None:
    """Trains one ranker and writes result.json: the rank of each test target and the CPU seconds of training."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("two_tower", "preranker"):
        shutil.copy(base / f"{name}.safetensors", folder)
    model = override(config.ranker.model, dict(pair.split("=", 1) for pair in variant.split(",")))
    run = dataclasses.replace(config, name=folder.name, seed=seed, ranker=dataclasses.replace(config.ranker, model=model))
    begun = time.process_time()
    training = trained(run, source, folder.parent)
    seconds = time.process_time() - begun
    models, log = training.models, training.log
    evaluation = CascadeEvaluation(FrozenRetriever(models.two_tower, log), training.cross, training.test, config.cascade)
    ranks = evaluation.ranks(models.preranker, models.ranker)
    result = {
        "variant": variant,
        "seed": seed,
        "train_seconds": seconds,
        "users": (np.searchsorted(source.log.ptr, training.test, side="right") - 1).tolist(),
        "ranks": {name: found.tolist() for name, found in ranks.items()},
    }
    (folder / "result.json").write_text(json.dumps(result))
    print(f"{variant} {seed}: NDCG@10 {gains(result['ranks']['cascade']).mean():.4f} in {seconds:.0f} s", flush=True)


def report(out: Path, variants: list[str]) -> None:
    results = [json.loads(path.read_text()) for path in sorted(out.glob("*/result.json"))]
    found = {variant: [one for one in results if one["variant"] == variant] for variant in variants}
    first, users = found[variants[0]], np.array(results[0]["users"])
    baseline = np.mean([gains(one["ranks"]["cascade"]) for one in first], axis=0)
    print(f"\npreranker alone: NDCG@10 {gains(first[0]['ranks']['preranker']).mean():.4f}\n")
    print(f"| variant | seeds | NDCG@10 | HR@10 | minus {variants[0]} | train CPU s |\n|---|---|---|---|---|---|")
    for variant, runs in found.items():
        values = np.stack([gains(one["ranks"]["cascade"]) for one in runs])
        hits = np.mean([hits_at_k(np.array(one["ranks"]["cascade"]), 10).mean() for one in runs])
        gap = paired_difference(values.mean(axis=0), baseline, users)
        seconds = np.mean([one["train_seconds"] for one in runs])
        print(
            f"| {variant} | {len(runs)} | {values.mean():.4f} ± {values.mean(axis=1).std():.4f} | {hits:.4f} "
            f"| {gap.value:+.4f} [{gap.low:+.4f}, {gap.high:+.4f}] | {seconds:.0f} |"
        )


if __name__ == "__main__":
    main()
