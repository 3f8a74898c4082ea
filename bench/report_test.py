"""The parts of a report that are computed from text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import report

OUTPUT = """
BenchmarkRank/m=1000-2  270  1.071 cpu-service/graphs  28.00 graphs-ms/op  61 service-allocs/op  30.00 service-ms/op  0.671 service/graphs
BenchmarkRank/m=1000-2  270  1.037 cpu-service/graphs  27.00 graphs-ms/op  52 service-allocs/op  28.00 service-ms/op  0.637 service/graphs
BenchmarkRank/m=1000-2  270  1.038 cpu-service/graphs  26.00 graphs-ms/op  52 service-allocs/op  27.00 service-ms/op  0.638 service/graphs
BenchmarkRank/m=3000-2  270  1.038 cpu-service/graphs  80.00 graphs-ms/op  60 service-allocs/op  50.00 service-ms/op  0.625 service/graphs
"""


def test_service_time_is_the_median_of_the_rounds() -> None:
    text = "\n".join(report.service_section(OUTPUT, "go test").lines)
    assert "| 1,000 | 28.000 ms | 27.000 ms | 0.638 | 1.038 (at most 1.05: kept) | 1.037..1.071 | 52 |" in text
    assert "| 3,000 | 50.000 ms | 80.000 ms | 0.625 (at most 0.6: NOT KEPT) | 1.038 | 1.038..1.038 | 60 |" in text


def test_a_broken_promise_is_said() -> None:
    text = "\n".join(report.service_section(OUTPUT.replace("1.03", "1.23"), "go test").lines)
    assert "1.237 (at most 1.05: NOT KEPT)" in text


def test_a_skipped_benchmark_makes_no_report() -> None:
    with pytest.raises(SystemExit, match="was it skipped"):
        report.service_section("PASS\nok", "go test")


def test_reports_name_no_folder_of_the_machine(tmp_path: Path) -> None:
    soak = {
        "requests": 20000, "answered": 19999, "seconds": 100.0, "settings": {"candidates": "1..3000", "address": "x"},
        "growth_mb": 3.25, "limit_mb": 50, "first_mb": 100.0, "last_mb": 103.25, "peak_mb": 110.0, "passed": True,
        "codes": {"OK": 19999}, "rungs": {"full": 19999}, "seed": 1, "void_reasons": None,
        "command": [f"{report.ROOT}/.tmp/bin/shortlist-load", "-bundle", f"{report.ROOT}/.tmp/bench/bench"],
    }  # fmt: skip
    path = tmp_path / "memory.json"
    path.write_text(json.dumps(soak))
    written = report.write_report(tmp_path, "rank", [("commit", "abc")], [report.memory_section(path)]).read_text()
    assert str(report.ROOT) not in written
    assert "`.tmp/bin/shortlist-load -bundle .tmp/bench/bench`" in written
    assert "| 3.2 MB | 50 MB | 100.0 MB |" in written
    assert "candidates 1..3000" in written
    assert "| commit | abc |" in written


def test_the_hardware_word_fits_a_file_name() -> None:
    assert set(report.hardware_word()) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
