from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_CRITICAL: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_BATCH: _ClassVar[Priority]

class Rung(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RUNG_UNSPECIFIED: _ClassVar[Rung]
    RUNG_FULL: _ClassVar[Rung]
    RUNG_FEWER_CANDIDATES: _ClassVar[Rung]
    RUNG_PRERANKER_ORDER: _ClassVar[Rung]
    RUNG_RETRIEVAL_ORDER: _ClassVar[Rung]
    RUNG_CACHED: _ClassVar[Rung]
    RUNG_POPULAR: _ClassVar[Rung]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_CRITICAL: Priority
PRIORITY_NORMAL: Priority
PRIORITY_BATCH: Priority
RUNG_UNSPECIFIED: Rung
RUNG_FULL: Rung
RUNG_FEWER_CANDIDATES: Rung
RUNG_PRERANKER_ORDER: Rung
RUNG_RETRIEVAL_ORDER: Rung
RUNG_CACHED: Rung
RUNG_POPULAR: Rung

class ItemIds(_message.Message):
    __slots__ = ("ints", "strings")
    INTS_FIELD_NUMBER: _ClassVar[int]
    STRINGS_FIELD_NUMBER: _ClassVar[int]
    ints: _containers.RepeatedScalarFieldContainer[int]
    strings: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, ints: _Optional[_Iterable[int]] = ..., strings: _Optional[_Iterable[str]] = ...) -> None: ...

class Value(_message.Message):
    __slots__ = ("integer", "number", "text", "texts")
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    integer: int
    number: float
    text: str
    texts: TextList
    def __init__(self, integer: _Optional[int] = ..., number: _Optional[float] = ..., text: _Optional[str] = ..., texts: _Optional[_Union[TextList, _Mapping]] = ...) -> None: ...

class TextList(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, values: _Optional[_Iterable[str]] = ...) -> None: ...

class History(_message.Message):
    __slots__ = ("items", "actions", "times")
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    items: ItemIds
    actions: _containers.RepeatedScalarFieldContainer[str]
    times: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, items: _Optional[_Union[ItemIds, _Mapping]] = ..., actions: _Optional[_Iterable[str]] = ..., times: _Optional[_Iterable[int]] = ...) -> None: ...

class User(_message.Message):
    __slots__ = ("id", "history", "features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    ID_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    id: str
    history: History
    features: _containers.MessageMap[str, Value]
    def __init__(self, id: _Optional[str] = ..., history: _Optional[_Union[History, _Mapping]] = ..., features: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class ColumnFilter(_message.Message):
    __slots__ = ("column", "any_of", "none_of", "min", "max")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    ANY_OF_FIELD_NUMBER: _ClassVar[int]
    NONE_OF_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    column: str
    any_of: _containers.RepeatedCompositeFieldContainer[Value]
    none_of: _containers.RepeatedCompositeFieldContainer[Value]
    min: float
    max: float
    def __init__(self, column: _Optional[str] = ..., any_of: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., none_of: _Optional[_Iterable[_Union[Value, _Mapping]]] = ..., min: _Optional[float] = ..., max: _Optional[float] = ...) -> None: ...

class Filters(_message.Message):
    __slots__ = ("keep_seen", "keep_unavailable", "columns")
    KEEP_SEEN_FIELD_NUMBER: _ClassVar[int]
    KEEP_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    keep_seen: bool
    keep_unavailable: bool
    columns: _containers.RepeatedCompositeFieldContainer[ColumnFilter]
    def __init__(self, keep_seen: _Optional[bool] = ..., keep_unavailable: _Optional[bool] = ..., columns: _Optional[_Iterable[_Union[ColumnFilter, _Mapping]]] = ...) -> None: ...

class Debug(_message.Message):
    __slots__ = ("explain", "force", "override_features", "release_id", "seed", "do_not_log", "explain_results", "force_rung")
    class OverrideFeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_FEATURES_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DO_NOT_LOG_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_RESULTS_FIELD_NUMBER: _ClassVar[int]
    FORCE_RUNG_FIELD_NUMBER: _ClassVar[int]
    explain: ItemIds
    force: ItemIds
    override_features: _containers.MessageMap[str, Value]
    release_id: str
    seed: int
    do_not_log: bool
    explain_results: bool
    force_rung: Rung
    def __init__(self, explain: _Optional[_Union[ItemIds, _Mapping]] = ..., force: _Optional[_Union[ItemIds, _Mapping]] = ..., override_features: _Optional[_Mapping[str, Value]] = ..., release_id: _Optional[str] = ..., seed: _Optional[int] = ..., do_not_log: _Optional[bool] = ..., explain_results: _Optional[bool] = ..., force_rung: _Optional[_Union[Rung, str]] = ...) -> None: ...

class RecommendRequest(_message.Message):
    __slots__ = ("request_id", "user", "context", "limit", "filters", "candidates", "time", "priority", "debug")
    class ContextEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    DEBUG_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    user: User
    context: _containers.MessageMap[str, Value]
    limit: int
    filters: Filters
    candidates: ItemIds
    time: int
    priority: Priority
    debug: Debug
    def __init__(self, request_id: _Optional[str] = ..., user: _Optional[_Union[User, _Mapping]] = ..., context: _Optional[_Mapping[str, Value]] = ..., limit: _Optional[int] = ..., filters: _Optional[_Union[Filters, _Mapping]] = ..., candidates: _Optional[_Union[ItemIds, _Mapping]] = ..., time: _Optional[int] = ..., priority: _Optional[_Union[Priority, str]] = ..., debug: _Optional[_Union[Debug, _Mapping]] = ...) -> None: ...

class TaskPredictions(_message.Message):
    __slots__ = ("task", "predictions")
    TASK_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    task: str
    predictions: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, task: _Optional[str] = ..., predictions: _Optional[_Iterable[float]] = ...) -> None: ...

class StageReport(_message.Message):
    __slots__ = ("stage", "items_in", "items_out", "micros")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    ITEMS_IN_FIELD_NUMBER: _ClassVar[int]
    ITEMS_OUT_FIELD_NUMBER: _ClassVar[int]
    MICROS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    items_in: int
    items_out: int
    micros: int
    def __init__(self, stage: _Optional[str] = ..., items_in: _Optional[int] = ..., items_out: _Optional[int] = ..., micros: _Optional[int] = ...) -> None: ...

class Degradation(_message.Message):
    __slots__ = ("stage", "reason", "detail")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    stage: str
    reason: str
    detail: str
    def __init__(self, stage: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class Coverage(_message.Message):
    __slots__ = ("stages_run", "degraded", "rung", "degradations")
    STAGES_RUN_FIELD_NUMBER: _ClassVar[int]
    DEGRADED_FIELD_NUMBER: _ClassVar[int]
    RUNG_FIELD_NUMBER: _ClassVar[int]
    DEGRADATIONS_FIELD_NUMBER: _ClassVar[int]
    stages_run: _containers.RepeatedScalarFieldContainer[str]
    degraded: bool
    rung: Rung
    degradations: _containers.RepeatedCompositeFieldContainer[Degradation]
    def __init__(self, stages_run: _Optional[_Iterable[str]] = ..., degraded: _Optional[bool] = ..., rung: _Optional[_Union[Rung, str]] = ..., degradations: _Optional[_Iterable[_Union[Degradation, _Mapping]]] = ...) -> None: ...

class Dropped(_message.Message):
    __slots__ = ("reason", "count")
    REASON_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    reason: str
    count: int
    def __init__(self, reason: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class SourceScore(_message.Message):
    __slots__ = ("source", "rank", "score")
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    source: str
    rank: int
    score: float
    def __init__(self, source: _Optional[str] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("item", "known", "sources", "prerank_score", "prerank_rank", "logits", "score", "rank", "drop_reason", "cross")
    ITEM_FIELD_NUMBER: _ClassVar[int]
    KNOWN_FIELD_NUMBER: _ClassVar[int]
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PRERANK_SCORE_FIELD_NUMBER: _ClassVar[int]
    PRERANK_RANK_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    DROP_REASON_FIELD_NUMBER: _ClassVar[int]
    CROSS_FIELD_NUMBER: _ClassVar[int]
    item: ItemIds
    known: bool
    sources: _containers.RepeatedCompositeFieldContainer[SourceScore]
    prerank_score: float
    prerank_rank: int
    logits: _containers.RepeatedScalarFieldContainer[float]
    score: float
    rank: int
    drop_reason: str
    cross: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, item: _Optional[_Union[ItemIds, _Mapping]] = ..., known: _Optional[bool] = ..., sources: _Optional[_Iterable[_Union[SourceScore, _Mapping]]] = ..., prerank_score: _Optional[float] = ..., prerank_rank: _Optional[int] = ..., logits: _Optional[_Iterable[float]] = ..., score: _Optional[float] = ..., rank: _Optional[int] = ..., drop_reason: _Optional[str] = ..., cross: _Optional[_Iterable[float]] = ...) -> None: ...

class RecommendResponse(_message.Message):
    __slots__ = ("request_id", "release_id", "items", "scores", "tasks", "stages", "coverage", "dropped", "explanations", "micros")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    EXPLANATIONS_FIELD_NUMBER: _ClassVar[int]
    MICROS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    release_id: str
    items: ItemIds
    scores: _containers.RepeatedScalarFieldContainer[float]
    tasks: _containers.RepeatedCompositeFieldContainer[TaskPredictions]
    stages: _containers.RepeatedCompositeFieldContainer[StageReport]
    coverage: Coverage
    dropped: _containers.RepeatedCompositeFieldContainer[Dropped]
    explanations: _containers.RepeatedCompositeFieldContainer[Explanation]
    micros: int
    def __init__(self, request_id: _Optional[str] = ..., release_id: _Optional[str] = ..., items: _Optional[_Union[ItemIds, _Mapping]] = ..., scores: _Optional[_Iterable[float]] = ..., tasks: _Optional[_Iterable[_Union[TaskPredictions, _Mapping]]] = ..., stages: _Optional[_Iterable[_Union[StageReport, _Mapping]]] = ..., coverage: _Optional[_Union[Coverage, _Mapping]] = ..., dropped: _Optional[_Iterable[_Union[Dropped, _Mapping]]] = ..., explanations: _Optional[_Iterable[_Union[Explanation, _Mapping]]] = ..., micros: _Optional[int] = ...) -> None: ...

class BatchRecommendRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[RecommendRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[RecommendRequest, _Mapping]]] = ...) -> None: ...

class BatchRecommendResult(_message.Message):
    __slots__ = ("response", "error")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    response: RecommendResponse
    error: BatchError
    def __init__(self, response: _Optional[_Union[RecommendResponse, _Mapping]] = ..., error: _Optional[_Union[BatchError, _Mapping]] = ...) -> None: ...

class BatchError(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: int
    message: str
    def __init__(self, code: _Optional[int] = ..., message: _Optional[str] = ...) -> None: ...

class BatchRecommendResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[BatchRecommendResult]
    def __init__(self, results: _Optional[_Iterable[_Union[BatchRecommendResult, _Mapping]]] = ...) -> None: ...

class AppendRequest(_message.Message):
    __slots__ = ("user_id", "events", "features")
    class FeaturesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Value
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Value, _Mapping]] = ...) -> None: ...
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    events: History
    features: _containers.MessageMap[str, Value]
    def __init__(self, user_id: _Optional[str] = ..., events: _Optional[_Union[History, _Mapping]] = ..., features: _Optional[_Mapping[str, Value]] = ...) -> None: ...

class AppendResponse(_message.Message):
    __slots__ = ("events_stored",)
    EVENTS_STORED_FIELD_NUMBER: _ClassVar[int]
    events_stored: int
    def __init__(self, events_stored: _Optional[int] = ...) -> None: ...

class GetUserRequest(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: str
    def __init__(self, user_id: _Optional[str] = ...) -> None: ...

class GetUserResponse(_message.Message):
    __slots__ = ("user",)
    USER_FIELD_NUMBER: _ClassVar[int]
    user: User
    def __init__(self, user: _Optional[_Union[User, _Mapping]] = ...) -> None: ...
