"""What callers give and get: plain Python values in, dataclasses of parallel lists out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypedDict

# Ids of one kind: the release's schema says whether items are named by integers or by strings.
Ids = Sequence[int] | Sequence[str]
FeatureValue = int | float | str | Sequence[str]
Features = Mapping[str, FeatureValue]
Priority = Literal["critical", "normal", "batch"]
# Steps of the degradation ladder, best first, as `Coverage.rung` names them.
Rung = Literal["full", "fewer_candidates", "preranker_order", "retrieval_order", "cached", "popular"]


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a user did, oldest first, as parallel lists. No `actions`: all are the schema's first; no `times` (unix seconds): unknown."""

    items: Ids = ()
    actions: Sequence[str] = ()
    times: Sequence[int] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFilter:
    """Keeps an item when its column passes every condition that is set; bounds are inclusive."""

    column: str
    any_of: Sequence[FeatureValue] = ()
    none_of: Sequence[FeatureValue] = ()
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Debug:
    """For authorised callers: explain or force items, override features ("user.<column>"), choose a loaded release.

    `force_rung` answers from that rung of the degradation ladder, for drills and to measure what it costs.
    """

    explain: Ids = ()
    force: Ids = ()
    override_features: Features = field(default_factory=dict)
    release_id: str = ""
    seed: int = 0
    do_not_log: bool = False
    explain_results: bool = False
    force_rung: Rung | None = None


class RequestOptions(TypedDict, total=False):
    """Everything of a request but the user's id; all optional.

    `history` and `features` stand in for what the server stores; `context` is what is known of this request only; `candidates` skips
    retrieval; `time` (unix seconds) counts as now.
    """

    history: History
    features: Features
    context: Features
    limit: int
    candidates: Ids
    filters: Sequence[ColumnFilter]
    keep_seen: bool
    keep_unavailable: bool
    time: int
    priority: Priority
    debug: Debug
    request_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """One request of a batch."""

    user: str = ""
    options: RequestOptions = field(default_factory=lambda: RequestOptions())


@dataclass(frozen=True, slots=True)
class StageReport:
    """What one stage did: items in and out, and its time."""

    stage: str
    items_in: int
    items_out: int
    micros: int


@dataclass(frozen=True, slots=True)
class Degradation:
    stage: str
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """How complete an answer is. `rung` is the step of the degradation ladder; "full" is the best."""

    stages_run: list[str]
    degraded: bool
    rung: str
    degradations: list[Degradation]


@dataclass(frozen=True, slots=True)
class SourceScore:
    source: str
    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """The story of one item: where it was in each stage, and why it left (`drop_reason`; empty for a returned item)."""

    item: int | str
    known: bool
    sources: list[SourceScore]
    cross: list[float]
    prerank_score: float | None
    prerank_rank: int | None
    logits: list[float]
    score: float | None
    rank: int | None
    drop_reason: str


@dataclass(frozen=True, slots=True)
class Recommendation:
    """A ranked answer. `items`, `scores` and each list of `tasks` are parallel, best first."""

    request_id: str
    release_id: str
    items: list[int] | list[str]
    scores: list[float]
    tasks: dict[str, list[float]]
    stages: list[StageReport]
    coverage: Coverage
    dropped: dict[str, int]
    explanations: list[Explanation]
    micros: int


@dataclass(frozen=True, slots=True)
class StoredUser:
    """What the server's store holds of a user."""

    id: str
    items: list[int] | list[str]
    actions: list[str]
    times: list[int]
    features: dict[str, int | float | str | list[str]]


@dataclass(frozen=True, slots=True)
class Release:
    """A release in the server's repository. `state`: available, loaded, active or refused (then `reason` says why)."""

    release_id: str
    state: str
    reason: str
    created_at: str
    digest: str


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """`active` is None while nothing is served; `provider` is what executes graphs: cpu or cuda."""

    active: Release | None
    previous_release_id: str
    provider: str
    items: int


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Replay of the golden requests. `worst_ratio` is the largest |difference| / tolerance; 1 is the limit."""

    passed: bool
    cases: int
    violations: int
    worst_ratio: float
    worst_at: str
    messages: list[str]
