"""A retriever that reads the times of events: they change answers, and a request without them is refused, never guessed at."""

from __future__ import annotations

import pytest

from cases.worlds import item_ids
from harness import Server
from shortlist.client import Client, History, InvalidRequestError

TIME = 1_750_600_000
DAY = 86_400
ITEMS = [str(item) for item in item_ids("small")[:4]]


def test_elapsed_time_changes_the_answer_and_the_clock_does_not(timed_server: Server) -> None:
    def scores(*times: int) -> list[float]:
        return list(client.retrieve(history=History(items=ITEMS, times=list(times)), limit=10, time=TIME).scores)

    with Client(timed_server.data, timeout=10.0) as client:
        session = scores(TIME, TIME + 5, TIME + 9, TIME + 12)
        assert scores(TIME, TIME + 5, TIME + 9 + 40 * DAY, TIME + 12 + 40 * DAY) != session
        assert scores(TIME + DAY, TIME + DAY + 5, TIME + DAY + 9, TIME + DAY + 12) == session


def test_a_request_without_times_is_refused(timed_server: Server) -> None:
    with Client(timed_server.data, timeout=10.0) as client:
        assert client.recommend(history=History(), limit=3, time=TIME).items, "no events need no times"
        with pytest.raises(InvalidRequestError) as refused:
            client.recommend(history=History(items=ITEMS), limit=3, time=TIME)
    assert [violation.field for violation in refused.value.fields] == ["user.history.times"]


def test_appended_events_need_times(timed_server: Server) -> None:
    with Client(timed_server.data, timeout=10.0) as client:
        for times in ((), (0, 1, 2, 3)):
            with pytest.raises(InvalidRequestError, match="times"):
                client.append("timely", History(items=ITEMS, times=list(times)))
        assert client.append("timely", History(items=ITEMS, times=[TIME] * 4)) == 4
        assert client.recommend("timely", limit=3, time=TIME).items
