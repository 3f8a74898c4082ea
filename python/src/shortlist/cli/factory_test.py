"""The commands of the factory, run as a user runs them, on the smallest data that they take."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

from shortlist.cli.export import hnsw_config, weights
from shortlist.cli.main import app
from shortlist.cli.train import overrides
from shortlist.errors import ConfigError
from shortlist.export.hnsw import HnswConfig

TOY = Path(__file__).resolve().parents[4] / "models/toy"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["shortlist", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        app()
    return int(caught.value.code or 0)


def test_makes_saves_and_describes_a_marketplace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, copy = tmp_path / "market", tmp_path / "copy"
    sizes = ("--users", 30, "--items", 100, "--events", 300, "--days", 10)
    assert run(monkeypatch, "data", "marketplace", "--out", folder, *sizes) == 0
    assert "30 users, 100 items" in capsys.readouterr().out
    assert run(monkeypatch, "data", "convert", folder, "--out", copy) == 0
    capsys.readouterr()
    assert run(monkeypatch, "data", "describe", copy, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["users"], facts["items"]) == (30, 100)
    assert run(monkeypatch, "data", "marketplace", "--out", folder, *sizes) == 1
    assert "not overwritten" in capsys.readouterr().err


def test_verify_tells_a_good_release_from_a_spoilt_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(shutil.copytree(TOY, tmp_path / "toy"))
    assert run(monkeypatch, "verify", model, "--json") == 0
    assert json.loads(capsys.readouterr().out)["passed"] is True
    graph = model / (model / "current").read_text().strip() / "graphs/ranker.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    assert run(monkeypatch, "verify", model) == 1
    assert "graphs/ranker.onnx was altered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("data", "describe", "no-such-data"), "is no data set"),
        (("train", "no-such-recipe"), "there is no recipe"),
        (("evaluate", "no-such-run"), "is no run directory"),
        (("export", "no-such-run"), "is no run directory"),
    ],
)
def test_faults_are_explained(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    assert run(monkeypatch, *arguments) == 1
    error = capsys.readouterr().err
    assert says in error
    assert "Traceback" not in error


def test_pairs_are_read_or_refused() -> None:
    assert overrides(["ranker.optimisation.epochs=3", "name=a=b"]) == {"ranker.optimisation.epochs": "3", "name": "a=b"}
    assert weights(["click=1", "purchase=20.5"]) == {"click": 1.0, "purchase": 20.5}
    with pytest.raises(ConfigError, match="--set 'epochs' is not a pair"):
        overrides(["epochs"])
    with pytest.raises(ConfigError, match="there must be a number"):
        weights(["purchase=much"])


def test_settings_of_the_command_line() -> None:
    assert hnsw_config(["ef_search=300", "min_recall=0.9"]) == HnswConfig(ef_search=300, min_recall=0.9)
    for wrong in ("ef=3", "m", "m=x", "m=1.5"):
        with pytest.raises(ConfigError, match="--hnsw"):
            hnsw_config([wrong])
