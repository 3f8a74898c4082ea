"""Write the release that benchmarks run on: untrained weights, but the sizes of a real one.

Examples:
    python bench/make_bundle.py --models .tmp/bench
    python bench/make_bundle.py --models .tmp/bench --ranker bst     another ranker at the same sizes, named bench-bst
    python bench/make_bundle.py --models .tmp/bench --history 1000   longer histories, named bench-1000
    python bench/make_bundle.py --models .tmp/bench --rank-ids       with one graph from ids to scores beside the seven, named bench-ids
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

from peers.rank_ids import NAME, rank_ids
from shortlist.export.graphs import FunnelModels
from shortlist.export.release import ReleasePlan, export_release
from shortlist.models.preranker import PrerankerConfig
from shortlist.models.ranker import KINDS, RankerConfig, RankerKind
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


# Rankers that work again for each candidate take half a second for a thousand: fewer requests prove them.
SLOW = replace(BENCH, max_candidates=1000, warmup_requests=10)


def models(schema: Schema, kind: RankerKind = "amortized") -> FunnelModels:
    """Models as training would begin with. A toy's large weights would leave fp32 no room at these sizes."""
    torch.manual_seed(0)
    tower = TwoTowerConfig(width=64, retrieval_width=64, layers=2, heads=1)
    ranker = RankerConfig(kind=kind, width=64, layers=2, heads=1)
    built = FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), ranker.build(schema))
    return built.eval()


def with_rank_ids(plan: ReleasePlan) -> ReleasePlan:
    """The plan with the benchmark's models and the graph of `peers.rank_ids`."""
    built = models(plan.dataset.schema)
    return replace(plan, models=built, extra_graphs={NAME: rank_ids(built, plan.content.catalog)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, required=True, help="folder that gets bench/<release id> and bench/current")
    parser.add_argument("--ranker", choices=KINDS, default="amortized", help="kind of ranker (amortized)")
    parser.add_argument("--history", type=int, default=200, help="events of the history window, which moves by a quarter of it (200)")
    parser.add_argument("--rank-ids", action="store_true", help="add the graph rank_ids, which bench/peers compares with Triton")
    args = parser.parse_args()
    if args.rank_ids:
        print(export_release(with_rank_ids(toy_plan(replace(BENCH, name="bench-ids"))), args.models, created=CREATED))
        return
    config = BENCH if args.ranker == "amortized" else replace(SLOW, name=f"bench-{args.ranker}")
    if args.history != BENCH.data.history_max_events:
        data = replace(config.data, history_max_events=args.history, history_step=args.history // 4)
        config = replace(config, name=f"{config.name}-{args.history}", data=data)
    plan = toy_plan(config)
    print(export_release(replace(plan, models=models(plan.dataset.schema, args.ranker)), args.models, created=CREATED))


if __name__ == "__main__":
    main()
