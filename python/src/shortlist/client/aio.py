"""The asyncio client: the methods of `Client` as coroutines. Use one per event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, Unpack

import grpc
from google.protobuf.message import Message

from shortlist.client import convert
from shortlist.client.connection import OPTIONS, Settings, batch_result, metadata_of
from shortlist.client.errors import ServiceError, UnavailableError, service_error
from shortlist.client.retry import Attempts, RetryBudget, RetryPolicy
from shortlist.client.types import Features, History, Recommendation, Request, RequestOptions, StoredUser
from shortlist.gen.shortlist.v1 import ranking_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2_grpc

R = TypeVar("R", bound=Message)


class AsyncClient:
    """Calls a ranking service from asyncio; see `Client` for arguments and errors.

    Example:
        async with AsyncClient("127.0.0.1:7070") as client:
            answer = await client.recommend("user-1", limit=10)
    """

    def __init__(
        self,
        target: str = "127.0.0.1:7070",
        *,
        timeout: float = 2.0,
        token: str = "",
        tenant: str = "",
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        self._target = target
        self._settings = Settings(timeout=timeout, token=token, tenant=tenant, retry=retry or RetryPolicy())
        self._budget = RetryBudget(self._settings.retry.tokens, self._settings.retry.token_ratio)
        self._metadata = metadata_of(self._settings)
        self._channel = (
            grpc.aio.insecure_channel(target, OPTIONS) if credentials is None else grpc.aio.secure_channel(target, credentials, OPTIONS)
        )
        self._ranking: Any = ranking_pb2_grpc.RankingServiceStub(self._channel)  # type: ignore[no-untyped-call]
        self._users: Any = ranking_pb2_grpc.UserServiceStub(self._channel)  # type: ignore[no-untyped-call]

    async def _call(self, method: Callable[..., Any], request: Message, timeout: float | None, *, repeatable: bool = True) -> Any:
        attempts = Attempts(self._settings.retry, self._budget, timeout or self._settings.timeout, repeatable=repeatable)
        while True:
            try:
                response = await method(request, timeout=attempts.remaining(), metadata=self._metadata)
            except grpc.RpcError as error:
                failure = service_error(error)
                delay = attempts.delay_after(failure)
                if delay is None:
                    raise failure from error
                await asyncio.sleep(delay)
            else:
                attempts.succeeded()
                return response

    async def recommend(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """The whole funnel; with `candidates` it skips retrieval."""
        return await self._ask(self._ranking.Recommend, user, options, timeout)

    async def retrieve(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """Stop after retrieval: items in retrieval order with retrieval scores."""
        return await self._ask(self._ranking.Retrieve, user, options, timeout)

    async def rank(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """Order `candidates`, all of them, without a preranking cut."""
        return await self._ask(self._ranking.Rank, user, options, timeout)

    async def _ask(self, method: Callable[..., Any], user: str, options: RequestOptions, timeout: float | None) -> Recommendation:
        return convert.recommendation(await self._call(method, convert.request(user, options), timeout))

    async def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Recommendation | ServiceError]:
        """Several recommend calls in one; a fault of one is its entry in the list and does not fail the others."""
        message = pb.BatchRecommendRequest(requests=[convert.request(one.user, one.options) for one in requests])
        response: pb.BatchRecommendResponse = await self._call(self._ranking.BatchRecommend, message, timeout)
        return [batch_result(one) for one in response.results]

    async def append(self, user: str, history: History, *, features: Features | None = None, timeout: float | None = None) -> int:
        """Add events to the stored user and replace the given features; the number of events now stored. Durable when it returns."""
        message = pb.AppendRequest(user_id=user, events=convert.history(history, "events"))
        for name, value in (features or {}).items():
            message.features[name].CopyFrom(convert.value(value, f"features[{name}]"))
        response: pb.AppendResponse = await self._call(self._users.Append, message, timeout, repeatable=False)
        return response.events_stored

    async def get_user(self, user: str, *, timeout: float | None = None) -> StoredUser:
        """What the store holds of a user. Raises NotFoundError where it holds nothing."""
        response: pb.GetUserResponse = await self._call(self._users.GetUser, pb.GetUserRequest(user_id=user), timeout)
        return convert.stored_user(response.user)

    async def wait_ready(self, timeout: float = 30.0) -> None:
        """Wait until the server accepts connections. Raises UnavailableError."""
        try:
            await asyncio.wait_for(self._channel.channel_ready(), timeout)
        except TimeoutError as error:
            raise UnavailableError(
                f"no server answered at {self._target} within {timeout:g} s", fix="start one with `make serve`"
            ) from error

    async def close(self) -> None:
        await self._channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
