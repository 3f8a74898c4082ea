"""What each property of data shows itself by, and what follows from it. The table `RULES` is the whole knowledge of the diagnosis."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from shortlist.evaluation.bootstrap import Estimate
from shortlist.evaluation.diagnosis import leaks, statistics, variants

State = Literal["found", "not found", "not measurable"]


@dataclass(frozen=True, slots=True)
class Gain:
    """What `variant` gains in NDCG@10 over `over` on the same targets, as a share of what `over` has.

    `where_measured`: it is asked only where both variants exist, to rule out another explanation.
    """

    variant: str
    over: str
    above: float
    where_measured: bool = False

    @property
    def name(self) -> str:
        return f"{self.variant} over {self.over}"


@dataclass(frozen=True, slots=True)
class Share:
    """A share of targets, events or users."""

    name: str
    above: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A property is found when all of `evidence` holds (one of it where `one_is_enough`).

    An evidence holds when its whole interval lies above its threshold. A name that ends in "." or a blank stands for all measurements that
    begin with it, of which one must hold.
    """

    property: str
    meaning: str
    evidence: tuple[Gain | Share, ...]
    one_is_enough: bool = False
    needs: str  # what data without a measurement lacks
    advice: str


RULES: tuple[Rule, ...] = (
    Rule(
        property="leak",
        meaning="the data tells what it should not know",
        evidence=(
            Share(leaks.DOUBLED_EVENTS, above=0.01),
            Share(leaks.DOUBLED_USERS, above=0.01),
            Share(leaks.SAME_INSTANT, above=0.01),
            Share(leaks.TOLD_BY, above=0.5),
            Share(statistics.FIRST_RANK, above=0.7),
        ),
        one_is_enough=True,
        needs="events",
        advice="Stop and check before training: remove doubled rows and users, and columns that are filled in after the event.",
    ),
    Rule(
        property="popularity_bias",
        meaning="popular items crowd out what fits the user",
        evidence=(Share(statistics.HEAD, above=0.35), Gain(variants.TAIL, variants.PLAIN, above=0.05)),
        needs="events",
        advice="Train with in-batch negatives and their LogQ correction, and watch novelty and coverage beside relevance.",
    ),
    Rule(
        property="trends",
        meaning="what is popular changes",
        evidence=(Gain(variants.LATELY, variants.POPULAR, above=0.1),),
        needs="times that are a common clock",
        advice="Split by time, train often, weigh recent events more, and give the models time columns and recent counts.",
    ),
    Rule(
        property="cold_items",
        meaning="many targets are items that training hardly knows, and their content tells who wants them",
        evidence=(Share(statistics.COLD, above=0.05), Gain(variants.CONTENT, variants.PLAIN, above=0.05)),
        needs="item columns beside the id",
        advice="Feed item content into the item tower, and retrieve from a source of new items.",
    ),
    Rule(
        property="order",
        meaning="what comes next depends on what came just before, in that direction",
        evidence=(Gain(variants.FORWARD, variants.PLAIN, above=0.0), Gain(variants.FORWARD, variants.BOTH_WAYS, above=0.0)),
        needs="events",
        advice="Train a sequence model; the order of events carries what a bag of items loses.",
    ),
    Rule(
        property="drift",
        meaning="what a user wants moves on: the events just around tell more than the whole history, in either direction",
        evidence=(
            Gain(variants.BOTH_WAYS, variants.PLAIN, above=0.0),
            Gain(variants.BOTH_WAYS, variants.FORWARD, above=0.0),  # or it is order
            Gain(variants.BOTH_WAYS, variants.VISITS, above=0.0, where_measured=True),  # or it is sessions
            Gain(variants.BOTH_WAYS, variants.RECENT_PAIRS, above=0.0, where_measured=True),  # or it is trends
        ),
        needs="events",
        advice="Train a sequence model; let recent events weigh more than old ones, and retrieve by the newest.",
    ),
    Rule(
        property="repeats",
        meaning="users take the same items again",
        evidence=(Share(statistics.SEEN_BEFORE, above=0.1),),
        needs="events",
        advice="Do not filter seen items when serving (`keep_seen`); measure repeats too: offline metrics count first meetings alone.",
    ),
    Rule(
        property="sessions",
        meaning="events come in visits, and what a visit is about tells more than its neighbours in time",
        evidence=(Share(statistics.IN_VISIT, above=0.1), Gain(variants.VISITS, variants.SHIFTED, above=0.05)),
        needs="times that are a common clock",
        advice="Give the models the visit: time since the last event, and events of this visit apart from older ones.",
    ),
    Rule(
        property="user_segments",
        meaning="a user column alone tells much of what is wanted",
        evidence=(Gain(variants.BY_USER, variants.POPULAR, above=0.1),),
        needs="user columns of few values",
        advice="Feed the user columns into the query tower, and count crosses of them with items for the preranker.",
    ),
    Rule(
        property="short_histories",
        meaning="most targets come after very few events",
        evidence=(Share(statistics.SHORT, above=0.5),),
        needs="events",
        advice="Keep the sequence model small and regularised, lean on user and context columns, and judge the slices of newcomers.",
    ),
)


@dataclass(frozen=True, slots=True)
class Measured:
    """One evidence as measured; `holds` when its interval lies above `above`."""

    name: str
    estimate: Estimate
    above: float
    holds: bool


@dataclass(frozen=True, slots=True)
class Finding:
    rule: Rule
    state: State
    measured: tuple[Measured, ...]


def judge(measurements: Mapping[str, Estimate], rules: tuple[Rule, ...] = RULES) -> list[Finding]:
    """Findings in the order of the rules. `measurements` has relative gains and shares by the names of evidence."""
    return [_judge(rule, measurements) for rule in rules]


def _judge(rule: Rule, measurements: Mapping[str, Estimate]) -> Finding:
    measured: list[Measured] = []
    held: list[bool] = []
    missing = False
    for evidence in rule.evidence:
        names = _matching(evidence, measurements)
        found = [Measured(name, measurements[name], evidence.above, _above(measurements[name], evidence.above)) for name in names]
        measured += found
        if found:
            held.append(any(one.holds for one in found))
        elif not (isinstance(evidence, Gain) and evidence.where_measured):
            missing = True
    if not held or (missing and not rule.one_is_enough):
        return Finding(rule, "not measurable", tuple(measured))
    return Finding(rule, "found" if (any(held) if rule.one_is_enough else all(held)) else "not found", tuple(measured))


def _matching(evidence: Gain | Share, measurements: Mapping[str, Estimate]) -> list[str]:
    """The measurements that an evidence asks for."""
    if isinstance(evidence, Gain):
        if not evidence.variant.endswith("."):
            return [name for name in measurements if name == evidence.name]
        return [name for name in measurements if name.startswith(evidence.variant) and name.endswith(f" over {evidence.over}")]
    if evidence.name.endswith(" "):
        return [name for name in measurements if name.startswith(evidence.name)]
    return [name for name in measurements if name == evidence.name]


def _above(estimate: Estimate, threshold: float) -> bool:
    return estimate.low is not None and estimate.low > threshold
