"""The plain loop learns something on a tiny marketplace."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


def test_the_plain_loop_beats_chance(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location("plain_loop", Path(__file__).with_name("plain_loop.py"))
    assert spec is not None
    assert spec.loader is not None
    plain_loop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(plain_loop)
    monkeypatch.setattr(plain_loop, "EPOCHS", 6)
    monkeypatch.setattr(plain_loop, "USERS", 8)
    hit_rate = plain_loop.main("marketplace:users=150,items=200,events=4000,logged_requests=0")
    assert hit_rate > 2 * 10 / 200
    assert "epoch 6" in capsys.readouterr().out
