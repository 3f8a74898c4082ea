"""What reading a history for the query costs: in one graph with the request, as before docs/adr/0009, and in two, cold, appended and kept.

    taskset -c 0 python bench/query_graphs.py                          # SASRec, D = 64, two layers, a minute
    taskset -c 0 python bench/query_graphs.py --encoder hstu --heads 2

Medians of CPU milliseconds of one thread, the variants in turn; weights are untrained, since speed depends on shapes alone. "whole" is one
graph that reads the history and encodes the query; "cold" is both graphs without a past, "appended" both for one new event (of an encoder
that cannot be extended: for the whole history), "kept" the query's graph alone.
"""

from __future__ import annotations

import argparse
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from graph_rate import session, timed
from shortlist.export.backends import no_past
from shortlist.export.graphs import FunnelModels, Graph, Signature, history_specs, request_specs, role, signatures
from shortlist.export.laws import random_columns, random_history
from shortlist.export.onnx_export import export_extra, export_graph
from shortlist.export.tables import Tensors
from shortlist.models.encoder import Kind
from shortlist.models.preranker import PrerankerConfig, query_vectors
from shortlist.models.ranker import RankerConfig
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset

READS, ASKS, ROUNDS = "sequence_encoder", "query_encoder", 7


class Whole(Graph):
    """The query encoder of format version 1."""

    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        history, user, context = (role(inputs, name) for name in ("history", "user", "context"))
        return (query_vectors(self.two_tower, self.preranker, history, inputs["history_length"], user, context),)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", choices=get_args(Kind), default="sasrec")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--heads", type=int, default=1)
    parser.add_argument("--events", type=int, nargs="+", default=[50, 200, 1000])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    models = built(arguments.encoder, arguments.width, arguments.heads, max(arguments.events))
    kept = models.two_tower.config.cache_shape[0] > 0
    contract, schema = signatures(models), models.schema
    before = Signature((*history_specs(schema), *request_specs(schema)), contract[ASKS].outputs)
    whole = session(export_extra("whole", Whole(models, before).eval(), before, "History and request to query vectors.").data)
    reads, asks = (session(export_graph(name, models)) for name in (READS, ASKS))
    print("| events | whole | cold | appended | kept | cold / whole | appended / whole | kept / whole |\n|---:" + "|---:" * 7 + "|")
    for count in arguments.events:
        rng = np.random.default_rng(0)
        history = random_history(schema, 1, count, np.array([count]), rng)
        request = random_columns("user", schema.user, (1,), rng) | random_columns("context", schema.context, (1,), rng)
        none = no_past({spec.name: spec.shape for spec in contract[READS].inputs}, 1)
        read: Tensors = dict(zip([one.name for one in reads.get_outputs()], reads.run(None, history | none), strict=True))
        past = {f"past_{name}": read[name] for name in ("keys", "values", "recent")} if kept else none
        event = random_history(schema, 1, 1, np.array([1]), rng) if kept else history
        asked = {"state": read["state"], "recent": read["recent"], "history_length": history["history_length"]} | request
        runs = {
            "whole": lambda feed=history | request: whole.run(None, feed),
            "cold": lambda feed=history | none: reads.run(None, feed),
            "appended": lambda feed=event | past: reads.run(None, feed),
            "kept": lambda feed=asked: asks.run(None, feed),
        }
        rounds = [{name: timed(run, 0.1) for name, run in runs.items()} for _ in range(ROUNDS)]
        cost = {name: 1e3 * float(np.median([one[name] for one in rounds])) for name in runs}
        cost |= {name: cost[name] + cost["kept"] for name in ("cold", "appended")}
        shares = [cost[name] / cost["whole"] for name in ("cold", "appended", "kept")]
        print(
            f"| {count} | " + " | ".join(f"{value:.3f}" for value in cost.values()) + "".join(f" | {share:.2f}" for share in shares) + " |"
        )


def built(encoder: Kind, width: int, heads: int, window: int) -> FunnelModels:
    """Untrained models over the toy's columns, with windows of that many events."""
    torch.manual_seed(0)
    config = ToyDataConfig(items=500, users=50, events=1000, item_id="int64", history_max_events=window)
    schema = toy_dataset(config).schema
    tower = TwoTowerConfig(encoder=encoder, width=width, retrieval_width=width, heads=heads)
    return FunnelModels(schema, tower.build(schema), PrerankerConfig().build(schema, tower), RankerConfig().build(schema)).eval()


if __name__ == "__main__":
    main()
