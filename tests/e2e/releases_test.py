"""Release control: switching under traffic fails no call, every answer names one release, and a bad release never replaces a good one."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from harness import Server
from shortlist.client import AdminClient, Client, History, NotFoundError, Recommendation, RetryPolicy, ServiceError

TIME = 1_750_600_000


@pytest.fixture
def server(two_releases: Path, tmp_path: Path) -> Server:
    server = Server(two_releases, tmp_path)
    server.start()
    yield server
    server.stop()


def test_activate_and_roll_back(server: Server) -> None:
    with AdminClient(server.admin) as admin, Client(server.data, timeout=10.0) as client:
        newest, oldest = (release.release_id for release in admin.list())
        first = admin.status()
        assert first.active is not None
        assert (first.active.state, first.provider) == ("active", "cpu")
        before = ask(client)
        other = oldest if first.active.release_id == newest else newest
        assert admin.load(other).state == "loaded"
        assert ask(client).release_id == before.release_id, "loading alone does not serve"
        admin.activate(other)
        switched = ask(client)
        assert switched.release_id == other
        assert switched.scores != before.scores
        admin.roll_back()
        assert (ask(client).release_id, ask(client).scores) == (before.release_id, before.scores)
        tested = admin.self_test()
        assert (tested.passed, tested.violations) == (True, 0)
        assert tested.cases >= 16
        assert 0.0 < tested.worst_ratio <= 1.0


def test_unknown_release_is_not_found(server: Server) -> None:
    with AdminClient(server.admin) as admin, pytest.raises(NotFoundError):
        admin.activate("20200101T000000Z-0123456789ab")


def test_switching_under_traffic_fails_no_call(server: Server) -> None:
    """Answers of each release are always that release's own: none is mixed, none is missing."""
    done, failures, answers = threading.Event(), [], []

    def traffic() -> None:
        with Client(server.data, timeout=10.0, retry=RetryPolicy(max_attempts=1)) as client:
            while not done.is_set():
                try:
                    answers.append(ask(client))
                except ServiceError as error:
                    failures.append(error)

    threads = [threading.Thread(target=traffic) for _ in range(3)]
    for thread in threads:
        thread.start()
    with AdminClient(server.admin) as admin:
        releases = [release.release_id for release in admin.list()]
        for turn in range(6):
            admin.activate(releases[turn % 2])
    done.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {answer.release_id for answer in answers} == set(releases)
    assert len({(answer.release_id, tuple(answer.items), tuple(answer.scores)) for answer in answers}) == 2


def ask(client: Client) -> Recommendation:
    return client.recommend(history=History(), limit=10, time=TIME)
