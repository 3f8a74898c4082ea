"""The reference funnel: equal on both backends, and its rules against answers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from shortlist.errors import DataError
from shortlist.export import reader
from shortlist.export.compare import Tolerance
from shortlist.export.golden import answers, set_items
from shortlist.export.parity import check_parity
from shortlist.export.queries import ItemId, decode
from shortlist.export.reference import ReferenceFunnel, best_first, cooccurrence_scores, merge
from shortlist.export.release import ReleasePlan
from shortlist.export.tables import Neighbours, Ragged
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.testing.requests import random_request
from shortlist.testing.toy_data import START


def request(funnel: ReferenceFunnel, *history: int, **fields: object) -> wire.RecommendRequest:
    """A request with a history of catalog rows."""
    made = wire.RecommendRequest(time=START + 6 * 86_400, limit=100)
    set_items(made.user.history.items, [funnel.content.catalog.ids[row] for row in history])
    made.MergeFrom(wire.RecommendRequest(**fields))  # type: ignore[arg-type]
    return made


def candidates(funnel: ReferenceFunnel, *rows: int) -> wire.ItemIds:
    return wire.ItemIds(strings=[str(funnel.content.catalog.ids[row]) for row in rows])


def test_backends_agree_on_random_requests(torch_funnel: ReferenceFunnel, ort_funnel: ReferenceFunnel) -> None:
    rng = np.random.default_rng(7)
    requests = [random_request(torch_funnel.content, rng, START + 6 * 86_400) for _ in range(300)]
    parity = check_parity(ort_funnel, requests, answers(requests, torch_funnel), Tolerance())
    assert parity.violations == ()
    assert parity.cases == 300


def test_order_is_score_then_row() -> None:
    rows, scores = np.array([5, 3, 9, 1]), np.array([1.0, 2.0, 2.0, 1.0], dtype=np.float32)
    assert rows[best_first(rows, scores)].tolist() == [3, 9, 1, 5]


def test_merge_keeps_first_occurrences() -> None:
    assert merge([np.array([4, 2]), np.array([2, 9, 4, 1])]).tolist() == [4, 2, 9, 1]


def test_cooccurrence_sums_newest_first_and_unknown_items_take_an_age() -> None:
    table = Neighbours(
        Ragged(np.array([0, 2, 3, 3]), np.array([1, 2, 2]), np.array([0.5, 0.25, 1.0], dtype=np.float32))  # 0 -> 1, 2; 1 -> 2
    )
    source = pb.Source(history_events=3, decay=0.5)
    rows, scores = cooccurrence_scores(table, [1, 1, -1, 0], source)  # the oldest event is out of reach
    assert dict(zip(rows.tolist(), scores.tolist(), strict=True)) == {1: 0.5, 2: pytest.approx(0.25 + 0.25 * 1.0)}


def test_history_window_moves_in_steps(torch_funnel: ReferenceFunnel) -> None:
    window, step = torch_funnel.content.schema.history_max_events, torch_funnel.content.schema.history_step
    for events in range(0, 3 * window):
        trace = torch_funnel.run(request(torch_funnel, *[row % 40 for row in range(events)]))
        kept = int(trace["in.history_length"][0])
        start = next(s for s in range(0, events + step, step) if events - s <= window)
        assert kept == events - start
        assert trace["in.history_id"].shape == (1, max(1, kept))


def test_unknown_events_stay_with_zero_columns(torch_funnel: ReferenceFunnel) -> None:
    made = request(torch_funnel, 0, 1)
    made.user.history.items.strings.insert(1, "no such item")
    made.user.history.actions.extend(["view", "purchase", "view"])
    trace = torch_funnel.run(made)
    assert trace["in.history_action"].tolist() == [[1, 2, 1]]
    assert trace["in.history_id"][0, 1] == 0
    assert trace["in.history_price"][0, 1] == 0.0
    assert trace["in.history_tags"][0, 1].tolist() == [0, 0, 0]
    assert trace["in.history_length"].tolist() == [3]


def test_seen_items_of_the_whole_history_are_left_out(torch_funnel: ReferenceFunnel) -> None:
    history = list(range(30))  # far longer than the window
    merged = torch_funnel.run(request(torch_funnel, *history))["merged_rows"]
    assert not set(merged.tolist()) & set(history)
    kept = torch_funnel.run(request(torch_funnel, *history, filters=wire.Filters(keep_seen=True)))["merged_rows"]
    assert set(kept.tolist()) & set(history)


def test_availability_is_inclusive_then_exclusive(torch_funnel: ReferenceFunnel) -> None:
    catalog = torch_funnel.content.catalog
    assert catalog.available_from is not None
    assert catalog.available_until is not None
    begins, ends = catalog.available_from, catalog.available_until
    times = {int(time) + shift for time in (*begins[begins > 0], *ends[ends > 0]) for shift in (-1, 0)}
    for time in times:
        made = request(torch_funnel)
        made.time = time
        query_allowed = torch_funnel.allowed(_query(torch_funnel, made), _history(torch_funnel, made))
        expected = [(not b or time >= b) and (not e or time < e) for b, e in zip(begins.tolist(), ends.tolist(), strict=True)]
        assert query_allowed.tolist() == expected


def _query(funnel: ReferenceFunnel, made: wire.RecommendRequest):  # type: ignore[no-untyped-def]
    from shortlist.export.queries import decode

    return decode(made, funnel.content.schema)


def _history(funnel: ReferenceFunnel, made: wire.RecommendRequest):  # type: ignore[no-untyped-def]
    return funnel.history(_query(funnel, made))


def test_filters(torch_funnel: ReferenceFunnel) -> None:
    catalog = torch_funnel.content.catalog

    def passing(part: wire.ColumnFilter) -> list[int]:
        made = request(torch_funnel, filters=wire.Filters(keep_unavailable=True, columns=[part]))
        return np.flatnonzero(torch_funnel.allowed(_query(torch_funnel, made), _history(torch_funnel, made))).tolist()

    rows = range(len(catalog))
    price, category, tags = catalog.raw["price"], catalog.raw["category"], catalog.raw["tags"]
    text = [wire.Value(text=value) for value in ("books", "sale")]
    low = float(np.float32(price[3]))
    assert passing(wire.ColumnFilter(column="price", min=low)) == [r for r in rows if price[r] >= price[3]]
    # A bound that float32 cannot hold still includes the equal price.
    assert 3 in passing(wire.ColumnFilter(column="price", max=float(str(price[3]))))
    assert passing(wire.ColumnFilter(column="category", any_of=text)) == [r for r in rows if category[r] == "books"]
    assert passing(wire.ColumnFilter(column="tags", any_of=text)) == [r for r in rows if "sale" in tags[r]]
    assert passing(wire.ColumnFilter(column="tags", none_of=text)) == [r for r in rows if "sale" not in tags[r]]
    assert passing(wire.ColumnFilter(column="id", any_of=[wire.Value(text=str(catalog.ids[9]))])) == [9]


@pytest.mark.parametrize(
    ("part", "field"),
    [
        (wire.ColumnFilter(column="colour"), "colour"),
        (wire.ColumnFilter(column="category", min=1.0), "category"),
        (wire.ColumnFilter(column="price", any_of=[wire.Value(text="3")]), "price"),
        (wire.ColumnFilter(column="category", any_of=[wire.Value(number=3.0)]), "category"),
    ],
)
def test_faulty_filters_are_refused(torch_funnel: ReferenceFunnel, part: wire.ColumnFilter, field: str) -> None:
    with pytest.raises(DataError, match=field):
        torch_funnel.run(request(torch_funnel, filters=wire.Filters(columns=[part])))


def test_given_candidates_keep_their_order_and_lose_only_unknown_ones_and_repeats(torch_funnel: ReferenceFunnel) -> None:
    given = candidates(torch_funnel, 9, 3, 9, 50)
    given.strings.insert(1, "no such item")
    trace = torch_funnel.run(request(torch_funnel, 3, candidates=given))  # 3 is seen, and stays
    assert trace["merged_rows"].tolist() == [9, 3, 50]
    assert len(trace["kept_rows"]) == 3
    assert not any(name.startswith("source.") for name in trace)


def test_no_candidate_means_an_empty_answer_and_no_later_stage(torch_funnel: ReferenceFunnel) -> None:
    trace = torch_funnel.run(request(torch_funnel, candidates=wire.ItemIds(strings=["no such item"])))
    assert trace["final_rows"].shape == trace["final_scores"].shape == (0,)
    assert not {"cross", "prerank_score", "keys", "logits"} & set(trace)


def test_limits(torch_funnel: ReferenceFunnel) -> None:
    made = request(torch_funnel)
    made.limit = 0
    assert len(torch_funnel.run(made)["final_rows"]) == torch_funnel.content.funnel.default_limit
    made.limit = torch_funnel.content.funnel.max_limit + 1
    with pytest.raises(DataError, match="limit"):
        torch_funnel.run(made)


def test_popular_list_follows_the_segment(torch_funnel: ReferenceFunnel) -> None:
    popular = torch_funnel.content.sources["popular"]

    def rows(**features: wire.Value) -> list[int]:
        trace = torch_funnel.run(request(torch_funnel, user=wire.User(features=features), filters=wire.Filters(keep_unavailable=True)))
        found: list[int] = trace["source.popular.rows"].tolist()
        return found

    for key in ("female", "male", None, "other"):
        features = {} if key is None else {"gender": wire.Value(text=key)}
        assert rows(**features) == popular.of(key)[0][:5].tolist()  # type: ignore[union-attr, arg-type]


def test_cross_counters_follow_their_segments(torch_funnel: ReferenceFunnel) -> None:
    made = request(torch_funnel, 4, candidates=candidates(torch_funnel, *range(60)), context={"query": wire.Value(text=" BLUE -- Camera")})
    cross = torch_funnel.run(made)["cross"]
    counters = torch_funnel.content.counters
    names = [feature.name for feature in torch_funnel.content.schema.cross]
    every = np.arange(60)
    assert not cross[:, names.index("gender_item")].any()  # no gender was given
    assert np.array_equal(cross[:, names.index("query_item")], counters["query_item"].rates("blue camera", every))
    assert np.array_equal(cross[:, names.index("last_item")], counters["last_item"].rates(4, every))
    assert counters["last_item"].rates(4, every).any() or counters["last_item"].rates(5, every).any()


def test_value_formula(plan: ReleasePlan, torch_funnel: ReferenceFunnel) -> None:
    logits = np.array([[0.0, 1.0], [-2.0, 800.0], [3.0, -800.0]], dtype=np.float32)
    rows = np.array([3, 7, 11])
    price = torch_funnel.content.catalog.inputs["price"]

    def p(logit: float) -> float:
        return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0

    want = [p(float(click)) + 0.05 * p(float(buy)) ** 0.5 * float(price[row]) for (click, buy), row in zip(logits, rows, strict=True)]
    assert torch_funnel.value(logits, rows) == pytest.approx(want, rel=1e-6)


def test_chunks_do_not_change_answers(plan: ReleasePlan, torch_funnel: ReferenceFunnel) -> None:
    content = replace(plan.content, funnel=pb.Funnel())
    content.funnel.CopyFrom(plan.content.funnel)
    content.funnel.chunk = 1
    made = request(torch_funnel, 1, 2, 3)
    ones = ReferenceFunnel(content, torch_funnel.graphs).run(made)
    np.testing.assert_allclose(ones["logits"], torch_funnel.run(made)["logits"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"time": 0}, "time"),
        ({"limit": -1}, "limit"),
        ({"user": wire.User(features={"age": wire.Value(text="old")})}, "age"),
        ({"user": wire.User(features={"age": wire.Value(number=500.0)})}, "age"),
        ({"context": {"colour": wire.Value(text="x")}}, "colour"),
        ({"candidates": wire.ItemIds(ints=[1])}, "candidates"),
        ({"user": wire.User(history=wire.History(items=wire.ItemIds(strings=["a"]), actions=["steal"]))}, "steal"),
        ({"user": wire.User(history=wire.History(items=wire.ItemIds(strings=["a"]), actions=["view", "view"]))}, "actions"),
        ({"candidates": wire.ItemIds(strings=[str(i) for i in range(101)])}, "max_candidates"),
    ],
)
def test_faulty_requests_are_refused(torch_funnel: ReferenceFunnel, change: dict[str, object], field: str) -> None:
    made = wire.RecommendRequest(**({"time": START, "limit": 5} | change))  # type: ignore[arg-type]
    with pytest.raises(DataError, match=field):
        torch_funnel.run(made)


def test_event_times_are_required_where_models_read_them(torch_funnel: ReferenceFunnel) -> None:
    """Of ten events the window keeps the newest seven; the times of the older ones may be unknown."""
    schema = replace(torch_funnel.content.schema, event_times=True)

    def decoded(*times: int) -> list[int]:
        made = request(torch_funnel, *range(10))
        made.user.history.times.extend(times)
        return decode(made, schema).times

    known = [7, 7, 8, 9, 10, 11, 1 << 62]
    assert decoded(0, 0, 0, *known) == [0, 0, 0, *known]
    for times, field in (((), "times has 0"), ((0, 0, 0, 0, *known[1:]), r"times\[3\]"), ((0, 0, 0, 9, *known[1:]), r"times\[4\]")):
        with pytest.raises(DataError, match=field):
            decoded(*times)


def test_ids_of_both_kinds_sort_as_the_contract_says(tracked: reader.Bundle) -> None:
    ids: list[ItemId] = list(tracked.content.catalog.ids)
    assert ids == sorted(ids, key=lambda item: str(item).encode())
