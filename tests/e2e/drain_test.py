"""SIGTERM: calls in flight are answered, later ones are turned away as UNAVAILABLE, and the process ends by itself with 0."""

from __future__ import annotations

import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from cases.worlds import item_ids
from harness import Server
from shortlist.client import Client, History, Recommendation, RetryPolicy, ServiceError, UnavailableError


def test_calls_in_flight_are_answered(medium_model: Path, tmp_path: Path) -> None:
    """Four callers rank 3,000 candidates each, back to back, when the signal comes; that is below what the gate admits at once."""
    candidates = [int(item) for item in item_ids("medium")[:3000]]
    server = Server(medium_model, tmp_path)
    server.start()
    began = threading.Event()

    def caller() -> list[Recommendation | ServiceError]:
        outcomes: list[Recommendation | ServiceError] = []
        with Client(server.data, timeout=30.0, retry=RetryPolicy(max_attempts=1)) as client:
            while not outcomes or isinstance(outcomes[-1], Recommendation):
                try:
                    outcomes.append(client.rank(history=History(), candidates=candidates, limit=5))
                    began.set()
                except ServiceError as error:
                    outcomes.append(error)
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        callers = [pool.submit(caller) for _ in range(4)]
        assert began.wait(30)
        time.sleep(0.3)
        code = server.stop(signal.SIGTERM)
        outcomes = [caller.result(60) for caller in callers]
    assert code == 0
    for answers in outcomes:
        assert all(isinstance(answer, Recommendation) and answer.coverage.rung == "full" for answer in answers[:-1])
        assert isinstance(answers[-1], UnavailableError), f"the last call of a caller: {answers[-1]!r}"
    assert sum(len(answers) - 1 for answers in outcomes) >= 4
