"""Laws of the three models: what a score must not depend on."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from shortlist.errors import ConfigError
from shortlist.models.preranker import Preranker, PrerankerConfig, query_vectors
from shortlist.models.ranker import KINDS, Ranker, RankerConfig, RankerKind
from shortlist.models.two_tower import TwoTower, TwoTowerConfig, state_at
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

torch.set_num_threads(1)

SCHEMA = Schema(
    item_id="int64",
    user=(Column(name="gender", op=Op.VOCABULARY, vocabulary=("a", "b")), Column(name="age", op=Op.NUMBER)),
    context=(Column(name="query", op=Op.TOKENS, buckets=50, width=4),),
    item=(
        Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple(map(str, range(30))), in_history=True),
        Column(name="price", op=Op.NUMBER, in_history=True),
        Column(name="tags", op=Op.VOCABULARY_LIST, vocabulary=("x", "y", "z"), width=3),
    ),
    actions=("click", "buy"),
    tasks=("click", "buy"),
    cross=(CrossFeature(name="gender_item", segment="user.gender"), CrossFeature(name="last_item", segment=LAST_ITEM)),
)
BARE = dataclasses.replace(SCHEMA, user=(), context=(), cross=())
TOWER = TwoTowerConfig(width=16, retrieval_width=12, layers=2, heads=2)


def randomise(module: torch.nn.Module) -> None:
    """Random weights everywhere: parts that start at zero would hide a dependence."""
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)


every_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def kind() -> RankerKind:
    """Of the ranker; laws that hold for every kind are parametrised by it."""
    return "amortized"


@pytest.fixture
def models(request: pytest.FixtureRequest, kind: RankerKind) -> tuple[TwoTower, Preranker, Ranker]:
    schema = getattr(request, "param", SCHEMA)
    torch.manual_seed(0)
    ranker = RankerConfig(kind=kind, width=16, heads=2)
    built = TOWER.build(schema), PrerankerConfig(recent_events=3).build(schema, TOWER), ranker.build(schema)
    for model in built:
        randomise(model)
        model.eval()
    return built


def histories(batch: int, count: int) -> dict[str, Tensor]:
    return {
        "id": torch.randint(1, 31, (batch, count)),
        "price": torch.rand(batch, count) * 100,
        "action": torch.randint(1, 3, (batch, count)),
    }


def request_columns(batch: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return {"gender": torch.randint(0, 3, (batch,)), "age": torch.rand(batch) * 60}, {"query": torch.randint(0, 51, (batch, 4))}


def part(columns: dict[str, Tensor], rows: slice, events: slice = slice(None)) -> dict[str, Tensor]:
    return {
        name: values[rows, events] if values.dim() > 1 and name in ("id", "price", "action") else values[rows]
        for name, values in columns.items()
    }


def padded(columns: dict[str, Tensor], more: int) -> dict[str, Tensor]:
    return {name: torch.nn.functional.pad(values, (0, more)) for name, values in columns.items()}


class Case:
    """Two users, 9 and 4 events, 11 candidates."""

    def __init__(self, ranker: Ranker) -> None:
        torch.manual_seed(1)
        self.ranker = ranker
        self.history = histories(2, 9)
        self.length = torch.tensor([9, 4])
        for name in self.history:
            self.history[name][1, 4:] = 0
        self.user, self.context = request_columns(2)
        self.token = ranker.token_norm(torch.randn(2, 11, 16)).detach()  # as `item_tokens` gives them
        self.cross = torch.rand(2, 11, len(ranker.schema.cross))
        self.prerank = torch.randn(2, 11)

    def logits(self, rows: slice = slice(None), candidates: Tensor | slice = slice(None), padding: int = 0) -> Tensor:
        history = padded(part(self.history, rows), padding)
        length = self.length[rows]
        keys, values = self.ranker.encode_history(history, length, *self.ranker.empty_past(len(length)))
        user, context = part(self.user, rows), part(self.context, rows)
        return self.ranker.score(
            keys,
            values,
            length,
            user,
            context,
            self.token[rows][:, candidates],
            self.cross[rows][:, candidates],
            self.prerank[rows][:, candidates],
        )


@pytest.fixture
def case(models: tuple[TwoTower, Preranker, Ranker]) -> Case:
    return Case(models[2])


@torch.no_grad()
@every_kind
def test_permuted_candidates_permute_the_logits(case: Case) -> None:
    order = torch.randperm(11)
    torch.testing.assert_close(case.logits(candidates=order), case.logits()[:, order])


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("size", [1, 2, 5, 10])
def test_chunks_of_candidates_change_nothing(case: Case, size: int) -> None:
    chunks = [case.logits(candidates=slice(begin, begin + size)) for begin in range(0, 11, size)]
    torch.testing.assert_close(torch.cat(chunks, dim=1), case.logits())


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("padding", [1, 7])
def test_padding_changes_nothing(case: Case, padding: int) -> None:
    torch.testing.assert_close(case.logits(padding=padding), case.logits())


@torch.no_grad()
@every_kind
def test_batch_mates_change_nothing(case: Case) -> None:
    alone = torch.cat([case.logits(rows=slice(b, b + 1)) for b in range(2)])
    torch.testing.assert_close(alone, case.logits())


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("first", [0, 1, 15, 19])
def test_appending_events_equals_encoding_them_at_once(models: tuple[TwoTower, Preranker, Ranker], first: int) -> None:
    ranker = models[2]
    history, length = histories(3, 20), torch.full((3,), 20)
    whole = ranker.encode_history(history, length, *ranker.empty_past(3))
    past = ranker.empty_past(3)
    if first:
        past = ranker.encode_history(part(history, slice(None), slice(first)), torch.full((3,), first), *past)
    pieces = ranker.encode_history(part(history, slice(None), slice(first, None)), torch.full((3,), 20 - first), *past)
    for piece, expected in zip(pieces, whole, strict=True):
        torch.testing.assert_close(piece, expected)


@torch.no_grad()
@every_kind
def test_a_position_scores_as_its_own_shorter_history_would(case: Case) -> None:
    ranker = case.ranker
    keys, values = ranker.encode_history(case.history, case.length, *ranker.empty_past(2))
    request = ranker.request(case.user, case.context)
    assert request is not None
    visible = torch.tensor([[3] * 11, [4] * 11])
    many = ranker.score_at(keys, values, visible, request.unsqueeze(1), case.token, case.cross, case.prerank)
    case.length = torch.tensor([3, 4])
    torch.testing.assert_close(many, case.logits())


@torch.no_grad()
@every_kind
def test_the_history_matters(case: Case) -> None:
    """Guards the laws above: a model that ignored its history would pass them all."""
    before = case.logits()
    case.history["id"][0] = 1 + case.history["id"][0] % 30  # every event: one of nine would move a pool over them little
    case.history["price"][0] += 1000.0
    after = case.logits()
    assert (after[0] - before[0]).abs().amax(dim=-1).min() > 1e-4  # of every candidate
    torch.testing.assert_close(after[1], before[1])


@torch.no_grad()
@every_kind
@pytest.mark.parametrize("models", [SCHEMA, BARE], indirect=True)
def test_an_empty_history_gives_finite_values(models: tuple[TwoTower, Preranker, Ranker]) -> None:
    two_tower, preranker, ranker = models
    history = {name: torch.zeros_like(values) for name, values in histories(1, 1).items()}
    length, (user, context) = torch.zeros(1, dtype=torch.int64), request_columns(1)
    vectors = query_vectors(two_tower, preranker, history, length, user, context)
    assert vectors.shape == (1, 3, 12)
    cross = torch.zeros(1, 2, len(ranker.schema.cross))
    scores = preranker.score(vectors, torch.randn(1, 2, 12), cross)
    keys, values = ranker.encode_history(history, length, *ranker.empty_past(1))
    logits = ranker.score(keys, values, length, user, context, torch.randn(1, 2, 16), cross, scores)
    assert logits.shape == (1, 2, 2)
    for tensor in (vectors, scores, keys, values, logits):
        assert torch.isfinite(tensor).all()


@torch.no_grad()
def test_query_vectors_ignore_padding_and_batch_mates(models: tuple[TwoTower, Preranker, Ranker]) -> None:
    two_tower, preranker, _ = models
    history, length, (user, context) = histories(2, 6), torch.tensor([6, 2]), request_columns(2)
    for name in history:
        history[name][1, 2:] = 0
    whole = query_vectors(two_tower, preranker, padded(history, 3), length, user, context)
    for b in range(2):
        rows = slice(b, b + 1)
        alone = query_vectors(
            two_tower, preranker, part(history, rows, slice(int(length[b]))), length[rows], part(user, rows), part(context, rows)
        )
        torch.testing.assert_close(whole[rows], alone)


@torch.no_grad()
def test_a_state_knows_only_the_events_before_it(models: tuple[TwoTower, Preranker, Ranker]) -> None:
    two_tower = models[0]
    history, length = histories(1, 8), torch.tensor([8])
    states = two_tower.states(history, length)
    shorter = two_tower.states(part(history, slice(None), slice(5)), torch.tensor([5]))
    torch.testing.assert_close(states[:, :6], shorter)
    torch.testing.assert_close(state_at(states, torch.tensor([5])), shorter[:, 5])
    assert (two_tower.states(history, torch.tensor([5]))[:, 6:] == 0).all()


@torch.no_grad()
def test_a_larger_dot_product_never_lowers_a_prerank_logit(models: tuple[TwoTower, Preranker, Ranker]) -> None:
    preranker = models[1]
    queries = torch.randn(1, 3, 12)
    for head in range(3):
        direction = torch.linalg.pinv(queries[0])[:, head]  # raises this head's dot product and no other
        items = torch.stack((torch.zeros(12), direction)).unsqueeze(0)
        logits = preranker.task_logits(queries, items, torch.zeros(1, 2, 2))
        assert (logits[0, 1] >= logits[0, 0] - 1e-5).all()


@torch.no_grad()
@every_kind
def test_untrained_stages_keep_the_order_of_the_stage_before(kind: RankerKind) -> None:
    torch.manual_seed(0)
    two_tower = TOWER.build(SCHEMA).eval()
    preranker, ranker = PrerankerConfig().build(SCHEMA, TOWER).eval(), RankerConfig(kind=kind, width=16, heads=2).build(SCHEMA).eval()
    history, length, (user, context) = histories(1, 5), torch.tensor([5]), request_columns(1)
    item = {"id": torch.arange(1, 31), "price": torch.rand(30), "tags": torch.randint(0, 4, (30, 3))}
    vectors, queries = two_tower.item_vectors(item), query_vectors(two_tower, preranker, history, length, user, context)
    cross = torch.rand(1, 30, 2)
    scores = preranker.score(queries, vectors.unsqueeze(0), cross)
    assert torch.equal(scores[0].argsort(), (vectors @ queries[0, 0]).argsort())
    keys, values = ranker.encode_history(history, length, *ranker.empty_past(1))
    logits = ranker.score(keys, values, length, user, context, ranker.item_tokens(item).unsqueeze(0), cross, scores)
    assert torch.equal(logits[0, :, 0].argsort(), scores[0].argsort())


def test_task_weights_of_the_wrong_number_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"task_weights has 1 values for 2 tasks"):
        PrerankerConfig(task_weights=(1.0,)).build(SCHEMA, TOWER)
