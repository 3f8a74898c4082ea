"""The case files are what their generators write, and parity.jsonl covers what it promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cases.worlds import item_ids, load_cases

HERE = Path(__file__).resolve().parent


@pytest.mark.parametrize("generator", ["write_parity.py", "write_features.py"])
def test_case_files_are_fresh(generator: str) -> None:
    done = subprocess.run([sys.executable, HERE / generator], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_parity_cases_reach_the_edges() -> None:
    cases = load_cases()
    assert len(cases) >= 1000
    assert len({case.name for case in cases}) == len(cases)
    assert {case.method for case in cases} == {"Recommend", "Retrieve", "Rank"}
    candidates = [[*case.request.candidates.ints, *case.request.candidates.strings] for case in cases]
    histories = [[*case.request.user.history.items.ints, *case.request.user.history.items.strings] for case in cases]
    assert {1, 3000} <= {len(given) for given in candidates}
    assert any(len(set(given)) == 3000 for given in candidates), "3,000 different candidates"
    assert any(len(set(given)) < len(given) for given in candidates), "duplicates"
    assert {0, 1, 600} <= {len(history) for history in histories}
    known = {item for world in ("small", "medium") for item in item_ids(world)}
    assert any(set(given) - known for given in candidates), "unknown candidates"
    assert any(set(history) - known for history in histories), "unknown events"
