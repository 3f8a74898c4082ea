"""What the cross-language suite shares: fresh binaries, releases of the two worlds, and servers of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from cases.worlds import WORLDS
from harness import Server, build

from shortlist.export.release import export_release
from shortlist.testing.toy import CREATED, ToyConfig, ToyModelConfig, toy_plan, write_toy

torch.set_num_threads(1)

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
}
DEBUG = {"debug.allow_all": "true", "rpc.max_explained": "4000"}


@pytest.fixture(scope="session")
def binaries() -> Path:
    return build()


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def small_model(repository: Path) -> Path:
    """The model folder of the small world, or that of $SHORTLIST_MODEL."""
    return write_toy(repository, TOYS["small"]).parent


@pytest.fixture(scope="session")
def medium_model(repository: Path) -> Path:
    return write_toy(repository, TOYS["medium"]).parent


@pytest.fixture(scope="session")
def small_server(binaries: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(small_model, tmp_path_factory.mktemp("small-server"), DEBUG) as server:
        yield server


@pytest.fixture(scope="session")
def medium_server(binaries: Path, medium_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(medium_model, tmp_path_factory.mktemp("medium-server"), DEBUG) as server:
        yield server


@pytest.fixture
def good_model(small_model: Path, tmp_path: Path) -> Path:
    """A copy of the small model that a test may spoil."""
    return Path(shutil.copytree(small_model, tmp_path / "models" / "small"))


@pytest.fixture(scope="session")
def two_releases(small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with the small release and a newer one of other weights, which is `current`."""
    models = tmp_path_factory.mktemp("two")
    shutil.copytree(small_model, models / "small")
    toy = ToyConfig(name="small", data=WORLDS["small"], model=ToyModelConfig(seed=7), warmup_requests=8)
    return export_release(toy_plan(toy), models, created=CREATED + timedelta(days=1)).parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The verdict of the parity suite, below the dots."""
    for line in getattr(pytest, "parity_verdicts", []):
        terminalreporter.write_line(line)


def pytest_configure() -> None:
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
