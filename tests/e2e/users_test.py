"""Users that the server stores: appended events change answers, and survive both a restart and a kill."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from cases.worlds import item_ids
from harness import Server
from shortlist.client import Client, History, NotFoundError

TIME = 1_750_600_000
ITEMS = [str(item) for item in item_ids("small")[:8]]


def test_appended_events_are_what_inline_events_are(small_server: Server) -> None:
    history = History(items=ITEMS[:5], actions=["view"] * 5, times=[TIME + second for second in range(5)])
    with Client(small_server.data, timeout=10.0) as client:
        with pytest.raises(NotFoundError):
            client.get_user("equal")
        assert client.append("equal", history, features={"gender": "female", "age": 31.0}) == 5
        stored = client.recommend("equal", limit=10, time=TIME)
        inline = client.recommend(history=history, features={"gender": "female", "age": 31.0}, limit=10, time=TIME)
        cold = client.recommend(history=History(), limit=10, time=TIME)
    assert (stored.items, stored.scores) == (inline.items, inline.scores)
    assert stored.scores != cold.scores
    assert not set(stored.items) & set(ITEMS[:5]), "seen items are left out"


def test_appends_add_up_and_features_are_replaced(small_server: Server) -> None:
    with Client(small_server.data, timeout=10.0) as client:
        assert client.append("adds", History(items=ITEMS[:2], times=[TIME, TIME + 1]), features={"age": 20.0, "gender": "male"}) == 2
        assert client.append("adds", History(items=ITEMS[2:3], times=[TIME + 2]), features={"age": 21.0}) == 3
        user = client.get_user("adds")
    assert user.items == ITEMS[:3]
    assert user.features["age"] == 21.0
    assert user.features["gender"] == "male"


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_acknowledged_events_survive(small_model: Path, tmp_path: Path, how: signal.Signals) -> None:
    with Server(small_model, tmp_path) as server:
        with Client(server.data, timeout=10.0) as client:
            for number, item in enumerate(ITEMS):
                assert client.append("survivor", History(items=[item], times=[TIME + number])) == number + 1
            before = client.recommend("survivor", limit=10, time=TIME)
        server.stop(how)
        server.start()
        with Client(server.data, timeout=10.0) as client:
            assert client.get_user("survivor").items == ITEMS
            after = client.recommend("survivor", limit=10, time=TIME)
    assert (after.items, after.scores) == (before.items, before.scores)
