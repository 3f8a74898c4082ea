"""The report of made-up results: it says what was kept and what not, and its pictures are drawn."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.comparison import Comparison, of_searches
from peers.curves import Curves
from peers.funnel_part import FunnelResult
from peers.oip_part import OipResult
from peers.page import write
from peers.rankers_part import RankersResult
from peers.search import Search, Step
from peers.settings import Settings

SERVERS = {"shortlistd": 80.0, "python ort": 60.0, "python torch": 30.0}


def searched(knee: float) -> Search:
    void = ("the generator used 90% of a core",)
    search = Search(lambda rate: Step(rate, 200, 200, 8 + rate / 10, 100 * rate / knee, void if rate > knee else ()), bound=100)
    search.start(40)
    for _ in range(3):
        search.round()
    return search


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    searches = {name: searched(knee) for name, knee in SERVERS.items()}
    curve = {name: {10: 100 / knee, 100: 200 / knee, 1000: 900 / knee} for name, knee in SERVERS.items()}
    stages = {
        name: {"retrieval": 1.5, "preranking": 0.4, "ranking": 300 / knee, "blending": 0.1, "rest": 0.2} for name, knee in SERVERS.items()
    }
    funnel = FunnelResult(160, Curves(curve, curve, stages), {"python ort": "threads"}, {"every history new": searches})
    for name, promised in (("python ort", 1.3), ("python torch", 3.0)):
        funnel.comparisons.append(of_searches("every history new", name, searches["shortlistd"], searches[name], promised))
    oip = OipResult({"rank_ids, 100 candidates": {"shortlistd": searched(900), "triton": searched(600)}})
    rankers = RankersResult({}, [Comparison("rank 1,000 candidates", "bst", "ms CPU", 8, 900, (110.0, 113.0), 100)])
    results = {"funnel": funnel, "oip": oip, "rankers": rankers}
    write(tmp_path, Settings(Path("models"), Path("triton")), [("CPU", "made up")], results)
    return tmp_path


def test_verdicts_and_pictures(folder: Path) -> None:
    (page,) = folder.glob("*.md")
    text = page.read_text()
    assert re.search(r"\| every history new \| python ort \| (7[5-9]|80)\.\d calls/s ", text)
    rows = {line.split("|")[2].strip(): line for line in text.splitlines() if line.startswith("| every history new | python")}
    assert rows["python ort"].endswith("| kept |")
    assert rows["python torch"].endswith("NOT KEPT |")
    pictures = {path.name for path in folder.glob("*.svg")}
    assert len(pictures) == 4
    assert all(f"({name})" in text for name in pictures)
    assert all("<svg" in (folder / name).read_text() for name in pictures)


def test_rates_that_failed_for_the_generator_are_counted(folder: Path) -> None:
    (page,) = folder.glob("*.md")
    line = next(line for line in page.read_text().splitlines() if line.startswith("| every history new, p99"))
    assert not line.endswith("| 0 |")
