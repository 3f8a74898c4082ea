"""The command line: instant help, errors without stack traces, and a ranking read as a table or as JSON."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from shortlist.cli.main import app
from shortlist.cli.rank import columns, ids, ranking_table, seconds, summary
from shortlist.client import Coverage, Recommendation, StageReport
from shortlist.errors import ConfigError

HEAVY = ("torch", "numpy", "polars", "onnx", "onnxruntime", "grpc")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["shortlist", *arguments])
    with pytest.raises(SystemExit) as caught:
        app()
    code = caught.value.code
    return code if isinstance(code, int) else 1


def test_help_imports_nothing_heavy() -> None:
    program = f"""
import sys
sys.argv = ["shortlist", "--help"]
from shortlist.cli.main import app
try:
    app()
except SystemExit:
    pass
print("heavy:", [name for name in {HEAVY} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert "heavy: []" in done.stdout, done.stdout + done.stderr


def test_every_command_shows_an_example() -> None:
    import typer

    from shortlist.cli.commands import commands

    def walk(group: object, path: str) -> list[str]:
        silent = []
        for name, command in getattr(group, "commands", {}).items():
            if hasattr(command, "commands"):
                silent += walk(command, f"{path} {name}")
            elif f"Example: {path} {name}" not in (command.help or ""):
                silent.append(f"{path} {name}")
        return silent

    group = typer.main.get_command(commands)
    assert getattr(group, "commands", {}), "no command is registered"
    assert walk(group, "shortlist") == []


def test_errors_say_what_why_and_fix(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "rank", "--context", "query") == 1
    error = capsys.readouterr().err
    assert "--context 'query' is not a pair" in error
    assert "why:" in error
    assert "fix:" in error
    assert "Traceback" not in error


def test_unreachable_server_is_explained(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "rank", "--target", "127.0.0.1:1", "--user", "u") == 1
    assert "make serve" in capsys.readouterr().err


def test_debug_raises_the_error_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["shortlist", "rank", "--context", "query", "--debug"])
    with pytest.raises(ConfigError):
        app()


def test_ids_times_and_columns_are_read_as_meant() -> None:
    assert ids("1, 2,-3", string_ids=False) == [1, 2, -3]
    assert ids("1,b", string_ids=False) == ["1", "b"]
    assert ids("1,2", string_ids=True) == ["1", "2"]
    assert seconds("1750000000, 1750000060") == [1_750_000_000, 1_750_000_060]
    with pytest.raises(ConfigError, match="'yesterday' is no time"):
        seconds("1,yesterday")
    assert columns(["age=3", "rate=0.5", "query=red = shoes", 'tags=["a"]', "zip=true"], "--context") == {
        "age": 3,
        "rate": 0.5,
        "query": "red = shoes",
        "tags": ["a"],
        "zip": "true",
    }


def test_table_and_summary_show_the_answer() -> None:
    answer = Recommendation(
        request_id="q",
        release_id="r1",
        items=[7, 5],
        scores=[2.0, 1.0],
        tasks={"click": [0.5, 0.25]},
        stages=[StageReport("ranking", 9, 2, 1500)],
        coverage=Coverage(["ranking"], False, "full", []),
        dropped={"seen": 3},
        explanations=[],
        micros=2000,
    )
    table = ranking_table(answer, {7: "seven"})
    assert [column.header for column in table.columns] == ["#", "item", "title", "score", "click"]
    assert [list(column.cells) for column in table.columns][2] == ["seven", ""]
    assert summary(answer)[0] == "stages    ranking 9:2 (1.5 ms)"
    assert "3 seen" in summary(answer)[1]


def test_output_is_one_json_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from shortlist.cli.output import print_json

    print_json(StageReport("ranking", 9, 2, 1500))
    assert json.loads(capsys.readouterr().out) == {"stage": "ranking", "items_in": 9, "items_out": 2, "micros": 1500}
