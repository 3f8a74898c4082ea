"""The ranker graph answers with calibrated logits, and the model card shows what calibration changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shortlist.export import reader, writer
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.compare import Tolerance, tensor_violation
from shortlist.export.golden import case
from shortlist.export.onnx_export import export_graph
from shortlist.export.release import ReleasePlan, card_of

BINS = {"count": [5, 5], "prediction": [0.01, 0.1], "label": [0.0, 0.2]}
FOUND = {"observations": 10, "positives": 1, **{when: {"ece": 0.02, "log_loss": 0.3, "bins": BINS} for when in ("before", "after")}}


def test_the_graph_equals_the_map_applied_outside(plan: ReleasePlan, tracked: reader.Bundle) -> None:
    """ONNX Runtime's logits of a calibrated ranker against the tracked toy's, whose map is the identity, mapped in numpy."""
    slope, intercept = np.array([1.4, 0.3], dtype=np.float32), np.array([-0.7, 0.2], dtype=np.float32)
    calibration = plan.models.ranker.calibration
    calibration.set(slope.tolist(), intercept.tolist())
    try:
        served = OrtGraphs(tracked.graphs | {"ranker": export_graph("ranker", plan.models)})
        reference = TorchGraphs(plan.models)
        compared = 0
        for number in range(12):
            stored = case(tracked.golden_tensors, number)
            if "logits" not in stored:
                continue
            place = [stored["merged_rows"].tolist().index(row) for row in stored["kept_rows"]]
            inputs = {name.removeprefix("in."): value for name, value in stored.items() if name.startswith("in.")}
            inputs |= {name: stored[name] for name in ("keys", "values")}
            inputs |= {"ranker_token": tracked.item_tokens[stored["kept_rows"]][None], "cross": stored["cross"][place][None]}
            inputs["prerank_score"] = stored["prerank_score"][place][None]
            got, want = (graphs.run("ranker", inputs)["logits"][0] for graphs in (served, reference))
            assert tensor_violation(got, want, Tolerance()) is None
            # An error of the plain logits is scaled by the slope, as every weight of a graph scales what comes before it.
            assert tensor_violation(got, stored["logits"] * slope + intercept, Tolerance(absolute=2e-5)) is None
            for task in range(len(slope)):  # the order within a task stays
                assert (np.diff(got[np.argsort(stored["logits"][:, task], kind="stable"), task]) >= -2e-5).all()
            compared += len(got)
    finally:
        calibration.reset()
    assert compared > 50


def test_the_model_card_shows_reliability_or_says_that_there_is_none(plan: ReleasePlan, draft: writer.Draft) -> None:
    assert "Not calibrated" in card_of(draft, plan)
    record = {"observations": "shown items", "tasks": {"click": {"slope": 1.5, "intercept": -0.25, "validation": FOUND, "test": FOUND}}}
    page = card_of(draft, replace(plan, calibration=record))
    assert "1.500 x -0.250" in page
    assert "fitted on shown items" in page
    assert page.count("observed rate") == 1
    assert page == card_of(draft, replace(plan, calibration=record))


def test_a_task_without_observations_has_no_plot(plan: ReleasePlan, draft: writer.Draft) -> None:
    empty = {"observations": 0, "positives": 0}
    record = {"observations": "shown items", "tasks": {"click": {"slope": 1.0, "intercept": 0.0, "validation": empty, "test": empty}}}
    assert "Not calibrated" in card_of(draft, replace(plan, calibration=record))


@pytest.mark.parametrize("positives", [0, 10])
def test_a_task_that_never_or_always_happened_is_drawn(plan: ReleasePlan, draft: writer.Draft, positives: int) -> None:
    bins = {"count": [10], "prediction": [0.3], "label": [positives / 10]}
    found = {"observations": 10, "positives": positives}
    found |= {when: {"ece": 0.3, "log_loss": 0.3, "bins": bins} for when in ("before", "after")}
    record = {"observations": "candidates", "tasks": {"click": {"slope": 1.0, "intercept": 0.0, "validation": found, "test": found}}}
    assert "observed rate" in card_of(draft, replace(plan, calibration=record))
