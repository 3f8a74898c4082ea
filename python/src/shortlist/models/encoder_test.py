"""Laws of every encoder: a state knows the events before it and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shortlist.errors import ConfigError
from shortlist.models.blocks import Dropout
from shortlist.models.encoder import Encoder, EncoderConfig
from shortlist.models.hstu import LEAST_SECONDS, TIME_BUCKETS, time_bucket

torch.set_num_threads(1)

CONFIGS = {
    "sasrec": EncoderConfig(encoder="sasrec", width=16, heads=2),
    "learned positions": EncoderConfig(encoder="sasrec", width=16, positions="learned"),
    "ligr": EncoderConfig(encoder="ligr", width=16, heads=2),
    "gru4rec": EncoderConfig(encoder="gru4rec", width=16),
    "hstu": EncoderConfig(encoder="hstu", width=16, heads=2),
    "hstu with time": EncoderConfig(encoder="hstu", width=16, time_bias=True),
}
COUNT = 12
LEAST = torch.tensor(LEAST_SECONDS)


@pytest.fixture(params=list(CONFIGS))
def encoder(request: pytest.FixtureRequest) -> Encoder:
    torch.manual_seed(0)
    encoder = Encoder(CONFIGS[request.param], max_events=20).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return encoder


def history(batch: int = 2) -> tuple[Tensor, Tensor]:
    """Event vectors [B,N,D] and times [B,N]."""
    torch.manual_seed(1)
    return torch.randn(batch, COUNT, 16), torch.randint(0, 10**6, (batch, COUNT)).cumsum(dim=1)


@torch.no_grad()
def test_later_events_change_no_earlier_state(encoder: Encoder) -> None:
    events, time = history()
    length = torch.full((2,), COUNT)
    before = encoder(events, length, time)
    events[:, 7:], time[:, 7:] = torch.randn(2, COUNT - 7, 16), time[:, 7:] * 3
    after = encoder(events, length, time)
    torch.testing.assert_close(after[:, :8], before[:, :8])
    assert (after[:, 8:] - before[:, 8:]).abs().amax(dim=-1).min() > 1e-4  # guards the law: events do matter


@torch.no_grad()
def test_padding_and_batch_mates_change_nothing(encoder: Encoder) -> None:
    events, time = history()
    length = torch.tensor([COUNT, 5])
    together = encoder(events, length, time)
    alone = encoder(events[1:, :5], length[1:], time[1:, :5])
    torch.testing.assert_close(together[1:, :6], alone)
    assert (together[1, 6:] == 0).all()


@torch.no_grad()
def test_a_shorter_history_is_a_prefix(encoder: Encoder) -> None:
    """Not so with learned positions, which count from the newest event: later stages refuse them."""
    if encoder.position is not None:
        pytest.skip("learned positions count from the newest event")
    events, time = history()
    whole = encoder(events, torch.full((2,), COUNT), time)
    torch.testing.assert_close(encoder(events[:, :4], torch.full((2,), 4), time[:, :4]), whole[:, :5])


@torch.no_grad()
def test_elapsed_time_matters_to_the_time_bias_alone(encoder: Encoder) -> None:
    events, time = history()
    length = torch.full((2,), COUNT)
    moved = (encoder(events, length, time) - encoder(events, length, time * 100)).abs().max() > 1e-4
    assert bool(moved) == encoder.config.time_bias


def test_checkpointing_changes_no_gradient(encoder: Encoder) -> None:
    config = encoder.config
    gradients = []
    for checkpointing in (False, True):
        other = Encoder(
            EncoderConfig(**{**{f: getattr(config, f) for f in config.__dataclass_fields__}, "checkpointing": checkpointing}), 20
        )
        other.load_state_dict(encoder.state_dict())
        torch.manual_seed(2)  # the same dropout
        events, time = history()
        other.train()(events, torch.full((2,), COUNT), time).square().sum().backward()
        gradients.append([parameter.grad for parameter in other.parameters() if parameter.grad is not None])
    for plain, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, recomputed)


def test_a_time_bias_without_times_is_refused() -> None:
    with pytest.raises(ConfigError, match="no times were given"):
        Encoder(CONFIGS["hstu with time"], 20)(history()[0], torch.full((2,), COUNT))
    with pytest.raises(ConfigError, match="time_bias with encoder sasrec"):
        EncoderConfig(time_bias=True)


def test_widths_that_heads_cannot_share_are_refused() -> None:
    with pytest.raises(ConfigError, match="width 10 does not suit 4 heads"):
        EncoderConfig(width=10, heads=4)


def test_time_buckets_are_ordered_and_bounded() -> None:
    buckets = time_bucket(torch.tensor([-5, 0, 1, 60, 3600, 86400, 10**9, 2**62]), LEAST)
    assert buckets[0] == buckets[1] == 0
    assert (buckets.diff() >= 0).all()
    assert (buckets[2:6].diff() > 0).all()
    assert buckets[-1] == TIME_BUCKETS - 1


def test_time_buckets_are_exact_at_their_edges() -> None:
    """Beside every edge, with logarithms rounded up and down as other runtimes do."""
    seconds = torch.unique(torch.cat([LEAST + shift for shift in (-1, 0, 1)]).clamp(min=0, max=LEAST_SECONDS[-1]))
    exact = torch.searchsorted(LEAST, seconds, right=True) - 1
    assert torch.equal(time_bucket(seconds, LEAST), exact)
    for rounding in (-1e-6, 1e-6):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "log2", lambda x, log2=torch.log2, rounding=rounding: log2(x) * (1 + rounding))
            assert torch.equal(time_bucket(seconds, LEAST), exact)


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    torch.manual_seed(0)
    x = torch.ones(1001, 99)
    dropped = Dropout(0.25)(x)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert Dropout(0.25).eval()(x) is x


def test_dropout_repeats_with_the_generator() -> None:
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(Dropout(0.5)(torch.ones(7, 3)))
    assert torch.equal(*draws)


@torch.no_grad()
def test_bert4rec_looks_both_ways_but_not_at_padding() -> None:
    torch.manual_seed(0)
    encoder = Encoder(EncoderConfig(encoder="bert4rec", width=16), max_events=20).eval()
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    events, _ = history()
    length = torch.tensor([COUNT, 5])
    before = encoder(events, length)
    torch.testing.assert_close(before[1:, :6], encoder(events[1:, :5], length[1:]))
    events[0, -1] = torch.randn(16)
    assert (encoder(events, length)[0] - before[0]).abs().amax(dim=-1).min() > 1e-5
