"""What decides whether a release may be published."""

from __future__ import annotations

from collections.abc import Sequence

from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb

# A release that fails one of these is wrong, not weak.
NEVER_OVERRIDDEN = ("laws", "parity", "precision", "reproduction")


def gate(name: str, failures: Sequence[str], detail: str) -> pb.Gate:
    """Passed with `detail` when nothing failed; else failed with the first failures."""
    shown = "; ".join(failures[:10]) + (f"; and {len(failures) - 10} more" if len(failures) > 10 else "")
    return pb.Gate(name=name, passed=not failures, detail=shown or detail)
