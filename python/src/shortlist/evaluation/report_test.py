from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from shortlist.errors import DataError
from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.cascade import StageCut
from shortlist.evaluation.costs import StageCost
from shortlist.evaluation.gates import Gate
from shortlist.evaluation.plots import Curve, TrainingCurves, metric_bars, reliability_plot, score_histogram, training_curves
from shortlist.evaluation.report import Report, to_html, to_json, to_markdown, write_report
from shortlist.evaluation.result import Histogram, Result, SliceResult
from shortlist.evaluation.tables import metric_tables, slice_tables
from shortlist.metrics.calibration import ReliabilityBins, reliability_bins


def bins() -> ReliabilityBins:
    probabilities = np.linspace(0.01, 0.9, 200)
    return reliability_bins(np.random.default_rng(0).random(200) < probabilities, probabilities, 10)


def sample_report() -> Report:
    tail = {"tail_item": SliceResult(20, {"ndcg@10": Estimate(0.05, 0.01, 0.09)})}
    ours = {"ndcg@10": Estimate(0.2, 0.15, 0.25), "coverage@10": Estimate(0.5)}
    theirs = {"ndcg@10": Estimate(0.1, 0.05, 0.15), "coverage@10": Estimate(0.7)}
    return Report(
        "Evaluation of <sample>",
        [
            Result("two_tower", "test", 1234, ours, tail),
            Result("popularity", "test", 1234, theirs, baseline=True),
            Result(
                "ranker",
                "test",
                99,
                {"auc:click": Estimate(0.7), "log_loss:click": Estimate(0.3, 0.2, 0.4)},
                reliability={"click": bins()},
                scores={"click": Histogram(np.linspace(0, 1, 5), np.array([5, 3, 1, 1]))},
            ),
        ],
        facts={"data set": "sample & co"},
        gates=[Gate("two_tower beats popularity", True, "0.2 against 0.1"), Gate("other", False, "worse")],
        cuts=[StageCut("retrieval", 500, 0.8, 0.8)],
        curves=[TrainingCurves("two_tower", "ndcg@10", [Curve("two_tower", [0, 10], [0.1, 0.2])], {"popularity": 0.1})],
        costs=[StageCost("two_tower", 125.0, 5, 3, 1234, 5678.9)],
        notes=["Mind the gap."],
    )


def test_tables_put_baselines_first_and_mark_the_best() -> None:
    tables = metric_tables(sample_report().results)
    assert [table.title for table in tables] == ["Full ranking (test)", "Beyond relevance (test)", "Impressions, click (test)"]
    assert [row.label for row in tables[0].rows] == ["popularity", "two_tower"]
    assert [[cell.mark for cell in row.cells] for row in tables[0].rows] == [[""], ["best"]]
    assert [[cell.mark for cell in row.cells] for row in tables[1].rows] == [["best"], [""]]
    assert tables[2].columns == ["auc", "log_loss"]
    (slices,) = slice_tables(sample_report().results, "ndcg@10")
    assert [row.label for row in slices.rows] == ["all (1,234)", "tail_item (20)"]
    assert slices.columns == ["two_tower"]  # the only one with slices


def test_markdown_is_the_table() -> None:
    text = to_markdown(sample_report())
    assert "| model | ndcg@10 |\n|---|---:|\n| popularity | 0.1000 |\n| two_tower | **0.2000** |" in text
    assert "| two_tower | 2 min 05 s | 5 | 3 | 1,234 | 5,679 |  |  |" in text
    assert "- FAILED: other. worse" in text
    assert "| retrieval | 500 | 0.8000 | 0.8000 |" in text


def test_json_has_every_number_and_no_nan(tmp_path: Path) -> None:
    report = sample_report()
    paths = write_report(report, tmp_path / "report")
    assert [path.name for path in paths] == ["evaluation.json", "evaluation.md", "evaluation.html"]
    content = json.loads(paths[0].read_text())
    assert content["results"][0]["metrics"]["ndcg@10"] == {"value": 0.2, "low": 0.15, "high": 0.25}
    assert content["results"][0]["slices"]["tail_item"]["targets"] == 20
    assert sum(content["results"][2]["reliability"]["click"]["count"]) == 200
    assert content["format"] == "shortlist.evaluation/1"
    assert content["curves"][0]["curves"] == [{"label": "two_tower", "steps": [0, 10], "values": [0.1, 0.2]}]
    assert content["costs"][0]["events_per_second"] == 5678.9
    with pytest.raises(ValueError, match="JSON compliant"):
        to_json(Report("bad", [Result("x", "test", 1, {"mrr": Estimate(float("nan"))})]))


def test_html_is_one_page_that_needs_nothing_and_escapes_what_it_shows() -> None:
    page = to_html(sample_report())
    assert "Evaluation of &lt;sample&gt;" in page
    assert "sample &amp; co" in page
    assert "<sample>" not in page
    assert not re.search(r"<(script|link|img|iframe)\b|url\(\s*['\"]?http|@import|<\?xml", page)
    assert page.count("<svg") == 5  # bars, slices, curves, reliability, scores
    assert not re.search(r"(fill|stroke): ?#", re.sub(r"<style.*?</style>", "", page, flags=re.DOTALL))  # plots follow the page's theme
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)


def test_the_same_report_gives_the_same_bytes() -> None:
    assert to_html(sample_report()) == to_html(sample_report())


def test_plots_draw_what_they_are_given() -> None:
    curves = training_curves(TrainingCurves("two_tower", "mrr", [Curve("a", [1, 2], [0.1, 0.2])], {"popularity": 0.125}))
    assert "popularity 0.125" in curves
    assert "two_tower: mrr on validation" in curves
    assert "0.2000" in metric_bars(sample_report().results, "ndcg@10")
    assert "perfect" in reliability_plot("click", {"ranker": bins()})
    rare = ReliabilityBins(np.array([10, 10]), np.array([0.001, 0.01]), np.array([0.0, 0.02]))
    assert "observed rate" in reliability_plot("purchase", {"ranker": rare})
    assert "share of impressions" in score_histogram("click", {"a": Histogram(np.array([0.0, 1.0]), np.array([0]))})


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError, match="no results"):
        Report("empty", [])
    with pytest.raises(DataError, match="'mrr'"):
        metric_bars(sample_report().results, "mrr")
    with pytest.raises(DataError, match="2 steps and 1 values"):
        training_curves(TrainingCurves("two_tower", "mrr", [Curve("a", [1, 2], [0.1])]))
