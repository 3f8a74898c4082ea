"""The preranker's parts: masks, session, ablations, and what a request costs."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shortlist.errors import ConfigError
from shortlist.models.flops import request_flops
from shortlist.models.masknet import MaskBlock, ParallelMaskNet
from shortlist.models.preranker import Part, Preranker, PrerankerConfig, query_vectors
from shortlist.models.session import Session, recent_events
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import LAST_ITEM, Column, CrossFeature, Op, Schema

torch.set_num_threads(1)

SCHEMA = Schema(
    item_id="int64",
    user=(Column(name="gender", op=Op.VOCABULARY, vocabulary=("a", "b")),),
    context=(Column(name="query", op=Op.TOKENS, buckets=50, width=4),),
    item=(Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple(map(str, range(30))), in_history=True),),
    actions=("click", "contact", "buy"),
    tasks=("click", "contact", "buy"),
    cross=(CrossFeature(name="gender_item", segment="user.gender"), CrossFeature(name="last_item", segment=LAST_ITEM)),
)
TOWER = TwoTowerConfig(width=16, retrieval_width=12, layers=1)


def built(*ablate: Part) -> Preranker:
    torch.manual_seed(0)
    preranker = PrerankerConfig(recent_events=4, mask_width=4, block_width=8, ablate=ablate).build(SCHEMA, TOWER).eval()
    for parameter in preranker.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return preranker


class Request:
    """Two requests with four events each, and five candidates."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.state, self.recent, self.present = torch.randn(2, 16), torch.randn(2, 4, 16), torch.ones(2, 4)
        self.user, self.context = {"gender": torch.tensor([1, 2])}, {"query": torch.randint(0, 51, (2, 4))}
        self.items, self.cross = torch.randn(2, 5, 12), torch.rand(2, 5, 2)

    def heads(self, preranker: Preranker) -> Tensor:
        return preranker.heads(self.state, self.recent, self.present, self.user, self.context)

    def logits(self, preranker: Preranker) -> Tensor:
        queries = torch.cat((torch.ones(2, 1, 12), self.heads(preranker)), dim=1)
        return preranker.task_logits(queries, self.items, self.cross)


@torch.no_grad()
def test_a_mask_block_by_hand() -> None:
    torch.manual_seed(0)
    block, x = MaskBlock(features=6, mask_width=3, width=2), torch.randn(5, 6)
    mask = (x @ block.narrow.weight.T + block.narrow.bias).clamp(min=0) @ block.widen.weight.T + block.widen.bias
    projected = (x * mask) @ block.project.weight.T + block.project.bias
    wanted = (projected - projected.mean(-1, keepdim=True)) / (projected.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(block(x), wanted.clamp(min=0))


@torch.no_grad()
def test_open_masks_pass_features_and_closed_ones_none() -> None:
    net = ParallelMaskNet(6, 4, blocks=2, mask_width=3, block_width=2, dropout=0.0)
    for block in net.blocks:
        assert isinstance(block, MaskBlock)
        torch.nn.init.zeros_(block.widen.weight)
        torch.nn.init.zeros_(block.widen.bias)
    x, y = torch.randn(2, 3, 6)
    torch.testing.assert_close(net(x), net(y))  # nothing passes
    net.start_open()
    assert (net(x) - net(y)).abs().max() > 1e-3


@torch.no_grad()
def test_the_session_by_hand() -> None:
    torch.manual_seed(0)
    session, request, recent = Session(8, 3), torch.randn(8), torch.randn(3, 8)
    logits = torch.stack([session.attention_key(event) @ session.attention_query(request) for event in recent]) * 8**-0.5
    for count in (1, 2, 3):
        present = (torch.arange(3) < count).float()
        attended, weighted = session(request, recent, present)
        torch.testing.assert_close(attended, logits[:count].softmax(0) @ recent[:count])
        torch.testing.assert_close(weighted, session.recency[:count].softmax(0) @ recent[:count])
    assert not any(summary.any() for summary in session(request, recent, torch.zeros(3)))


def test_recent_events_are_the_newest_first() -> None:
    events = torch.arange(6.0).view(1, 6, 1)
    recent, present = recent_events(events, torch.tensor([[4, 1, 0]]), 3)
    assert recent[..., 0].tolist() == [[[3, 2, 1], [0, 0, 0], [0, 0, 0]]]
    assert present.tolist() == [[[1, 1, 1], [1, 0, 0], [0, 0, 0]]]


@torch.no_grad()
def test_each_ablation_takes_out_its_part_alone() -> None:
    request, other = Request(), Request()
    other.state, other.recent = other.state + 1, other.recent.flip(1)
    for ablate in ((), ("counters",), ("masknet",), ("heads",)):
        assert (request.heads(built(*ablate)) - other.heads(built(*ablate))).abs().max() > 1e-3
    without = built("session")
    assert torch.equal(request.heads(without), other.heads(without))
    assert not any("session" in name for name, _ in without.named_parameters())
    other.user = {"gender": torch.tensor([0, 0])}
    assert (request.heads(without) - other.heads(without)).abs().max() > 1e-3

    heads = request.heads(built())
    assert (heads[:, 0] - heads[:, 1]).abs().max() > 1e-3
    shared = request.heads(built("heads"))
    assert shared.shape == heads.shape
    assert torch.equal(shared[:, 0], shared[:, 2])

    other = Request()
    other.cross = other.cross.flip(1)
    assert (request.logits(built()) - other.logits(built())).abs().max() > 1e-3
    assert torch.equal(request.logits(built("counters")), other.logits(built("counters")))


def test_unknown_parts_are_refused() -> None:
    with pytest.raises(ConfigError, match="ablate names sesion"):
        PrerankerConfig(ablate=("sesion",))  # type: ignore[arg-type]


@torch.no_grad()
def test_a_merged_query_scores_as_the_preranker_without_counters() -> None:
    preranker, request = built(), Request()
    preranker.task_weights.copy_(torch.tensor([1.0, 0.5, 2.0]))
    queries = torch.cat((torch.randn(2, 1, 12), request.heads(preranker)), dim=1)
    score = preranker.score(queries, request.items, torch.zeros(2, 5, 2)) - preranker.bias @ preranker.task_weights
    merged = torch.matmul(request.items, preranker.merged_query(queries).unsqueeze(-1)).squeeze(-1)
    torch.testing.assert_close(merged, score)


def test_flops_equal_a_count_by_hand() -> None:
    """2 x multiply-adds: D 16, K 12, T 3, N 7 events after the start token, M 9 candidates."""
    two_tower, preranker = TOWER.build(SCHEMA).eval(), built()
    width, k, tasks, seen, m = 16, 12, 3, 8, 9
    block = seen * (3 + 1 + 8) * width**2 + 2 * seen**2 * width
    query = 2 * width**2 + width * k + 4 * width  # and the mean of the query's four tokens
    assert request_flops(two_tower, None, events=7, candidates=m) == 2 * (block + query + m * k)
    features = 5 * width
    masks = 3 * (features * 4 * 2 + features * 8) + 24 * width
    session = 2 * width**2 + 4 * width + 2 * 4 * width
    heads = masks + session + width * tasks * k + 4 * width
    scoring = m * ((1 + tasks) * k + 2 * tasks)  # dots and counters; the sum over tasks is no matrix product
    assert request_flops(two_tower, preranker, events=7, candidates=m) == 2 * (block + query + heads + scoring)


@torch.no_grad()
def test_the_session_reads_the_newest_events_of_long_histories() -> None:
    """An event that has left the session still reaches the heads, through the state alone."""
    two_tower, preranker = TOWER.build(SCHEMA).eval(), built()
    history = {"id": torch.arange(1, 9).unsqueeze(0), "action": torch.ones(1, 8, dtype=torch.int64)}
    user, context = {"gender": torch.tensor([1])}, {"query": torch.zeros(1, 4, dtype=torch.int64)}
    whole = query_vectors(two_tower, preranker, history, torch.tensor([8]), user, context)
    assert whole.shape == (1, 4, 12)
    history["id"][0, 7] = 20
    assert (query_vectors(two_tower, preranker, history, torch.tensor([8]), user, context) - whole).abs().max() > 1e-4
