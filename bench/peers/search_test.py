"""The search for the knee, on servers whose knee is known."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.comparison import of_searches
from peers.search import Measure, Search, Step


def server(knee: float) -> Measure:
    """p99 grows with the load, as a queue's does, and passes 100 ms at the knee."""

    def measure(rate: float) -> Step:
        return Step(rate=rate, due=1000, full=1000, p50=5, p99=100 * rate / knee)

    return measure


@pytest.mark.parametrize("knee", [3.0, 40.0, 77.0, 2000.0])
def test_finds_the_knee_from_anywhere(knee: float) -> None:
    search = Search(server(knee), bound=100)
    search.start(40)
    for _ in range(5):
        search.round()
    assert search.rounds[-1] == pytest.approx(knee, rel=0.05)
    assert len(search.rounds) == 5


def test_rounds_follow_a_machine_that_changes() -> None:
    now = {"knee": 100.0}
    search = Search(lambda rate: server(now["knee"])(rate), bound=100)
    search.start(90)
    now["knee"] = 60.0
    for _ in range(4):
        search.round()
    assert search.rounds[-1] == pytest.approx(60, rel=0.05)


def test_incomplete_answers_fail_however_fast() -> None:
    assert Step(rate=1, due=100, full=99, p50=1, p99=2).passes(100)
    assert not Step(rate=1, due=100, full=98, p50=1, p99=2).passes(100)
    assert not Step(rate=1, due=0, full=0, p50=0, p99=0).passes(100)


def test_a_server_without_a_knee_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="never tires"):
        Search(server(1e12), bound=100).start(1)


def test_ratios_compare_round_by_round() -> None:
    ours, peer = Search(server(1), 1), Search(server(1), 1)
    ours.found, peer.found = [1, 30, 40, 50], [9, 10, 20, 10]  # the first only says where to begin
    found = of_searches("what", "who", ours, peer, promised=3)
    assert found.ratios == (3, 2, 5)
    assert (found.ratio, found.ours, found.theirs, found.kept) == (3, 40, 10, True)
    assert "3.00 times (2.00..5.00), promised 3: kept" in str(found)
