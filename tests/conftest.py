"""What the cross-language suite shares: fresh binaries, releases of the two worlds, and servers of them."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from cases.worlds import WORLDS
from harness import ROOT, Server, build
from shortlist.export.release import export_release
from shortlist.testing.toy import CREATED, ToyConfig, ToyModelConfig, toy_plan

torch.set_num_threads(1)
FACTORY = ROOT / "python/src/shortlist"

# Sizes that let one request rank 3,000 items, in several chunks.
TOYS = {
    "small": ToyConfig(name="small", data=WORLDS["small"], max_candidates=3000, warmup_requests=8),
    "medium": ToyConfig(
        name="medium",
        data=WORLDS["medium"],
        model=ToyModelConfig(width=16, retrieval_width=8, layers=2, heads=2, seed=1),
        source_limit=400,
        prerank_keep=150,
        chunk=512,
        max_candidates=3000,
        warmup_requests=8,
    ),
    "timed": ToyConfig(
        name="timed", data=WORLDS["small"], model=ToyModelConfig(encoder="hstu", time_bias=True, seed=2), golden_cases=64, warmup_requests=8
    ),
}
DEBUG = {"debug.allow_all": "true", "rpc.max_explained": "4000"}


@pytest.fixture(scope="session")
def binaries() -> Path:
    return build()


@pytest.fixture(scope="session")
def small_model() -> Path:
    """The model folder of the small world."""
    return toy_model(TOYS["small"])


@pytest.fixture(scope="session")
def medium_model() -> Path:
    return toy_model(TOYS["medium"])


@pytest.fixture(scope="session")
def timed_model() -> Path:
    """The small world for a retriever that reads the times of events."""
    return toy_model(TOYS["timed"])


def toy_model(toy: ToyConfig, *, age: timedelta = timedelta()) -> Path:
    """A model folder with one toy release. It is made again only when the factory's code or packages changed: exporting takes a while."""
    files = sorted(path for path in FACTORY.rglob("*.py") if path.relative_to(FACTORY).parts[0] not in ("cli", "client"))
    made_by = hashlib.sha256(repr((toy, age)).encode())
    for path in (*files, ROOT / "python/requirements.lock"):
        made_by.update(path.read_bytes())
    folder = ROOT / ".tmp/test-models" / made_by.hexdigest()[:16]
    if not (folder / toy.name / "current").exists():
        export_release(toy_plan(toy), folder, created=CREATED + age)
    return folder / toy.name


@pytest.fixture(scope="session")
def small_server(binaries: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(small_model, tmp_path_factory.mktemp("small-server"), DEBUG) as server:
        yield server


@pytest.fixture(scope="session")
def medium_server(binaries: Path, medium_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(medium_model, tmp_path_factory.mktemp("medium-server"), DEBUG) as server:
        yield server


@pytest.fixture(scope="session")
def timed_server(binaries: Path, timed_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(timed_model, tmp_path_factory.mktemp("timed-server"), DEBUG) as server:
        yield server


@pytest.fixture
def good_model(small_model: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may spoil."""
    return Path(shutil.copytree(small_model, tmp_path / "models" / "small"))


@pytest.fixture(scope="session")
def two_releases(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the small release and a newer one of other weights, which is `current`."""
    toy = ToyConfig(name="small", data=WORLDS["small"], model=ToyModelConfig(seed=7), warmup_requests=8)
    both = tmp_path_factory.mktemp("two") / "small"
    for model in (small_model, toy_model(toy, age=timedelta(days=1))):
        shutil.copytree(model, both, dirs_exist_ok=True)
    return both


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The verdict of the parity suite, below the dots."""
    for line in getattr(pytest, "parity_verdicts", []):
        terminalreporter.write_line(line)


def pytest_configure() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
