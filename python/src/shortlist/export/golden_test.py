"""Golden requests cover the edges of the contract, are repeatable, and the model card and histograms of a release are whole."""

from __future__ import annotations

import json
import re

import numpy as np

from shortlist.export import reader, writer
from shortlist.export.golden import RequestMaker, case
from shortlist.export.histograms import histograms
from shortlist.export.reference import ReferenceFunnel
from shortlist.export.release import ReleasePlan, card_of
from shortlist.schema import Op


def test_requests_are_repeatable(plan: ReleasePlan) -> None:
    first, second = (RequestMaker(plan.dataset, plan.content, seed=3) for _ in range(2))
    assert first.golden(40) == second.golden(40)
    assert first.real(20) == second.real(20)
    assert first.real(20) != RequestMaker(plan.dataset, plan.content, seed=4).real(20)


def test_golden_requests_cover_the_edges(tracked: reader.Bundle) -> None:
    schema, requests = tracked.content.schema, tracked.golden
    lengths = {len(request.user.history.items.strings) for request in requests}
    window, step = schema.history_max_events, schema.history_step
    assert {0, 1, window, window + 1, window + step + 1} <= lengths
    known = set(tracked.content.catalog.ids)
    assert any(set(request.user.history.items.strings) - known for request in requests)
    given = [list(request.candidates.strings) for request in requests if request.HasField("candidates")]
    assert any(len(set(ids)) < len(ids) and set(ids) - known for ids in given)
    assert any(not set(ids) & known for ids in given)
    filtered = {part.column for request in requests for part in request.filters.columns}
    assert filtered == {column.name for column in schema.item}
    assert any(part.HasField("min") and part.HasField("max") for request in requests for part in request.filters.columns)
    assert any(request.filters.keep_seen for request in requests)
    assert any(any(ord(char) > 0x2000 for char in value.text) for request in requests for value in request.context.values())
    assert {request.limit for request in requests} >= {0, 1, tracked.content.funnel.max_limit}
    assert all(request.time > 0 for request in requests)


def test_golden_answers_are_diverse(tracked: reader.Bundle) -> None:
    """A funnel that gave everybody the same answer would pass any parity check."""
    cases = [case(tracked.golden_tensors, number) for number in range(len(tracked.golden))]
    assert sum(len(one["final_rows"]) == 0 for one in cases) >= 2
    assert len({tuple(one["final_rows"].tolist()) for one in cases}) > len(cases) / 2
    probability = 1 / (1 + np.exp(-np.concatenate([one["logits"].ravel() for one in cases if "logits" in one])))
    assert 0.05 < np.median(probability) < 0.95
    first = cases[0]
    assert set(first["source.two_tower.rows"].tolist()) != set(first["merged_rows"].tolist())  # other sources add items


def test_warm_up_requests_are_of_real_users(plan: ReleasePlan, tracked: reader.Bundle) -> None:
    assert len(tracked.warmup) == plan.warmup_requests
    by_length = [len(request.user.history.items.strings) for request in tracked.warmup]
    assert len(set(by_length)) > 5
    assert all("query" in request.context or "hour" in request.context for request in tracked.warmup)


def test_histograms_count_everything(tracked: reader.Bundle, ort_funnel: ReferenceFunnel) -> None:
    found = json.loads(histograms(ort_funnel, tracked.warmup))
    schema = tracked.content.schema
    assert set(found["columns"]) == {f"user_{c.name}" for c in schema.user} | {f"context_{c.name}" for c in schema.context} | {
        "history_length"
    }
    assert {"source.two_tower", "prerank_score", "logit.click", "logit.purchase", "score"} <= set(found["scores"])
    for column in (*schema.user, *schema.context):
        role = "user" if column in schema.user else "context"
        counted = found["columns"][f"{role}_{column.name}"]
        assert counted["total"] == len(tracked.warmup) * max(1, column.width)
        counts = counted["counts"] if column.op is Op.NUMBER else counted["counts"].values()
        assert sum(counts) == counted["total"]
        if column.op is Op.NUMBER:
            assert len(counts) == len(counted["edges"]) + 1
    assert histograms(ort_funnel, tracked.warmup) == (tracked.directory / "reference/histograms.json").read_text()


def test_the_model_card_is_self_contained_and_repeatable(plan: ReleasePlan, draft: writer.Draft) -> None:
    page = card_of(draft, plan)
    assert page == card_of(draft, plan)
    assert not re.search(r"(src|href)=[\"']https?:", page)
    for name in draft.graphs:
        assert name in page
    for text in ("click + 0.05*purchase^0.5*price", "passed", "two-tower", "<svg"):
        assert text in page
