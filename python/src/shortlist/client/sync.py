"""The blocking client. One `Client` per process and server is enough: it is thread safe and keeps one connection."""

from __future__ import annotations

import time
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


class Connection:
    """A channel with a deadline, retries and typed errors on every call; what `Client` and `AdminClient` are made of."""

    def __init__(self, target: str, settings: Settings) -> None:
        self._target, self._settings = target, settings
        self._budget = RetryBudget(settings.retry.tokens, settings.retry.token_ratio)
        self._metadata = metadata_of(settings)
        if settings.credentials is None:
            self.channel = grpc.insecure_channel(target, OPTIONS)
        else:
            self.channel = grpc.secure_channel(target, settings.credentials, OPTIONS)

    def call(self, method: Callable[..., R], request: Message, timeout: float | None, *, repeatable: bool = True) -> R:
        attempts = Attempts(self._settings.retry, self._budget, timeout or self._settings.timeout, repeatable=repeatable)
        while True:
            try:
                response = method(request, timeout=attempts.remaining(), metadata=self._metadata)
            except grpc.RpcError as error:
                failure = service_error(error)
                delay = attempts.delay_after(failure)
                if delay is None:
                    raise failure from error
                time.sleep(delay)
            else:
                attempts.succeeded()
                return response

    def wait_ready(self, timeout: float) -> None:
        try:
            grpc.channel_ready_future(self.channel).result(timeout=timeout)
        except grpc.FutureTimeoutError as error:
            raise UnavailableError(
                f"no server answered at {self._target} within {timeout:g} s", fix="start one with `make serve`"
            ) from error


class Client:
    """Calls a ranking service.

    Example:
        with Client("127.0.0.1:7070") as client:
            answer = client.recommend("user-1", limit=10, context={"query": "red shoes"})
            print(answer.items, answer.scores, answer.coverage.rung)

    `timeout` (seconds) is the deadline of a call with all its retries, unless the call names its own. `token` authorises debug requests.
    `tenant` says for whom the calls are: tenants share a busy server fairly.
    Every method raises the errors of `shortlist.client.errors`.
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
        settings = Settings(timeout=timeout, token=token, tenant=tenant, retry=retry or RetryPolicy(), credentials=credentials)
        self._connection = Connection(target, settings)
        self._ranking: Any = ranking_pb2_grpc.RankingServiceStub(self._connection.channel)  # type: ignore[no-untyped-call]
        self._users: Any = ranking_pb2_grpc.UserServiceStub(self._connection.channel)  # type: ignore[no-untyped-call]

    def recommend(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """The whole funnel; with `candidates` it skips retrieval."""
        return self._ask(self._ranking.Recommend, user, options, timeout)

    def retrieve(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """Stop after retrieval: items in retrieval order with retrieval scores."""
        return self._ask(self._ranking.Retrieve, user, options, timeout)

    def rank(self, user: str = "", *, timeout: float | None = None, **options: Unpack[RequestOptions]) -> Recommendation:
        """Order `candidates`, all of them, without a preranking cut."""
        return self._ask(self._ranking.Rank, user, options, timeout)

    def _ask(
        self, method: Callable[..., pb.RecommendResponse], user: str, options: RequestOptions, timeout: float | None
    ) -> Recommendation:
        return convert.recommendation(self._connection.call(method, convert.request(user, options), timeout))

    def batch(self, requests: Sequence[Request], *, timeout: float | None = None) -> list[Recommendation | ServiceError]:
        """Several recommend calls in one; a fault of one is its entry in the list and does not fail the others."""
        message = pb.BatchRecommendRequest(requests=[convert.request(one.user, one.options) for one in requests])
        response: pb.BatchRecommendResponse = self._connection.call(self._ranking.BatchRecommend, message, timeout)
        return [batch_result(one) for one in response.results]

    def append(self, user: str, history: History, *, features: Features | None = None, timeout: float | None = None) -> int:
        """Add events to the stored user and replace the given features; the number of events now stored. Durable when it returns.

        It is not sent again when the connection breaks in the middle, since the events may have been stored.
        """
        message = pb.AppendRequest(user_id=user, events=convert.history(history, "events"))
        for name, value in (features or {}).items():
            message.features[name].CopyFrom(convert.value(value, f"features[{name}]"))
        response: pb.AppendResponse = self._connection.call(self._users.Append, message, timeout, repeatable=False)
        return response.events_stored

    def get_user(self, user: str, *, timeout: float | None = None) -> StoredUser:
        """What the store holds of a user. Raises NotFoundError where it holds nothing."""
        response: pb.GetUserResponse = self._connection.call(self._users.GetUser, pb.GetUserRequest(user_id=user), timeout)
        return convert.stored_user(response.user)

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Block until the server accepts connections. Raises UnavailableError."""
        self._connection.wait_ready(timeout)

    def close(self) -> None:
        self._connection.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
