from __future__ import annotations

import json
from pathlib import Path

from shortlist.cli.evaluation_report import training_curves


def test_curves_are_the_validation_lines_of_each_stage(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    lines = [{"step": 5, "loss": 1.0}, {"step": 10, "ndcg@10": 0.1}, {"step": 15, "loss": 0.9}, {"step": 20, "ndcg@10": 0.2}]
    for stage in ("two_tower", "preranker", "ranker"):
        shown = lines if stage != "preranker" else lines[:1]  # a stage that was never validated has no curve
        (tmp_path / "logs" / f"{stage}.jsonl").write_text("\n".join(map(json.dumps, shown)))
    curves = training_curves(tmp_path, {"popularity": 0.15})
    assert [dict(curve.lines) for curve in curves] == [{"two_tower": ((10, 20), (0.1, 0.2))}, {"ranker": ((10, 20), (0.1, 0.2))}]
    assert curves[0].baselines == {"popularity": 0.15}
