"""The features of trees against loops written out, and the laws that every ranker obeys."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shortlist.models.ranker import RankerConfig
from shortlist.models.trees import TreeRanker
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

SCHEMA = Schema(
    item_id="int64",
    user=(Column(name="gender", op=Op.VOCABULARY, vocabulary=("F", "M")),),
    context=(Column(name="words", op=Op.TOKENS, buckets=20, width=3),),
    item=(
        Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple(map(str, range(80))), in_history=True),
        Column(name="category", op=Op.VOCABULARY, vocabulary=("a", "b", "c"), in_history=True),
        Column(name="price", op=Op.NUMBER, in_history=True),
        Column(name="tags", op=Op.VOCABULARY_LIST, vocabulary=("x", "y", "z"), width=2, in_history=True),
        Column(name="seller", op=Op.HASH, buckets=100),
    ),
    actions=("click", "buy"),
    tasks=("click", "buy"),
    cross=(CrossFeature(name="last", segment=LAST_ITEM),),
    history_max_events=20,
)
BARE = Schema(item_id="int64", user=(), context=(), item=SCHEMA.item[:1], actions=("click",), tasks=("click",))
EVENTS, CANDIDATES = 9, 11


def columns(schema: Schema, shape: tuple[int, ...]) -> dict[str, Tensor]:
    found = {}
    for c in schema.item:
        if c.op is Op.NUMBER:
            found[c.name] = torch.rand(shape) * 50
        else:
            found[c.name] = torch.randint(0, min(c.cardinality, 6), (*shape, c.width) if c.width else shape)
    return found


def build(schema: Schema) -> TreeRanker:
    ranker = RankerConfig(kind="trees").build(schema)
    assert isinstance(ranker, TreeRanker)
    return ranker


class Case:
    """Two users with 9 and 4 events; everything that the ranker graph gets."""

    def __init__(self, schema: Schema) -> None:
        torch.manual_seed(0)
        self.schema, self.ranker = schema, build(schema)
        self.history = columns(schema, (2, EVENTS)) | {"action": torch.randint(1, len(schema.actions) + 1, (2, EVENTS))}
        self.items = columns(schema, (CANDIDATES,))
        self.length = torch.tensor([EVENTS, 4])
        self.user = {"gender": torch.tensor([1, 2])} if schema.user else {}
        self.context = {"words": torch.tensor([[1, 2, 0], [0, 0, 0]])} if schema.context else {}
        self.cross = torch.rand(2, CANDIDATES, len(schema.cross))
        self.ranker.features.fit(self.items, torch.arange(CANDIDATES).repeat(2), torch.arange(2 * CANDIDATES) % 2 + 1)

    def features(self, past: int = 0, garbage: float = 0.0) -> Tensor:
        first = {name: values[:, :past] for name, values in self.history.items()}
        rest = {name: values[:, past:] for name, values in self.history.items()}
        keys, values = self.ranker.empty_past(2)
        for part, length in ((first, torch.full((2,), past)), (rest, self.length - past)):
            if len(part) and next(iter(part.values())).shape[1]:
                keys, values = self.ranker.encode_history(part, length, keys, values)
        after = torch.arange(EVENTS) >= self.length.unsqueeze(-1)
        keys = torch.where(after[:, None, None, :, None], garbage, keys)
        request = self.ranker.request(self.user, self.context)
        request = None if request is None else request.unsqueeze(1)
        token = self.ranker.item_tokens(self.items).expand(2, -1, -1)
        return self.ranker.features(keys[:, 0, 0], self.length.unsqueeze(-1), request, token, self.cross)


@pytest.mark.parametrize("schema", [SCHEMA, BARE])
def test_each_feature_has_its_name_and_is_finite(schema: Schema) -> None:
    case = Case(schema)
    found = case.features()
    names = case.ranker.features.names
    assert found.shape == (2, CANDIDATES, len(names))
    assert len(set(names)) == len(names)
    assert torch.isfinite(found).all()


def test_history_features_by_hand() -> None:
    case = Case(SCHEMA)
    found = dict(zip(case.ranker.features.names, case.features().unbind(dim=-1), strict=True))
    for user, length in enumerate(case.length.tolist()):
        for candidate in range(CANDIDATES):
            category, price = int(case.items["category"][candidate]), case.items["price"][candidate]
            same = [e for e in range(length) if category > 0 and int(case.history["category"][user, e]) == category]
            expected = {
                "events_same_category": len(same),
                "recent_same_category": sum(e >= length - 5 for e in same),
                "deeper_same_category": sum(int(case.history["action"][user, e]) > 1 for e in same),
                "since_same_category": length - 1 - same[-1] if same else SCHEMA.history_max_events + 1,
                "history_length": length,
                "minus_last_price": float(price - case.history["price"][user, length - 1]),
                "context_words_count": 2 - 2 * user,
                "user_gender": 1 + user,
            }
            tags = set(case.items["tags"][candidate].tolist()) - {0}
            shared = [tags & set(case.history["tags"][user, e].tolist()) for e in range(length)]
            expected["overlap_tags"] = sum(map(len, shared))
            got = {name: float(found[name][user, candidate]) for name in expected}
            assert got == pytest.approx(expected), candidate


def test_extending_a_history_and_anything_after_it_change_nothing() -> None:
    case = Case(SCHEMA)
    whole = case.features()
    assert torch.equal(case.features(past=3), whole)
    for garbage in (1.0, -3.5, float("nan")):
        assert torch.equal(case.features(garbage=garbage), whole)


def test_without_trees_the_preranker_decides() -> None:
    case = Case(SCHEMA)
    keys, values = case.ranker.encode_history(case.history, case.length, *case.ranker.empty_past(2))
    token = case.ranker.item_tokens(case.items).expand(2, -1, -1)
    score = torch.randn(2, CANDIDATES)
    logits = case.ranker.score(keys, values, case.length, case.user, case.context, token, case.cross, score)
    assert torch.equal(logits.argsort(dim=1)[..., 0], score.argsort(dim=1))
