from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from shortlist.cli.evaluation_report import recipe_labels, training_curves
from shortlist.errors import ConfigError
from shortlist.training.recipe import load_recipe


def test_curves_are_the_validation_lines_of_each_stage(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = [{"step": 5, "loss": 1.0}, {"step": 10, "ndcg@10": 0.3}, {"step": 10, "ndcg@10": 0.1}, {"step": 20, "ndcg@10": 0.2}]
    for stage in ("two_tower", "preranker", "ranker"):
        shown = lines if stage != "preranker" else lines[:1]  # a stage that was never validated has no curve
        (tmp_path / "logs" / f"{stage}.jsonl").write_text("\n".join(map(json.dumps, shown)))
    validation = {"popularity": {"ndcg@10": 0.15}, "two_tower": {"ndcg@10": 0.2}}
    plots = training_curves(tmp_path, {"two_tower": {}, "preranker": {}, "ranker": {}, "unlogged": {}}, validation)
    assert [plot.stage for plot in plots] == ["two_tower", "ranker"]
    assert (plots[0].curves[0].steps, plots[0].curves[0].values) == ([10, 20], [0.1, 0.2])  # a resumed run repeats step 10
    assert plots[0].baselines == {"popularity": 0.15}


def test_runs_that_differ_in_their_seed_are_one_recipe() -> None:
    config = load_recipe("marketplace-demo")
    base = [dataclasses.replace(config, name=f"base-{seed}", seed=seed) for seed in (0, 1)]
    other = dataclasses.replace(config, name="base-other", fresh_share=0.2)
    assert recipe_labels([*base, other]) == ["base", "base", "base-other"]
    assert recipe_labels([other, dataclasses.replace(config, name="x", seed=5)]) == ["base-other", "x"]
    with pytest.raises(ConfigError, match="base-0, base-0"):
        recipe_labels([base[0], base[0]])
