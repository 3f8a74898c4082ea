"""From a finished run to what `export_release` takes: the place where training, evaluation and export meet."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from shortlist.data.counters import count_crosses
from shortlist.errors import ConfigError, DataError
from shortlist.export.catalog import catalog_of
from shortlist.export.content import Content, counter_of
from shortlist.export.graphs import FunnelModels
from shortlist.export.release import ReleasePlan
from shortlist.export.tables import Neighbours, PopularLists
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.training.run import Run, load_run
from shortlist.training.source import Source, load_source

BASELINES = ("popularity", "cooccurrence")
GATE_METRIC = "ndcg@10"
# What one request may ask for, and how many candidates one run of the ranker takes (measured best on CPU caches).
DEFAULT_LIMIT, MAX_LIMIT, MAX_CANDIDATES, CHUNK = 20, 1000, 5000, 512


def release_plan(folder: Path, *, data: str = "", name: str = "", value: Mapping[str, float] | None = None) -> ReleasePlan:
    """The plan of a run directory. `data` is a spec of `shortlist.data.load`; none: the run's own. `value` weighs tasks in the value
    formula; none: the first task alone, which evaluation ranks by.

    Raises CheckpointError, ConfigError, and DataError when the data is not what the run was trained on.
    """
    run = load_run(folder)
    source = load_source(dataclasses.replace(run.config, data=data or run.config.data))
    if source.digest() != run.record["data"]["digest"]:
        raise DataError(
            f"the data is not what {folder} was trained on",
            why="its digest differs from run.json",
            fix="give the same files, or train again",
        )
    return ReleasePlan(
        name=name or run.config.name,
        dataset=source.dataset,
        content=content_of(run, source, value or {run.schema.tasks[0]: 1.0}),
        models=FunnelModels(run.schema, run.models.two_tower, run.models.preranker, run.models.ranker).eval(),
        lineage=pb.Lineage(
            data=run.record["data"]["name"],
            data_digest=run.record["data"]["digest"],
            code_commit=run.record["commit"],
            config_json=json.dumps(run.record["config"], sort_keys=True),
            seed=run.config.seed,
        ),
        metrics=metrics_of(run),
        gates=gates_of(run),
        seed=run.config.seed,
    )


def content_of(run: Run, source: Source, value: Mapping[str, float]) -> Content:
    """Tables from training events only; stage sizes are those that evaluation used."""
    if unknown := sorted(set(value) - set(run.schema.tasks)):
        raise ConfigError(
            f"the value formula weighs {unknown[0]!r}", why=f"tasks are {', '.join(run.schema.tasks)}", fix="name one of them"
        )
    log, split, sizes = source.log, source.split, run.config.cascade
    items = len(log.item_ids)
    cooccurrence, popular = Cooccurrence.fit(log, split), Popularity.fit(log, split)
    side = max(1, sizes.retrieve // 5)  # what each table may add to the two-tower's list
    return Content(
        schema=run.schema,
        funnel=pb.Funnel(
            sources=[
                pb.Source(name="two_tower", kind=pb.TWO_TOWER, limit=sizes.retrieve),
                pb.Source(
                    name="cooccurrence",
                    kind=pb.COOCCURRENCE,
                    limit=side,
                    history_events=cooccurrence.history_events,
                    decay=cooccurrence.decay,
                ),
                pb.Source(name="popular", kind=pb.POPULAR, limit=side),
            ],
            prerank_keep=sizes.prerank,
            default_limit=DEFAULT_LIMIT,
            max_limit=MAX_LIMIT,
            max_candidates=MAX_CANDIDATES,
            chunk=CHUNK,
        ),
        formula=pb.ValueFormula(terms=[pb.ValueTerm(task=task, weight=weight, exponent=1.0) for task, weight in value.items()]),
        catalog=catalog_of(source.dataset, log),
        counters={name: counter_of(table) for name, table in count_crosses(log, split).items()},
        sources={
            "cooccurrence": Neighbours.read(cooccurrence.tensors(), items=items),
            "popular": PopularLists.read(popular.tensors(side), segmented=False, items=items),
        },
    )


def metrics_of(run: Run) -> list[pb.Metric]:
    return [
        pb.Metric(model=model, name=name, split=split, value=value)
        for split, models in run.record["metrics"].items()
        for model, values in models.items()
        for name, value in values.items()
    ]


def gates_of(run: Run) -> list[pb.Gate]:
    """A funnel that does not beat the baselines on validation is not worth serving."""
    metrics = run.record["metrics"]["validation"]
    ours = metrics["cascade"][GATE_METRIC]
    return [
        pb.Gate(
            name=f"beats_{baseline}",
            passed=ours > metrics[baseline][GATE_METRIC],
            detail=f"validation {GATE_METRIC}: {ours:.4f} against {metrics[baseline][GATE_METRIC]:.4f} of {baseline}",
        )
        for baseline in BASELINES
    ]
