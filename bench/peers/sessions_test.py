"""The stream of sessions: most calls extend a history that was sent before, and the stream goes on where it stopped."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from google.protobuf import json_format

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.sessions import CALLS, SESSIONS, Sessions
from shortlist.export.golden import item_list
from shortlist.export.layout import current
from shortlist.export.reader import Bundle, read
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire


@pytest.fixture(scope="module")
def toy() -> Bundle:
    return read(current(Path(__file__).resolve().parents[2] / "models/toy"))


def histories(path: Path) -> list[tuple]:
    requests = [json_format.Parse(line, wire.RecommendRequest()) for line in path.read_text().splitlines()]
    return [tuple(item_list(request.user.history.items)) for request in requests]


def test_histories_grow_by_an_event_or_two(toy: Bundle, tmp_path: Path) -> None:
    sessions = Sessions(toy)
    sessions.write(tmp_path / "t", 6 * SESSIONS)
    sent = histories(tmp_path / "t")
    known = {history[:-grown] for history in sent for grown in (1, 2)} & set(sent)
    extended = sum(any(history[:-grown] in known for grown in (1, 2)) for history in sent[3 * SESSIONS :])
    assert extended / (3 * SESSIONS) == pytest.approx(1 - 1 / CALLS, abs=0.1)  # sessions older than the stream count as new


def test_the_stream_goes_on_and_repeats_with_its_seed(toy: Bundle, tmp_path: Path) -> None:
    whole, parts = Sessions(toy), Sessions(toy)
    whole.write(tmp_path / "whole", 30)
    got = []
    for taken in (10, 20):
        parts.write(tmp_path / "part", 25)  # more than are sent: arrivals are random
        got += histories(tmp_path / "part")[:taken]
        parts.take(taken)
    assert got == histories(tmp_path / "whole")
