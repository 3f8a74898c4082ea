from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[DType]
    INT64: _ClassVar[DType]
    FLOAT32: _ClassVar[DType]
    STRING: _ClassVar[DType]
    BOOL: _ClassVar[DType]

class Op(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OP_UNSPECIFIED: _ClassVar[Op]
    NUMBER: _ClassVar[Op]
    VOCABULARY: _ClassVar[Op]
    VOCABULARY_LIST: _ClassVar[Op]
    HASH: _ClassVar[Op]
    TOKENS: _ClassVar[Op]
    ITEM_ROW: _ClassVar[Op]

class SourceKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SOURCE_KIND_UNSPECIFIED: _ClassVar[SourceKind]
    TWO_TOWER: _ClassVar[SourceKind]
    COOCCURRENCE: _ClassVar[SourceKind]
    POPULAR: _ClassVar[SourceKind]

class IndexKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INDEX_KIND_UNSPECIFIED: _ClassVar[IndexKind]
    INDEX_GRAPH: _ClassVar[IndexKind]
    INDEX_FLOAT32: _ClassVar[IndexKind]
    INDEX_INT8: _ClassVar[IndexKind]
    INDEX_INT4: _ClassVar[IndexKind]
    INDEX_HNSW: _ClassVar[IndexKind]
DTYPE_UNSPECIFIED: DType
INT64: DType
FLOAT32: DType
STRING: DType
BOOL: DType
OP_UNSPECIFIED: Op
NUMBER: Op
VOCABULARY: Op
VOCABULARY_LIST: Op
HASH: Op
TOKENS: Op
ITEM_ROW: Op
SOURCE_KIND_UNSPECIFIED: SourceKind
TWO_TOWER: SourceKind
COOCCURRENCE: SourceKind
POPULAR: SourceKind
INDEX_KIND_UNSPECIFIED: IndexKind
INDEX_GRAPH: IndexKind
INDEX_FLOAT32: IndexKind
INDEX_INT8: IndexKind
INDEX_INT4: IndexKind
INDEX_HNSW: IndexKind

class Manifest(_message.Message):
    __slots__ = ("format_version", "name", "release_id", "created_at", "digest", "files", "schema", "graphs", "runtime", "tolerance", "funnel", "value_formula", "tasks", "cross", "golden", "lineage", "metrics", "gates", "extra_graphs")
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ID_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    SCHEMA_FIELD_NUMBER: _ClassVar[int]
    GRAPHS_FIELD_NUMBER: _ClassVar[int]
    RUNTIME_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    FUNNEL_FIELD_NUMBER: _ClassVar[int]
    VALUE_FORMULA_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CROSS_FIELD_NUMBER: _ClassVar[int]
    GOLDEN_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    METRICS_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    EXTRA_GRAPHS_FIELD_NUMBER: _ClassVar[int]
    format_version: int
    name: str
    release_id: str
    created_at: str
    digest: str
    files: _containers.RepeatedCompositeFieldContainer[File]
    schema: Schema
    graphs: _containers.RepeatedCompositeFieldContainer[Graph]
    runtime: Runtime
    tolerance: Tolerance
    funnel: Funnel
    value_formula: ValueFormula
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    cross: _containers.RepeatedCompositeFieldContainer[CrossColumn]
    golden: Golden
    lineage: Lineage
    metrics: _containers.RepeatedCompositeFieldContainer[Metric]
    gates: _containers.RepeatedCompositeFieldContainer[Gate]
    extra_graphs: _containers.RepeatedCompositeFieldContainer[Graph]
    def __init__(self, format_version: _Optional[int] = ..., name: _Optional[str] = ..., release_id: _Optional[str] = ..., created_at: _Optional[str] = ..., digest: _Optional[str] = ..., files: _Optional[_Iterable[_Union[File, _Mapping]]] = ..., schema: _Optional[_Union[Schema, _Mapping]] = ..., graphs: _Optional[_Iterable[_Union[Graph, _Mapping]]] = ..., runtime: _Optional[_Union[Runtime, _Mapping]] = ..., tolerance: _Optional[_Union[Tolerance, _Mapping]] = ..., funnel: _Optional[_Union[Funnel, _Mapping]] = ..., value_formula: _Optional[_Union[ValueFormula, _Mapping]] = ..., tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ..., cross: _Optional[_Iterable[_Union[CrossColumn, _Mapping]]] = ..., golden: _Optional[_Union[Golden, _Mapping]] = ..., lineage: _Optional[_Union[Lineage, _Mapping]] = ..., metrics: _Optional[_Iterable[_Union[Metric, _Mapping]]] = ..., gates: _Optional[_Iterable[_Union[Gate, _Mapping]]] = ..., extra_graphs: _Optional[_Iterable[_Union[Graph, _Mapping]]] = ...) -> None: ...

class File(_message.Message):
    __slots__ = ("path", "size", "sha256")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    path: str
    size: int
    sha256: str
    def __init__(self, path: _Optional[str] = ..., size: _Optional[int] = ..., sha256: _Optional[str] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "op", "raw", "vocabulary", "buckets", "width", "default_number", "min", "max", "in_history")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OP_FIELD_NUMBER: _ClassVar[int]
    RAW_FIELD_NUMBER: _ClassVar[int]
    VOCABULARY_FIELD_NUMBER: _ClassVar[int]
    BUCKETS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_NUMBER_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    IN_HISTORY_FIELD_NUMBER: _ClassVar[int]
    name: str
    op: Op
    raw: DType
    vocabulary: _containers.RepeatedScalarFieldContainer[str]
    buckets: int
    width: int
    default_number: float
    min: float
    max: float
    in_history: bool
    def __init__(self, name: _Optional[str] = ..., op: _Optional[_Union[Op, str]] = ..., raw: _Optional[_Union[DType, str]] = ..., vocabulary: _Optional[_Iterable[str]] = ..., buckets: _Optional[int] = ..., width: _Optional[int] = ..., default_number: _Optional[float] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., in_history: _Optional[bool] = ...) -> None: ...

class Schema(_message.Message):
    __slots__ = ("item_id", "user", "context", "item", "actions", "history", "event_times")
    ITEM_ID_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIMES_FIELD_NUMBER: _ClassVar[int]
    item_id: DType
    user: _containers.RepeatedCompositeFieldContainer[Column]
    context: _containers.RepeatedCompositeFieldContainer[Column]
    item: _containers.RepeatedCompositeFieldContainer[Column]
    actions: _containers.RepeatedScalarFieldContainer[str]
    history: HistoryWindow
    event_times: bool
    def __init__(self, item_id: _Optional[_Union[DType, str]] = ..., user: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., context: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., item: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., actions: _Optional[_Iterable[str]] = ..., history: _Optional[_Union[HistoryWindow, _Mapping]] = ..., event_times: _Optional[bool] = ...) -> None: ...

class HistoryWindow(_message.Message):
    __slots__ = ("max_events", "step")
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    max_events: int
    step: int
    def __init__(self, max_events: _Optional[int] = ..., step: _Optional[int] = ...) -> None: ...

class TensorSpec(_message.Message):
    __slots__ = ("name", "dtype", "shape")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    SHAPE_FIELD_NUMBER: _ClassVar[int]
    name: str
    dtype: DType
    shape: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., dtype: _Optional[_Union[DType, str]] = ..., shape: _Optional[_Iterable[str]] = ...) -> None: ...

class Graph(_message.Message):
    __slots__ = ("name", "path", "inputs", "outputs", "opset", "ir_version", "nodes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    OPSET_FIELD_NUMBER: _ClassVar[int]
    IR_VERSION_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    inputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    outputs: _containers.RepeatedCompositeFieldContainer[TensorSpec]
    opset: int
    ir_version: int
    nodes: int
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., inputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[TensorSpec, _Mapping]]] = ..., opset: _Optional[int] = ..., ir_version: _Optional[int] = ..., nodes: _Optional[int] = ...) -> None: ...

class Runtime(_message.Message):
    __slots__ = ("onnxruntime", "torch", "onnx", "shortlist", "python")
    ONNXRUNTIME_FIELD_NUMBER: _ClassVar[int]
    TORCH_FIELD_NUMBER: _ClassVar[int]
    ONNX_FIELD_NUMBER: _ClassVar[int]
    SHORTLIST_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    onnxruntime: str
    torch: str
    onnx: str
    shortlist: str
    python: str
    def __init__(self, onnxruntime: _Optional[str] = ..., torch: _Optional[str] = ..., onnx: _Optional[str] = ..., shortlist: _Optional[str] = ..., python: _Optional[str] = ...) -> None: ...

class Tolerance(_message.Message):
    __slots__ = ("absolute", "relative", "reason")
    ABSOLUTE_FIELD_NUMBER: _ClassVar[int]
    RELATIVE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    absolute: float
    relative: float
    reason: str
    def __init__(self, absolute: _Optional[float] = ..., relative: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class Hnsw(_message.Message):
    __slots__ = ("path", "m", "ef_construction", "ef_search", "recall", "recall_at", "queries", "min_recall")
    PATH_FIELD_NUMBER: _ClassVar[int]
    M_FIELD_NUMBER: _ClassVar[int]
    EF_CONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    EF_SEARCH_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    RECALL_AT_FIELD_NUMBER: _ClassVar[int]
    QUERIES_FIELD_NUMBER: _ClassVar[int]
    MIN_RECALL_FIELD_NUMBER: _ClassVar[int]
    path: str
    m: int
    ef_construction: int
    ef_search: int
    recall: float
    recall_at: int
    queries: int
    min_recall: float
    def __init__(self, path: _Optional[str] = ..., m: _Optional[int] = ..., ef_construction: _Optional[int] = ..., ef_search: _Optional[int] = ..., recall: _Optional[float] = ..., recall_at: _Optional[int] = ..., queries: _Optional[int] = ..., min_recall: _Optional[float] = ...) -> None: ...

class Source(_message.Message):
    __slots__ = ("name", "kind", "limit", "path", "history_events", "decay", "segment", "index", "hnsw")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_EVENTS_FIELD_NUMBER: _ClassVar[int]
    DECAY_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    HNSW_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: SourceKind
    limit: int
    path: str
    history_events: int
    decay: float
    segment: str
    index: IndexKind
    hnsw: Hnsw
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[SourceKind, str]] = ..., limit: _Optional[int] = ..., path: _Optional[str] = ..., history_events: _Optional[int] = ..., decay: _Optional[float] = ..., segment: _Optional[str] = ..., index: _Optional[_Union[IndexKind, str]] = ..., hnsw: _Optional[_Union[Hnsw, _Mapping]] = ...) -> None: ...

class Funnel(_message.Message):
    __slots__ = ("sources", "prerank_keep", "default_limit", "max_limit", "max_candidates", "chunk")
    SOURCES_FIELD_NUMBER: _ClassVar[int]
    PRERANK_KEEP_FIELD_NUMBER: _ClassVar[int]
    DEFAULT_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MAX_LIMIT_FIELD_NUMBER: _ClassVar[int]
    MAX_CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    sources: _containers.RepeatedCompositeFieldContainer[Source]
    prerank_keep: int
    default_limit: int
    max_limit: int
    max_candidates: int
    chunk: int
    def __init__(self, sources: _Optional[_Iterable[_Union[Source, _Mapping]]] = ..., prerank_keep: _Optional[int] = ..., default_limit: _Optional[int] = ..., max_limit: _Optional[int] = ..., max_candidates: _Optional[int] = ..., chunk: _Optional[int] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class ValueFormula(_message.Message):
    __slots__ = ("terms",)
    TERMS_FIELD_NUMBER: _ClassVar[int]
    terms: _containers.RepeatedCompositeFieldContainer[ValueTerm]
    def __init__(self, terms: _Optional[_Iterable[_Union[ValueTerm, _Mapping]]] = ...) -> None: ...

class ValueTerm(_message.Message):
    __slots__ = ("task", "weight", "exponent", "item_column")
    TASK_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    EXPONENT_FIELD_NUMBER: _ClassVar[int]
    ITEM_COLUMN_FIELD_NUMBER: _ClassVar[int]
    task: str
    weight: float
    exponent: float
    item_column: str
    def __init__(self, task: _Optional[str] = ..., weight: _Optional[float] = ..., exponent: _Optional[float] = ..., item_column: _Optional[str] = ...) -> None: ...

class CrossColumn(_message.Message):
    __slots__ = ("name", "segment", "path", "prior")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SEGMENT_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    PRIOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    segment: str
    path: str
    prior: float
    def __init__(self, name: _Optional[str] = ..., segment: _Optional[str] = ..., path: _Optional[str] = ..., prior: _Optional[float] = ...) -> None: ...

class Golden(_message.Message):
    __slots__ = ("requests", "tensors", "cases", "warmup")
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    TENSORS_FIELD_NUMBER: _ClassVar[int]
    CASES_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FIELD_NUMBER: _ClassVar[int]
    requests: str
    tensors: str
    cases: int
    warmup: str
    def __init__(self, requests: _Optional[str] = ..., tensors: _Optional[str] = ..., cases: _Optional[int] = ..., warmup: _Optional[str] = ...) -> None: ...

class Lineage(_message.Message):
    __slots__ = ("data", "data_digest", "code_commit", "config_json", "seed")
    DATA_FIELD_NUMBER: _ClassVar[int]
    DATA_DIGEST_FIELD_NUMBER: _ClassVar[int]
    CODE_COMMIT_FIELD_NUMBER: _ClassVar[int]
    CONFIG_JSON_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    data: str
    data_digest: str
    code_commit: str
    config_json: str
    seed: int
    def __init__(self, data: _Optional[str] = ..., data_digest: _Optional[str] = ..., code_commit: _Optional[str] = ..., config_json: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class Metric(_message.Message):
    __slots__ = ("model", "name", "split", "value")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    model: str
    name: str
    split: str
    value: float
    def __init__(self, model: _Optional[str] = ..., name: _Optional[str] = ..., split: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...

class Gate(_message.Message):
    __slots__ = ("name", "passed", "overridden", "detail")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    OVERRIDDEN_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    name: str
    passed: bool
    overridden: bool
    detail: str
    def __init__(self, name: _Optional[str] = ..., passed: _Optional[bool] = ..., overridden: _Optional[bool] = ..., detail: _Optional[str] = ...) -> None: ...
