"""Runs side by side: seeds pooled, differences paired, pages whole."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from shortlist.errors import ConfigError
from shortlist.evaluation.bootstrap import estimate_means
from shortlist.evaluation.comparison import ComparedRun, Comparison, compare, pooled, pooled_curves
from shortlist.evaluation.comparison_page import comparison_html, comparison_json, comparison_markdown, write_comparison
from shortlist.evaluation.costs import StageCost, stage_costs
from shortlist.evaluation.plots import Curve, TrainingCurves
from shortlist.evaluation.report import Report
from shortlist.evaluation.result import Result, SliceResult

USERS = np.arange(400)


def result(model: str, rate: float, seed: int, *, baseline: bool = False) -> Result:
    values = {name: (np.random.default_rng(seed).random(400) < rate).astype(float) for name in ("ndcg@10", "recall@100")}
    metrics = estimate_means(values, USERS)
    return Result(model, "test", 400, metrics, {"tail_item": SliceResult(40, metrics)}, baseline, values=values, groups=USERS)


def run(name: str, recipe: str, seed: int, rate: float) -> ComparedRun:
    curves = [TrainingCurves("two_tower", "ndcg@10", [Curve("two_tower", [0, 10], [0.0, rate])], {"popularity": 0.1})]
    results = [result("popularity", 0.1, 99, baseline=True), result("two_tower", rate, seed), result("cascade", rate + 0.05, seed)]
    return ComparedRun(name, recipe, seed, Report(name, results, curves=curves, costs=[StageCost("two_tower", 3.0, 2, 1, 100)]))


def sample(base: str = "") -> Comparison:
    return compare("Two recipes", [run("a-0", "a", 0, 0.3), run("a-1", "a", 1, 0.3), run("<b>", "<b>", 0, 0.5)], base)


def test_seeds_are_pooled_and_baselines_stand_for_all() -> None:
    groups = {group.label: group for group in sample().groups}
    assert list(groups) == ["popularity", "a/two_tower", "a/cascade", "<b>/two_tower", "<b>/cascade"]
    assert groups["a/two_tower"].seeds == (0, 1)
    both = pooled(groups["a/two_tower"])
    assert both.metrics["ndcg@10"].value == np.mean([part.metrics["ndcg@10"].value for part in groups["a/two_tower"].results])
    assert pooled(groups["<b>/two_tower"]).metrics == groups["<b>/two_tower"].results[0].metrics
    assert [len(plot.curves) for plot in pooled_curves(sample().runs)] == [3]


def test_differences_are_paired_with_the_same_model_of_the_base_or_with_one_model() -> None:
    by_stage = sample("a").differences
    assert set(by_stage) == {"<b>/two_tower", "<b>/cascade"}
    found = by_stage["<b>/two_tower"]["ndcg@10"]
    values = {group.label: np.mean([part.values["ndcg@10"].mean() for part in group.results]) for group in sample().groups}
    assert found.value == pytest.approx(values["<b>/two_tower"] - values["a/two_tower"])
    assert found.low is not None
    assert 0 < found.low < found.value
    assert set(sample("popularity").differences) == {"a/two_tower", "a/cascade", "<b>/two_tower", "<b>/cascade"}
    assert set(sample("a/cascade").differences) == {"popularity", "a/two_tower", "<b>/two_tower", "<b>/cascade"}


def test_bad_comparisons_are_refused() -> None:
    with pytest.raises(ConfigError, match="there is no base 'c'"):
        sample("c")
    short = Report("short", [Result("x", "test", 3, {}, values={"ndcg@10": np.zeros(3)}, groups=np.arange(3))])
    with pytest.raises(ConfigError, match="run b has 3 test targets and run a 400"):
        compare("bad", [run("a", "a", 0, 0.3), ComparedRun("b", "b", 0, short)])
    with pytest.raises(ConfigError, match="no runs"):
        compare("none", [])


def test_pages_hold_the_same_numbers_and_escape_names(tmp_path: Path) -> None:
    comparison = sample("a")
    page, text, content = comparison_html(comparison), comparison_markdown(comparison), json.loads(comparison_json(comparison))
    assert content["format"] == "shortlist.comparison/1"
    assert [run["seed"] for run in content["runs"]] == [0, 1, 0]
    difference = content["differences"]["<b>/cascade"]["ndcg@10"]["value"]
    assert f"{difference:+.4f}" in page
    assert f"{difference:+.4f}" in text
    assert "<b>/cascade" not in page
    assert "a/cascade (2 seeds)" in page
    assert not re.search(r"<(script|link|img|iframe)\b|@import", page)
    assert [path.name for path in write_comparison(comparison, tmp_path)] == ["comparison.json", "comparison.md", "comparison.html"]


def test_costs_of_old_and_new_runs() -> None:
    old = {"epoch": 3, "step": 90, "best": 0.2, "best_epoch": 2, "seconds": 12.5}
    epochs = [
        {"epoch": 0.0, "ndcg@10": 0.1},
        {"epoch": 1.0, "seconds": 5.0, "validation_seconds": 1.0, "events_per_second": 100.0, "batch_seconds": 1.0, "peak_rss_mib": 900.0},
        {"epoch": 2.0, "seconds": 14.0, "validation_seconds": 2.0, "events_per_second": 200.0, "batch_seconds": 3.0, "peak_rss_mib": 950.0},
    ]
    before, after = stage_costs({"two_tower": old, "ranker": {**old, "epochs": epochs}})
    assert before == StageCost("two_tower", 12.5, 3, 2, 90)
    assert after == StageCost(
        "ranker", 12.5, 3, 2, 90, events_per_second=175.0, validation_seconds=3.0, batch_share=0.25, peak_rss_mib=950.0
    )
