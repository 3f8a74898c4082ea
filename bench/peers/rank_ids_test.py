"""The composite graph scores as the graphs that it is made of, and a release that holds it proves itself like any other."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.rank_ids import CANDIDATES, NAME, rank_ids
from shortlist.export.backends import OrtGraphs, ort_session
from shortlist.export.compare import Tolerance, tensor_violation
from shortlist.export.laws import random_columns, random_history
from shortlist.export.reader import read
from shortlist.export.release import export_release
from shortlist.testing.toy import CREATED, ToyConfig, toy_plan


def test_scores_as_history_encoder_and_ranker_do(tmp_path: Path) -> None:
    plan = toy_plan(ToyConfig(golden_cases=1, warmup_requests=1))
    plan = replace(plan, extra_graphs={NAME: rank_ids(plan.models, plan.content.catalog)})
    bundle = read(export_release(plan, tmp_path, created=CREATED))
    assert [graph.name for graph in bundle.manifest.extra_graphs] == [NAME]

    rng, schema = np.random.default_rng(3), plan.dataset.schema
    for batch, events, count in ((1, 5, 4), (2, 1, 1)):
        inputs = random_history(schema, batch, events, np.array([events, 0][:batch]), rng)
        inputs |= random_columns("user", schema.user, (batch,), rng) | random_columns("context", schema.context, (batch,), rng)
        rows = rng.integers(len(plan.content.catalog), size=(batch, count))
        got = ort_session(bundle.extra_graphs[NAME]).run(None, inputs | {CANDIDATES: rows})[0]

        graphs = OrtGraphs(bundle.graphs)
        candidates = {
            "ranker_token": bundle.item_tokens[rows],
            "cross": np.zeros((batch, count, len(schema.cross)), np.float32),
            "prerank_score": np.zeros((batch, count), np.float32),
        }
        want = graphs.run("ranker", inputs | graphs.run("history_encoder", inputs | graphs.no_past("history_encoder", batch)) | candidates)[
            "logits"
        ]
        assert tensor_violation(got, want, Tolerance()) is None
