"""The baselines on ml-1m: leave-one-out, full ranking. A model that does not pass these numbers has learned nothing worth serving."""

from __future__ import annotations

from pathlib import Path

import pytest

from shortlist.data.encode import encode
from shortlist.data.movielens import load_ml_1m
from shortlist.data.splits import leave_one_out
from shortlist.evaluation.full_ranking import rank_targets, ranking_values
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity

DATA = Path(__file__).resolve().parents[5] / "shared" / "data" / "ml-1m"


@pytest.mark.skipif(not DATA.is_dir(), reason=f"needs ml-1m (real data is not distributed; looked in {DATA})")
def test_baselines_are_as_strong_as_when_they_were_tuned() -> None:
    log = encode(load_ml_1m(DATA))
    split = leave_one_out(log)
    expected = ((Popularity.fit(log, split), (0.0369, 0.0180, 0.2252)), (Cooccurrence.fit(log, split), (0.2831, 0.1632, 0.6139)))
    for model, numbers in expected:
        values = ranking_values(rank_targets(log, model, split.test).ranks, (10, 100))
        assert [values[name].mean() for name in ("hr@10", "ndcg@10", "recall@100")] == pytest.approx(numbers, abs=1e-3)
