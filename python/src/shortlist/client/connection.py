"""What the blocking, the asyncio and the admin client share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import grpc

from shortlist.client import convert
from shortlist.client.errors import ServiceError, service_error
from shortlist.client.retry import RetryPolicy
from shortlist.client.types import Recommendation
from shortlist.gen.shortlist.v1 import ranking_pb2 as pb

# A batch of large answers passes grpc's default of 4 MiB. Retries are this client's own (retry.py), never the channel's.
OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.enable_retries", 0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`timeout` in seconds over all attempts of a call; no `credentials`: plain text; `tenant` is for whom the calls are."""

    timeout: float = 2.0
    token: str = ""
    tenant: str = ""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    credentials: grpc.ChannelCredentials | None = None


def metadata_of(settings: Settings) -> tuple[tuple[str, str], ...]:
    """What goes with every call. Raises InvalidRequestError where a tenant's name cannot be sent."""
    sent = []
    if settings.token:
        sent.append(("authorization", f"Bearer {settings.token}"))
    if settings.tenant:
        sent.append(("shortlist-tenant", convert.tenant(settings.tenant)))
    return tuple(sent)


class _BatchFault(grpc.RpcError):
    """A fault of one entry of a batch, in the shape of a failed call."""

    def __init__(self, error: pb.BatchError) -> None:
        codes = {code.value[0]: code for code in grpc.StatusCode}
        self._code, self._message = codes.get(error.code, grpc.StatusCode.UNKNOWN), error.message

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._message

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()


def batch_result(result: pb.BatchRecommendResult) -> Recommendation | ServiceError:
    if result.WhichOneof("result") == "response":
        return convert.recommendation(result.response)
    return service_error(_BatchFault(result.error))
