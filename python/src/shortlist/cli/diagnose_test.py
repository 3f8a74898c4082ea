"""The command, from a saved data set to a report and a recipe that training takes."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shortlist.cli.main import app
from shortlist.data.store import save
from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.diagnosis.diagnose import Diagnosis
from shortlist.evaluation.diagnosis.recipe import recipe_text
from shortlist.evaluation.diagnosis.report import to_html
from shortlist.evaluation.diagnosis.rules import RULES, Finding, Measured, State
from shortlist.testing.planted import planted_market
from shortlist.training.recipe import load_recipe


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["shortlist", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        app()
    return int(caught.value.code or 0)


def made_up(state: State, **changes: object) -> Diagnosis:
    """A diagnosis in which every rule has the same state."""
    estimate = Estimate(0.6, 0.55, 0.65)
    diagnosis = Diagnosis(
        data='my "shop" <b>\\',
        split="time",
        targets=500,
        facts={"data": "1 user"},
        variants={"co-occurrence": {"ndcg@10": estimate, "hr@10": estimate}},
        measurements={},
        findings=tuple(Finding(rule, state, (Measured('told by """x\\', estimate, 0.5, True),)) for rule in RULES),
        sizes={"users": 1000, "items": 400, "events": 20_000, "median history": 9},
        user_columns=("gender",),
        item_columns=("id",),
        notes=("A note.",),
        histories=np.arange(10),
        pauses=np.arange(10),
    )
    return replace(diagnosis, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", ["found", "not found", "not measurable"])
@pytest.mark.parametrize("events", [20_000, 300_000, 5_000_000])
def test_every_recipe_is_one_that_training_loads(state: State, events: int, tmp_path: Path) -> None:
    diagnosis = made_up(state, sizes={"users": 1000, "items": 400, "events": events, "median history": 9})
    path = tmp_path / "recipe.py"
    path.write_text(recipe_text(diagnosis, "FOLDER with 'quotes'"), encoding="utf-8")
    config = load_recipe(str(path))
    assert (config.name, config.data, config.split) == ("my-shop-b", "FOLDER with 'quotes'", "time")
    assert config.two_tower.in_batch_negatives == (512 if state == "found" else 256)
    assert ("STOP" in path.read_text(encoding="utf-8")) is (state == "found")


def test_the_page_escapes_what_data_is_called() -> None:
    page = to_html(made_up("found"), "spec")
    assert "shop&#34; &lt;b&gt;" in page
    assert "<b>" not in page
    assert page.count("<svg") == 5


def test_diagnoses_a_saved_plain_market(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    save(planted_market("plain", seed=11), tmp_path / "market")
    assert run(monkeypatch, "diagnose", tmp_path / "market", "--out", tmp_path / "out", "--jobs", 1) == 0
    said = capsys.readouterr().out
    assert "Nothing but tastes and popularity was found" in said
    assert f"shortlist train {tmp_path}/out/plain.py" in said
    document = json.loads((tmp_path / "out/diagnosis.json").read_text(encoding="utf-8"))
    assert document["found"] == []
    assert (tmp_path / "out/diagnosis.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert load_recipe(str(tmp_path / "out/plain.py")).data == str(tmp_path / "market")


def test_too_little_data_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "diagnose", "marketplace:users=40,items=100,events=400,days=10,logged_requests=0", "--out", tmp_path / "x") == 1
    error = capsys.readouterr().err
    assert "too small to tell anything" in error
    assert "fix:" in error
    assert not (tmp_path / "x").exists()
