"""The rules find what the evidence says, and are honest about what was not measured."""

from __future__ import annotations

import pytest

from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.diagnosis import leaks, statistics, variants
from shortlist.evaluation.diagnosis.rules import RULES, Gain, Rule, Share, judge

YES, NO = Estimate(0.9, 0.8, 0.95), Estimate(0.9, -0.1, 1.9)


def all_measured(estimate: Estimate) -> dict[str, Estimate]:
    names = [evidence.name for rule in RULES for evidence in rule.evidence]
    return {f"{name}gender" if name.endswith((".", " ")) else name: estimate for name in names if not name.startswith(variants.BY_USER)} | {
        f"{variants.BY_USER}gender over {variants.POPULAR}": estimate
    }


def test_all_evidence_finds_everything_and_noise_nothing() -> None:
    assert {finding.state for finding in judge(all_measured(YES))} == {"found"}
    assert {finding.state for finding in judge(all_measured(NO))} == {"not found"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.property)
def test_each_evidence_is_needed_unless_one_is_enough(rule: Rule) -> None:
    for evidence in rule.evidence:
        but_one = all_measured(YES)
        name = next(name for name in but_one if name.startswith(evidence.variant if isinstance(evidence, Gain) else evidence.name)
                    and (not isinstance(evidence, Gain) or name.endswith(f" over {evidence.over}")))  # fmt: skip
        but_one[name] = NO
        (finding,) = judge(but_one, (rule,))
        assert (finding.state == "found") is rule.one_is_enough
        del but_one[name]
        (finding,) = judge(but_one, (rule,))
        spared = rule.one_is_enough or (isinstance(evidence, Gain) and evidence.where_measured)
        assert finding.state == ("found" if spared else "not measurable")


def test_nothing_measured_is_said() -> None:
    assert {finding.state for finding in judge({})} == {"not measurable"}
    assert all(rule.needs and rule.advice and rule.meaning for rule in RULES)


def test_the_whole_interval_must_lie_above_the_threshold() -> None:
    rule = Rule(property="x", meaning="m", evidence=(Share("share", above=0.5),), needs="n", advice="a")
    for low, state in ((0.5, "not found"), (0.51, "found")):
        (finding,) = judge({"share": Estimate(0.9, low, 1.0)}, (rule,))
        assert finding.state == state
        assert finding.measured[0].holds is (state == "found")


def test_one_of_many_columns_is_enough() -> None:
    measured = {f"{leaks.TOLD_BY}user.a": NO, f"{leaks.TOLD_BY}user.b": YES, statistics.FIRST_RANK: NO}
    finding = next(finding for finding in judge(measured) if finding.rule.property == "leak")
    assert finding.state == "found"
    assert [one.holds for one in finding.measured] == [False, True, False]
