"""Write the release that benchmarks run on: untrained weights, but the sizes of a real one.

Example: python bench/make_bundle.py --models .tmp/bench
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from shortlist.export.graphs import FunnelModels
from shortlist.export.release import export_release
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import Schema
from shortlist.testing.toy import CREATED, ToyConfig, ToyDataConfig, toy_plan

# D=64, L=2, N=200 and 3,000 candidates: the sizes that reports in bench/reports state.
BENCH = ToyConfig(
    name="bench",
    data=ToyDataConfig(items=4000, users=400, events=40_000, item_id="int64", history_max_events=200, history_step=50),
    source_limit=1000,
    prerank_keep=500,
    chunk=512,
    max_candidates=3000,
    golden_cases=8,
    warmup_requests=200,
)


def models(schema: Schema) -> FunnelModels:
    """Models as training would begin with. A toy's large weights would leave fp32 no room at these sizes."""
    torch.manual_seed(0)
    tower = TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=4)
    ranker = RankerConfig(width=64, layers=2, heads=4)
    built = FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), ranker.build(schema))
    return built.eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that gets bench/<release id> and bench/current")
    args = parser.parse_args()
    plan = toy_plan(BENCH)
    print(export_release(replace(plan, models=models(plan.dataset.schema)), args.models, created=CREATED))


if __name__ == "__main__":
    main()
