"""The toy release, made once per session: exporting seven graphs takes seconds."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from shortlist.export import layout, reader, release, writer
from shortlist.export.backends import OrtGraphs, TorchGraphs
from shortlist.export.reference import ReferenceFunnel
from shortlist.testing.toy import toy_plan

TRACKED = Path(__file__).parents[4] / "models" / "toy"


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def plan() -> release.ReleasePlan:
    return toy_plan()


@pytest.fixture(scope="session")
def draft(plan: release.ReleasePlan) -> writer.Draft:
    """The toy release, exported and proved now."""
    return release.prove(plan)


@pytest.fixture(scope="session")
def tracked() -> reader.Bundle:
    """The toy release of the repository."""
    return reader.read(layout.current(TRACKED))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the tracked toy release that a test may damage."""
    source = layout.current(TRACKED)
    return Path(shutil.copytree(source, tmp_path / "toy" / source.name))


@pytest.fixture(scope="session")
def torch_funnel(plan: release.ReleasePlan) -> ReferenceFunnel:
    return ReferenceFunnel(plan.content, TorchGraphs(plan.models))


@pytest.fixture(scope="session")
def ort_funnel(tracked: reader.Bundle) -> ReferenceFunnel:
    return ReferenceFunnel(tracked.content, OrtGraphs(tracked.graphs))
