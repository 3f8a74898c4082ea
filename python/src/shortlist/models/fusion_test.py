"""Each fusion against a plainer statement of the same mathematics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from shortlist.errors import ConfigError
from shortlist.models.amortized import AmortizedBlock, AmortizedFusion, attend_with_own
from shortlist.models.blocks import MASKED, FeedForward, attend
from shortlist.models.early_fusion import Bst, Din, MeanPool, TransAct
from shortlist.models.ranker import KINDS, RankerConfig

torch.set_num_threads(1)
SIZES = {"width": 16, "layers": 2, "heads": 2, "feed_forward_ratio": 2, "dropout": 0.1}
S, N = 5, 6


@torch.no_grad()
def test_a_candidates_own_key_is_a_diagonal_mask_over_all_candidates() -> None:
    """HSTU's mask in full: candidates see all events and, of the candidates, themselves."""
    torch.manual_seed(0)
    query, own_key, own_value = torch.randn(3, 2, 4, 9, 8)
    keys, values = torch.randn(2, 2, 4, N, 8)
    diagonal = (1.0 - torch.eye(9)) * MASKED
    mask = torch.cat((torch.zeros(9, N), diagonal), dim=1)
    want = attend(query, torch.cat((keys, own_key), dim=2), torch.cat((values, own_value), dim=2), mask)
    own = (query * own_key).sum(dim=-1, keepdim=True)
    torch.testing.assert_close(attend_with_own(query, keys, values, torch.zeros(1, N), own, own_value), want)


@torch.no_grad()
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("candidate_self", [False, True])
def test_candidates_at_one_position_read_as_candidates_each_at_its_own(heads: int, candidate_self: bool) -> None:
    """Serving turns the keys, and with one head multiplies them by the query matrix; training turns every query."""
    torch.manual_seed(0)
    fusion = AmortizedFusion(**SIZES | {"heads": heads}, candidate_self=candidate_self).eval()
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    keys, values = torch.randn(2, 2, *fusion.cache_shape[:2], N, fusion.cache_shape[2])
    x, visible = torch.randn(2, 7, 16), torch.tensor([[N], [2]])
    shared = fusion.read(x, keys, values, visible)
    torch.testing.assert_close(shared, fusion.read(x, keys, values, visible.expand(-1, 7)), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(shared, fusion.read(x, keys, values, visible - 1), atol=1e-3)


@torch.no_grad()
def test_with_one_head_the_output_matrix_acts_on_events_as_it_would_on_their_sum() -> None:
    torch.manual_seed(0)
    block = AmortizedBlock(16, 1, FeedForward(16, 2), 0.0, candidate_self=False)
    x, weights, values = torch.randn(3, 16), torch.rand(1, 1, 3, N).softmax(dim=-1), torch.randn(1, 1, N, 16)
    mixed = x + block.out(torch.matmul(weights, values)).view(3, 16)
    want = mixed + block.feed_forward(mixed)
    torch.testing.assert_close(block._add(x, torch.matmul(weights, block._ready(values))), want)


@torch.no_grad()
def test_bst_computes_the_last_layer_for_the_candidate_alone() -> None:
    torch.manual_seed(0)
    bst = Bst(**SIZES).eval()
    x, events, count = torch.randn(S, 16), torch.randn(S, N, 16), 4
    tokens = torch.cat((x.unsqueeze(1), events[:, :count]), dim=1)
    angles = bst.rotary.angles(torch.tensor([count, *range(count)]))
    for block in bst.blocks:
        tokens = block(tokens, tokens, angles, angles, torch.zeros(1))
    torch.testing.assert_close(bst.fuse_pairs(x, events, torch.full((S,), count)), tokens[:, 0])


@torch.no_grad()
def test_din_weighs_events_by_a_network_on_event_candidate_and_product() -> None:
    torch.manual_seed(0)
    din = Din(width=16, feed_forward_ratio=2, dropout=0.1).eval()
    x, events = torch.randn(1, 1, 16), torch.randn(1, N, 16)
    first = torch.cat((din.event.weight, din.candidate.weight, din.product.weight), dim=1)
    joined = torch.cat((events[0], x[0].expand(N, -1), events[0] * x[0]), dim=-1)
    weights = din.weight(functional.gelu(functional.linear(joined, first, din.event.bias)))  # [N,1], unnormalised
    want = din.merge(x, (weights * events[0]).sum(dim=0).view(1, 1, -1))
    torch.testing.assert_close(din.fuse(x, events, torch.tensor([[N]])), want)


@torch.no_grad()
def test_transact_sees_the_order_of_the_newest_events_and_the_mean_does_not() -> None:
    torch.manual_seed(0)
    x, events, visible = torch.randn(1, 3, 16), torch.randn(1, N, 16), torch.tensor([[N]])
    for fusion, ordered in ((TransAct(**SIZES), True), (MeanPool(width=16, feed_forward_ratio=2, dropout=0.1), False)):
        fusion.eval()
        same = torch.allclose(fusion.fuse(x, events, visible), fusion.fuse(x, events.flip(1), visible), atol=1e-6)
        assert same is not ordered


def test_a_kind_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"RankerConfig.kind is 'bert'.*use one of amortized"):
        RankerConfig(kind="bert").fusion()  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_of_every_kind_is_trained(kind: str) -> None:
    """A weight without a gradient is a part that is not connected."""
    torch.manual_seed(0)
    fusion = RankerConfig(kind=kind, width=16).fusion()  # type: ignore[arg-type]
    past = [torch.zeros(S, *fusion.cache_shape[:2], 0, fusion.cache_shape[2]) for _ in range(2)]
    keys, values = fusion.encode(torch.randn(S, N, 16), torch.full((S,), N), *past)
    fusion.read(torch.randn(S, 3, 16), keys, values, torch.full((S, 1), N)).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in fusion.parameters())
