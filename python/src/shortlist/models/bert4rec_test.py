"""BERT4Rec as a retriever: the mask asks for what comes next."""

from __future__ import annotations

import pytest
import torch

from shortlist.errors import ConfigError
from shortlist.models.bert4rec import Bert4Rec
from shortlist.models.two_tower import TwoTowerConfig
from shortlist.schema import Column, Op, Schema

torch.set_num_threads(1)

SCHEMA = Schema(
    item_id="int64",
    user=(),
    context=(),
    item=(Column(name="id", op=Op.ITEM_ROW, vocabulary=tuple(map(str, range(30))), in_history=True),),
    actions=("view",),
    tasks=("view",),
    history_max_events=9,
)


@pytest.fixture
def model() -> Bert4Rec:
    torch.manual_seed(0)
    model = TwoTowerConfig(encoder="bert4rec", width=16, retrieval_width=16, towers="tied", positions="learned").build(SCHEMA).eval()
    assert isinstance(model, Bert4Rec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


@torch.no_grad()
def test_a_query_ignores_padding_and_batch_mates_and_knows_the_newest_event(model: Bert4Rec) -> None:
    history = {"id": torch.randint(1, 31, (2, 9)), "action": torch.ones(2, 9, dtype=torch.int64)}
    length = torch.tensor([9, 4])
    together = model.query(history, length, {}, {})
    alone = model.query({name: values[1:, :4] for name, values in history.items()}, length[1:], {}, {})
    torch.testing.assert_close(together[1:], alone)
    history["id"][1, 3] = 1 + history["id"][1, 3] % 30
    changed = model.query(history, length, {}, {})
    torch.testing.assert_close(changed[:1], together[:1])
    assert (changed[1] - together[1]).abs().max() > 1e-4


@torch.no_grad()
def test_the_query_is_the_state_of_a_mask_after_the_history(model: Bert4Rec) -> None:
    history = {"id": torch.randint(1, 31, (1, 4)), "action": torch.ones(1, 4, dtype=torch.int64)}
    events = torch.cat((model.events(history), torch.randn(1, 1, 16)), dim=1)  # what is under the mask does not matter
    masked = torch.tensor([[False] * 4 + [True]])
    expected = model.query_vector(model.masked_states(events, masked, torch.tensor([5]))[:, 4], {}, {})
    torch.testing.assert_close(model.query(history, torch.tensor([4]), {}, {}), expected)


def test_there_is_no_state_after_each_event(model: Bert4Rec) -> None:
    with pytest.raises(ConfigError, match="no state after each event"):
        model.states_of(torch.zeros(1, 2, 16), torch.tensor([2]))
