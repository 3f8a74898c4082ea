"""The stubs in the repository are what proto/ generates today."""

from __future__ import annotations

import filecmp
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUBS = {"GEN_GO": ROOT / "go/gen", "GEN_PY": ROOT / "python/src/shortlist/gen"}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    scratch = tmp_path_factory.mktemp("stubs")
    folders = {variable: scratch / variable for variable in STUBS}
    settings = [f"{variable}={folder}" for variable, folder in folders.items()]
    subprocess.run(["make", "generate", *settings], cwd=ROOT, check=True, capture_output=True, text=True)
    return folders


@pytest.mark.parametrize("variable", STUBS)
def test_stubs_are_fresh(fresh: dict[str, Path], variable: str) -> None:
    wanted, committed = files(fresh[variable]), files(STUBS[variable])
    assert wanted, "nothing was generated"
    stale = sorted(name for name in wanted & committed if not filecmp.cmp(fresh[variable] / name, STUBS[variable] / name, shallow=False))
    fix = "run `make generate` and commit what it writes"
    assert not stale, f"{fix}: {stale}"
    assert wanted == committed, f"{fix}: missing {sorted(wanted - committed)}, left over {sorted(committed - wanted)}"


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
