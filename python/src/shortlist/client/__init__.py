"""Call a ranking service from Python. Needs grpcio and protobuf only: the factory (torch, numpy) is not imported."""

from __future__ import annotations

from shortlist.client.admin import AdminClient
from shortlist.client.aio import AsyncClient
from shortlist.client.errors import (
    DeadlineError,
    FieldViolation,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    ServerError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from shortlist.client.retry import RetryPolicy
from shortlist.client.sync import Client
from shortlist.client.types import (
    ColumnFilter,
    Coverage,
    Debug,
    Explanation,
    History,
    Recommendation,
    Release,
    Request,
    RequestOptions,
    SelfTest,
    ServerStatus,
    StageReport,
    StoredUser,
)

__all__ = [
    "AdminClient",
    "AsyncClient",
    "Client",
    "ColumnFilter",
    "Coverage",
    "DeadlineError",
    "Debug",
    "Explanation",
    "FieldViolation",
    "History",
    "InvalidRequestError",
    "NotAllowedError",
    "NotFoundError",
    "NotReadyError",
    "OverloadedError",
    "Recommendation",
    "Release",
    "Request",
    "RequestOptions",
    "RetryPolicy",
    "SelfTest",
    "ServerError",
    "ServerStatus",
    "ServiceError",
    "StageReport",
    "StoredUser",
    "TooLargeError",
    "UnavailableError",
]
