"""What a call to the service can raise: one type per way to react, each also the standard type a caller would expect.

The details of `google.rpc` that the server attaches are parsed here: field violations, retry delay, reason.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from shortlist.errors import ShortlistError

DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One fault of a request: the field's path on the wire, and what is wrong with it."""

    field: str
    description: str


class ServiceError(ShortlistError):
    """Root of the errors of a call. `code` is the gRPC code's name, `reason` one of errors.proto (empty: none was sent)."""

    def __init__(
        self,
        what: str,
        *,
        code: str = "UNKNOWN",
        reason: str = "",
        fields: Iterable[FieldViolation] = (),
        retry_after: float | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(what, fix=fix)
        self.code, self.reason = code, reason
        self.fields: tuple[FieldViolation, ...] = tuple(fields)
        # Seconds that the server asks to wait; None where it gave no delay.
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.code, self.reason, self.fields, self.retry_after, self.fix))


def _rebuild(
    kind: type[ServiceError], what: str, code: str, reason: str, fields: tuple[FieldViolation, ...], retry_after: float | None, fix: str
) -> ServiceError:
    return kind(what, code=code, reason=reason, fields=fields, retry_after=retry_after, fix=fix)


class InvalidRequestError(ServiceError, ValueError):
    """The request is at fault; `fields` says where. Sending it again cannot help."""


class TooLargeError(InvalidRequestError):
    """The request or its answer is over a size limit. Send less."""


class OverloadedError(ServiceError, ConnectionError):
    """The server sheds load. Wait `retry_after` seconds before the next call."""


class UnavailableError(ServiceError, ConnectionError):
    """No server could be reached, or it is draining. Another one may answer."""


class NotReadyError(ServiceError, RuntimeError):
    """No release is active, or this release cannot be loaded here."""


class DeadlineError(ServiceError, TimeoutError):
    """The deadline passed before an answer. Raise `timeout`, or ask for less."""


class NotFoundError(ServiceError, LookupError):
    """The server holds no such user or release."""


class NotAllowedError(ServiceError, PermissionError):
    """Debug or admin call without the right token."""


class ServerError(ServiceError, RuntimeError):
    """The server failed at a valid request. Report it with the request id."""


_BY_CODE: dict[grpc.StatusCode, type[ServiceError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidRequestError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
    grpc.StatusCode.RESOURCE_EXHAUSTED: OverloadedError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.FAILED_PRECONDITION: NotReadyError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.PERMISSION_DENIED: NotAllowedError,
    grpc.StatusCode.UNAUTHENTICATED: NotAllowedError,
}


def service_error(error: grpc.RpcError) -> ServiceError:
    """The typed error of a failed call. Details that do not parse are left out: the code alone decides the type."""
    call: Any = error  # grpc's errors are calls too, which its published types do not say
    code: grpc.StatusCode = call.code()
    reason, fields, retry_after = "", [], None
    for detail in _details(call.trailing_metadata()):
        if isinstance(detail, error_details_pb2.ErrorInfo):
            reason = detail.reason
        elif isinstance(detail, error_details_pb2.BadRequest):
            fields += [FieldViolation(violation.field, violation.description) for violation in detail.field_violations]
        elif isinstance(detail, error_details_pb2.RetryInfo):
            retry_after = detail.retry_delay.seconds + detail.retry_delay.nanos / 1e9
    kind = _BY_CODE.get(code, ServerError)
    # A size limit may use the same code as shedding, but waiting does not help: there is no delay with it.
    if reason.endswith("TOO_LARGE") or (kind is OverloadedError and retry_after is None):
        kind = TooLargeError
    elif reason.endswith("_NOT_FOUND"):
        kind = NotFoundError
    # Without a reason of the server's own, the failure is the connection's.
    fix = "check the address, and that shortlistd runs there (make serve)" if kind is UnavailableError and not reason else ""
    return kind(
        _message(code, call.details() or "", fields), fix=fix, code=code.name, reason=reason, fields=fields, retry_after=retry_after
    )


def _message(code: grpc.StatusCode, text: str, fields: list[FieldViolation]) -> str:
    unsaid = [f"{violation.field}: {violation.description}" for violation in fields if violation.description not in text]
    return "; ".join([text or code.name, *unsaid])


def _details(metadata: Iterable[tuple[str, str | bytes]] | None) -> Iterable[object]:
    for key, value in metadata or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
            for packed in status.details:
                for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
                    if packed.Is(kind.DESCRIPTOR):
                        detail = kind()
                        packed.Unpack(detail)
                        yield detail
        except DecodeError:
            return
