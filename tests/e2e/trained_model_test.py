"""A trained release proves itself on the service: SHORTLIST_MODEL=models/marketplace make test-cross."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness import ROOT, Server
from shortlist.client import AdminClient

MODEL = os.environ.get("SHORTLIST_MODEL", "")


@pytest.mark.skipif(not MODEL, reason="SHORTLIST_MODEL names no model folder; the toy releases of the other tests are proved without it")
def test_golden_requests_are_reproduced(binaries: Path, tmp_path: Path) -> None:
    with Server(ROOT / MODEL, tmp_path) as server, AdminClient(server.admin) as admin:
        test = admin.self_test()
    assert test.passed, test.messages
    assert test.cases >= 16
