"""A history read in pieces, and with one asking row in the last layer, is the history read whole by the trained encoder."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from shortlist.models.encoder import Encoder, EncoderConfig
from shortlist.models.extension import Extension
from shortlist.models.session import newest_events, recent_events

torch.set_num_threads(1)

EXTENDABLE = {
    "sasrec": EncoderConfig(encoder="sasrec", width=16, heads=2, layers=3),
    "one layer": EncoderConfig(encoder="sasrec", width=16, layers=1),
    "ligr": EncoderConfig(encoder="ligr", width=16, heads=2),
    "hstu": EncoderConfig(encoder="hstu", width=16, heads=2),
}
OTHERS = (
    EncoderConfig(encoder="sasrec", positions="learned"),
    EncoderConfig(encoder="ligr", positions="learned"),
    EncoderConfig(encoder="bert4rec"),
    EncoderConfig(encoder="gru4rec"),
    EncoderConfig(encoder="hstu", time_bias=True),
)
BATCH, COUNT = 4, 9
Read = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(params=list(EXTENDABLE))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(EXTENDABLE[request.param], max_events=20).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


@pytest.fixture
def events() -> Tensor:
    """[B,N,D]."""
    torch.manual_seed(1)
    return torch.randn(BATCH, COUNT, 16)


def nothing(encoder: Encoder, batch: int = BATCH) -> tuple[Tensor, Tensor]:
    layers, heads, width = encoder.config.cache_shape
    return torch.zeros(batch, layers, heads, 0, width), torch.zeros(batch, layers, heads, 0, width)


def in_pieces(encoder: Encoder, events: Tensor, ends: list[int]) -> Read:
    read: Read = (torch.zeros(0), *nothing(encoder))
    for begin, end in pairwise((0, *ends)):
        read = Extension(encoder)(events[:, begin:end], torch.full((BATCH,), end - begin), *read[1:])
    return read


@torch.no_grad()
def test_the_state_is_that_of_the_trained_encoder(encoder: Encoder, events: Tensor) -> None:
    """Of full, padded and empty histories in one batch."""
    length = torch.tensor([COUNT, 4, 1, 0])
    want = encoder(events, length)[torch.arange(BATCH), length]
    state, keys, values = Extension(encoder)(events, length, *nothing(encoder))
    torch.testing.assert_close(state, want)
    layers, heads, width = encoder.config.cache_shape
    assert keys.shape == values.shape == (BATCH, layers, heads, COUNT, width)
    assert (state[0] - state[1]).abs().max() > 1e-3  # guards the laws: events do matter


@torch.no_grad()
@pytest.mark.parametrize("ends", [*([cut, COUNT] for cut in range(1, COUNT)), list(range(1, COUNT + 1))], ids=str)
def test_appending_events_equals_reading_them_at_once(encoder: Encoder, events: Tensor, ends: list[int]) -> None:
    for piece, whole in zip(in_pieces(encoder, events, ends), in_pieces(encoder, events, [COUNT]), strict=True):
        torch.testing.assert_close(piece, whole)


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing(encoder: Encoder, events: Tensor) -> None:
    """Of histories that are extended by different numbers of events too."""
    _, *past = in_pieces(encoder, events, [3])
    length = torch.tensor([6, 4, 2, 1])
    together = Extension(encoder)(events[:, 3:], length, *past)
    for one, valid in enumerate(length.tolist()):
        rows = slice(one, one + 1)
        alone = Extension(encoder)(events[rows, 3 : 3 + valid], length[rows], *(tensor[rows] for tensor in past))
        torch.testing.assert_close(together[0][rows], alone[0])
        for both, own in zip(together[1:], alone[1:], strict=True):
            torch.testing.assert_close(both[rows, :, :, : 3 + valid], own)
            assert (both[rows, :, :, 3 + valid :] == 0).all()


@torch.no_grad()
def test_nothing_that_is_kept_knows_of_later_events(encoder: Encoder, events: Tensor) -> None:
    _, *before = in_pieces(encoder, events, [COUNT])
    events[:, 5:] = torch.randn(BATCH, COUNT - 5, 16)
    _, *after = in_pieces(encoder, events, [COUNT])
    for one, other in zip(before, after, strict=True):
        torch.testing.assert_close(one[:, :, :, :5], other[:, :, :, :5])
        assert (one[:, :, :, 5:] - other[:, :, :, 5:]).abs().max() > 1e-3


@pytest.mark.parametrize("config", OTHERS, ids=lambda config: f"{config.encoder} {config.positions} {config.time_bias}")
def test_other_encoders_keep_nothing(config: EncoderConfig) -> None:
    assert config.cache_shape[0] == 0


def test_newest_events_go_on_from_those_kept(events: Tensor) -> None:
    """From no past, in pieces and at once, for fewer and for more events than are kept."""
    assert newest_events(torch.zeros(BATCH, 0, 16), events, torch.full((BATCH,), COUNT)).shape == (BATCH, 0, 16)
    for count in (1, 4, COUNT + 3):
        length = torch.tensor([COUNT, 5, 1, 0])
        want, present = (tensor.squeeze(1) for tensor in recent_events(events, length.unsqueeze(-1), count))
        none = torch.zeros(BATCH, count, 16)
        whole = newest_events(none, events, length)
        assert torch.equal(whole, want * present.unsqueeze(-1))
        past = newest_events(none, events[:, :4], length.clamp(max=4))
        assert torch.equal(newest_events(past, events[:, 4:], (length - 4).clamp(min=0)), whole)
