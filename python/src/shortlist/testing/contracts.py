"""Contracts that any backend of the graphs must pass, as asserts for tests."""

from __future__ import annotations

from shortlist.export.backends import Graphs
from shortlist.export.compare import Tolerance
from shortlist.export.laws import check_laws
from shortlist.export.parity import check_parity
from shortlist.export.reader import Bundle
from shortlist.export.reference import ReferenceFunnel
from shortlist.schema import Schema


def assert_independent(graphs: Graphs, schema: Schema, *, seed: int = 0, tolerance: Tolerance | None = None) -> None:
    """No score depends on other candidates, chunks, padding or batch mates; histories can be extended; search is exact."""
    broken = check_laws(graphs, schema, seed=seed, tolerance=tolerance)
    assert not broken, "\n".join(f"{law.law}: {law.graph}, {law.tensor}: {law.message}" for law in broken)


def assert_reproduces(graphs: Graphs, bundle: Bundle) -> None:
    """The backend gives the stored answers of a release to its golden requests."""
    parity = check_parity(ReferenceFunnel(bundle.content, graphs), bundle.golden, bundle.golden_tensors, bundle.tolerance)
    assert not parity.violations, "\n".join(map(str, parity.violations))
