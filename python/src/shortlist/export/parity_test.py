"""Parity passes on the stored answers, and any altered answer is found and named."""

from __future__ import annotations

import numpy as np
import pytest

from shortlist.export import reader
from shortlist.export.compare import Tolerance
from shortlist.export.golden import case
from shortlist.export.parity import check_parity
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.verify import verify

CASE = 3  # two events, the whole funnel


def test_the_tracked_toy_verifies(tracked: reader.Bundle) -> None:
    report = verify(tracked.directory)
    assert report.violations == ()
    assert report.cases == len(tracked.golden)
    assert 0 < report.worst_ratio < 1


@pytest.mark.parametrize(
    "tensor",
    [
        "in.user_age",
        "in.history_id",
        "state",
        "recent",
        "sequence_keys",
        "sequence_values",
        "query_vectors",
        "source.two_tower.rows",
        "source.cooccurrence.scores",
        "source.popular.rows",
        "merged_rows",
        "cross",
        "prerank_score",
        "kept_rows",
        "keys",
        "values",
        "logits",
        "score",
        "final_rows",
        "final_scores",
    ],
)
def test_an_altered_tensor_is_named(tracked: reader.Bundle, ort_funnel: ReferenceFunnel, tensor: str) -> None:
    stored = case(tracked.golden_tensors, CASE)
    altered = stored[tensor].copy()
    altered.flat[0] += 1 if altered.dtype == np.int64 else np.float32(0.01 + abs(altered.flat[0]))
    tensors = {f"0/{name}": value for name, value in (stored | {tensor: altered}).items()}
    parity = check_parity(ort_funnel, [tracked.golden[CASE]], tensors, Tolerance())
    named = {violation.tensor for violation in parity.violations}
    sibling = tensor.replace(".scores", ".rows")  # a ranked list is reported under its rows
    assert sibling in named or tensor in named


def test_a_missing_tensor_is_a_violation(tracked: reader.Bundle, ort_funnel: ReferenceFunnel) -> None:
    tensors = {f"0/{name}": value for name, value in case(tracked.golden_tensors, CASE).items() if name != "logits"}
    (violation,) = check_parity(ort_funnel, [tracked.golden[CASE]], tensors, Tolerance()).violations
    assert "logits" in str(violation)


def test_differences_below_the_tolerance_pass(tracked: reader.Bundle, ort_funnel: ReferenceFunnel) -> None:
    stored = case(tracked.golden_tensors, CASE)
    shifted = {name: value + np.float32(1e-6) if name in ("logits", "keys", "query_vectors") else value for name, value in stored.items()}
    tensors = {f"0/{name}": value for name, value in shifted.items()}
    assert check_parity(ort_funnel, [tracked.golden[CASE]], tensors, Tolerance()).violations == ()
