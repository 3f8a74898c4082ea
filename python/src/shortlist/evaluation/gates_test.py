from __future__ import annotations

import numpy as np
import pytest

from shortlist.errors import ConfigError
from shortlist.evaluation.full_ranking import Ranked, evaluate_ranked, rank_targets
from shortlist.evaluation.gates import quality_gates
from shortlist.evaluation.result import Result
from shortlist.models.cooccurrence import Cooccurrence
from shortlist.models.popularity import Popularity
from shortlist.testing.logs import leave_one_out, random_log


def results() -> dict[str, Result]:
    log = random_log(users=80)
    split = leave_one_out(log)
    ranked = {
        "two_tower": Ranked(split.test, np.full(80, 1)),
        "popularity": rank_targets(log, Popularity.fit(log, split), split.test),
        "cooccurrence": rank_targets(log, Cooccurrence.fit(log, split), split.test),
    }
    return {name: evaluate_ranked(name, log, split, order, baseline=name != "two_tower") for name, order in ranked.items()}


def test_a_perfect_model_passes_and_a_baseline_does_not_beat_itself() -> None:
    found = results()
    baselines = [found["popularity"], found["cooccurrence"]]
    gates = quality_gates(found["two_tower"], baselines, "ndcg@10")
    assert [(gate.name, gate.passed) for gate in gates] == [("two_tower beats popularity", True), ("two_tower beats cooccurrence", True)]
    assert "ndcg@10 1.0000 against" in gates[0].detail
    assert "95% interval +" in gates[0].detail
    gates = quality_gates(found["popularity"], baselines, "ndcg@10")
    assert [gate.passed for gate in gates] == [False, False]  # a tie is no win


def test_a_gate_that_checks_nothing_is_refused() -> None:
    found = results()
    with pytest.raises(ConfigError, match="without baselines"):
        quality_gates(found["two_tower"], [], "ndcg@10")
    with pytest.raises(ConfigError, match="two_tower has no metric 'recall@7' per request"):
        quality_gates(found["two_tower"], [found["popularity"]], "recall@7")
