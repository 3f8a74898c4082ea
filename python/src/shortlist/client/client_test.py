"""Both clients against a fake server in this process: what is sent, what comes back, and how faults are mapped."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures

import grpc
import pytest
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from shortlist.client import (
    AsyncClient,
    Client,
    ColumnFilter,
    DeadlineError,
    Debug,
    History,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    Recommendation,
    Request,
    RetryPolicy,
    ServerError,
    ServiceError,
    TooLargeError,
    UnavailableError,
)
from shortlist.gen.shortlist.v1 import ranking_pb2 as pb
from shortlist.gen.shortlist.v1 import ranking_pb2_grpc

Answer = Callable[[pb.RecommendRequest, grpc.ServicerContext], pb.RecommendResponse]


class FakeService(ranking_pb2_grpc.RankingServiceServicer, ranking_pb2_grpc.UserServiceServicer):
    """Counts calls and answers with whatever function a test sets."""

    def __init__(self) -> None:
        self.calls = 0
        self.lock = threading.Lock()
        self.requests: list[pb.RecommendRequest] = []
        self.metadata: dict[str, str] = {}
        self.answer: Answer = lambda request, _: pb.RecommendResponse(request_id=request.request_id, release_id="r1")

    def Recommend(self, request: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:  # noqa: N802
        with self.lock:
            self.calls += 1
            self.requests.append(request)
            self.metadata = dict(context.invocation_metadata())
        return self.answer(request, context)

    Retrieve = Rank = Recommend

    def BatchRecommend(self, request: pb.BatchRecommendRequest, context: grpc.ServicerContext) -> pb.BatchRecommendResponse:  # noqa: N802
        fault = pb.BatchRecommendResult(error=pb.BatchError(code=3, message="limit: is negative"))
        return pb.BatchRecommendResponse(results=[pb.BatchRecommendResult(response=pb.RecommendResponse(release_id="r1")), fault])

    def Append(self, request: pb.AppendRequest, context: grpc.ServicerContext) -> pb.AppendResponse:  # noqa: N802
        self.answer(pb.RecommendRequest(), context)
        with self.lock:
            self.calls += 1
        return pb.AppendResponse(events_stored=len(request.events.items.ints))

    def GetUser(self, request: pb.GetUserRequest, context: grpc.ServicerContext) -> pb.GetUserResponse:  # noqa: N802
        user = pb.User(id=request.user_id, history=pb.History(items=pb.ItemIds(ints=[3]), actions=["click"], times=[5]))
        user.features["cities"].texts.values.append("Oslo")
        user.features["age"].integer = 30
        return pb.GetUserResponse(user=user)


@pytest.fixture
def service() -> FakeService:
    return FakeService()


@pytest.fixture
def target(service: FakeService) -> Iterator[str]:
    server = grpc.server(futures.ThreadPoolExecutor(8))
    ranking_pb2_grpc.add_RankingServiceServicer_to_server(service, server)
    ranking_pb2_grpc.add_UserServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


def refuse(code: grpc.StatusCode, message: str, *details: object) -> Answer:
    """An answer that fails every call with google.rpc details, as the Go server attaches them."""
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = Packed()
        packed.Pack(detail)  # type: ignore[arg-type]
        status.details.append(packed)

    def answer(_: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:
        context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
        context.abort(code, message)
        raise AssertionError("abort raises")

    return answer


def reason(name: str) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=name, domain="shortlist")


def retry_after(seconds: float) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=Duration(nanos=int(seconds * 1e9)))


def test_request_carries_every_option(service: FakeService, target: str) -> None:
    with Client(target, token="secret", tenant="search") as client:
        client.recommend(
            "u1",
            history=History(items=["a", "b"], actions=["click", "buy"], times=[1, 2]),
            features={"age": 3, "rate": 0.5, "tags": ["x", "y"]},
            context={"query": "красные туфли"},
            limit=7,
            candidates=["a"],
            filters=[ColumnFilter(column="price", minimum=1.0, any_of=[2])],
            keep_seen=True,
            time=99,
            priority="batch",
            debug=Debug(explain=["a"], override_features={"user.age": 1}, release_id="r", force_rung="retrieval_order"),
            request_id="q",
        )
    sent = service.requests[0]
    assert list(sent.user.history.items.strings) == ["a", "b"]
    assert sent.user.features["age"].integer == 3
    assert sent.user.features["rate"].number == 0.5
    assert list(sent.user.features["tags"].texts.values) == ["x", "y"]
    assert sent.context["query"].text == "красные туфли"
    assert (sent.limit, sent.time, sent.priority, sent.filters.keep_seen) == (7, 99, pb.PRIORITY_BATCH, True)
    assert sent.filters.columns[0].min == 1.0
    assert not sent.filters.columns[0].HasField("max")
    assert sent.debug.override_features["user.age"].integer == 1
    assert sent.debug.force_rung == pb.RUNG_RETRIEVAL_ORDER
    assert service.metadata["authorization"] == "Bearer secret"
    assert service.metadata["shortlist-tenant"] == "search"


def test_async_client_names_its_tenant(service: FakeService, target: str) -> None:
    async def ask() -> None:
        async with AsyncClient(target, tenant="mail") as client:
            await client.recommend("u1")

    asyncio.run(ask())
    assert service.metadata["shortlist-tenant"] == "mail"


@pytest.mark.parametrize("tenant", ["поиск", "a\nb", "x" * 65])
def test_tenant_that_metadata_cannot_carry_is_refused(tenant: str) -> None:
    with pytest.raises(InvalidRequestError, match="tenant: is"):
        Client("127.0.0.1:1", tenant=tenant)


def test_unknown_rung_is_refused(target: str) -> None:
    with Client(target) as client, pytest.raises(InvalidRequestError, match=r"debug\.force_rung: is 'best'"):
        client.recommend("u1", debug=Debug(force_rung="best"))  # type: ignore[arg-type]


def test_answer_is_parallel_lists(service: FakeService, target: str) -> None:
    service.answer = lambda request, _: pb.RecommendResponse(
        items=pb.ItemIds(ints=[5, 4]),
        scores=[2.0, 1.0],
        tasks=[pb.TaskPredictions(task="click", predictions=[0.5, 0.25])],
        stages=[pb.StageReport(stage="ranking", items_in=9, items_out=2, micros=11)],
        coverage=pb.Coverage(stages_run=["ranking"], rung=pb.RUNG_PRERANKER_ORDER, degraded=True),
        dropped=[pb.Dropped(reason="seen", count=2)],
        explanations=[pb.Explanation(item=pb.ItemIds(ints=[5]), known=True, prerank_score=0.0, rank=0)],
    )
    with Client(target) as client:
        answer = client.rank("u", candidates=[4, 5])
    assert (answer.items, answer.scores, answer.tasks) == ([5, 4], [2.0, 1.0], {"click": [0.5, 0.25]})
    assert answer.coverage.rung == "preranker_order"
    assert answer.dropped == {"seen": 2}
    explanation = answer.explanations[0]
    assert (explanation.item, explanation.prerank_score, explanation.prerank_rank, explanation.rank) == (5, 0.0, None, 0)


def test_users_and_batch(target: str) -> None:
    with Client(target) as client:
        assert client.append("u", History(items=[1, 2], times=[1, 2])) == 2
        stored = client.get_user("u")
        first, second = client.batch([Request("a"), Request("b", {"limit": -1})])
    assert (stored.items, stored.features) == ([3], {"cities": ["Oslo"], "age": 30})
    assert isinstance(first, Recommendation)
    assert isinstance(second, InvalidRequestError)


def test_asyncio_client_answers_and_retries(service: FakeService, target: str) -> None:
    plain = service.answer

    def flaky(request: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:
        return plain(request, context) if service.calls > 1 else refuse(grpc.StatusCode.UNAVAILABLE, "draining")(request, context)

    service.answer = flaky

    async def run() -> tuple[Recommendation, int, list[Recommendation | ServiceError]]:
        async with AsyncClient(target) as client:
            return await client.recommend("u"), await client.append("u", History(items=[1])), await client.batch([Request(), Request()])

    answer, stored, batch = asyncio.run(run())
    assert (answer.release_id, stored, len(batch)) == ("r1", 1, 2)


@pytest.mark.parametrize(
    ("answer", "kind", "standard"),
    [
        (refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "shed", retry_after(0.001), reason("OVERLOADED")), OverloadedError, ConnectionError),
        (refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "message is larger than 1048576 bytes"), TooLargeError, ValueError),
        (refuse(grpc.StatusCode.UNAVAILABLE, "draining", reason("DRAINING")), UnavailableError, ConnectionError),
        (refuse(grpc.StatusCode.FAILED_PRECONDITION, "no release is active", reason("NOT_READY")), NotReadyError, RuntimeError),
        (refuse(grpc.StatusCode.FAILED_PRECONDITION, "no such release", reason("RELEASE_NOT_FOUND")), NotFoundError, LookupError),
        (refuse(grpc.StatusCode.NOT_FOUND, "no such user", reason("USER_NOT_FOUND")), NotFoundError, LookupError),
        (refuse(grpc.StatusCode.DEADLINE_EXCEEDED, "too late", reason("DEADLINE")), DeadlineError, TimeoutError),
        (refuse(grpc.StatusCode.PERMISSION_DENIED, "debug needs a token", reason("DEBUG_NOT_ALLOWED")), NotAllowedError, PermissionError),
        (refuse(grpc.StatusCode.INTERNAL, "broken"), ServerError, RuntimeError),
    ],
)
def test_codes_become_types(service: FakeService, target: str, answer: Answer, kind: type[ServiceError], standard: type[Exception]) -> None:
    service.answer = answer
    with Client(target) as client, pytest.raises(kind) as caught:
        client.recommend("u")
    assert isinstance(caught.value, standard)
    assert isinstance(pickle.loads(pickle.dumps(caught.value)), kind)


def test_field_violations_are_named(service: FakeService, target: str) -> None:
    bad = error_details_pb2.BadRequest()
    bad.field_violations.add(field="context[price]", description="is NaN; send a finite number")
    service.answer = refuse(grpc.StatusCode.INVALID_ARGUMENT, "1 fault", bad, reason("NOT_FINITE"))
    with Client(target) as client, pytest.raises(InvalidRequestError, match=r"context\[price\]: is NaN") as caught:
        client.recommend("u")
    assert [one.field for one in caught.value.fields] == ["context[price]"]
    assert caught.value.reason == "NOT_FINITE"
    assert service.calls == 1, "a fault of the request must not be sent again"


def test_undecodable_details_do_not_hide_the_code(service: FakeService, target: str) -> None:
    def answer(_: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "limit is negative")
        raise AssertionError("abort raises")

    service.answer = answer
    with Client(target) as client, pytest.raises(InvalidRequestError, match="limit is negative"):
        client.recommend("u")


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"candidates": [1, "a"]}, "candidates"),
        ({"candidates": "abc"}, "candidates"),
        ({"context": {"flag": True}}, r"context\[flag\]"),
        ({"context": {"when": b"x"}}, r"context\[when\]"),
        ({"features": {"tags": [1]}}, r"user.features\[tags\]"),
        ({"limit": "ten"}, "request"),
        ({"priority": "urgent"}, "priority"),
        ({"limits": 3}, "limits"),
    ],
)
def test_faults_seen_before_sending(options: dict[str, object], field: str) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidRequestError, match=field):
        client.recommend("u", **options)  # type: ignore[misc]


def test_deadline_covers_all_attempts(service: FakeService, target: str) -> None:
    def slow(request: pb.RecommendRequest, _: grpc.ServicerContext) -> pb.RecommendResponse:
        time.sleep(0.5)
        return pb.RecommendResponse()

    service.answer = slow
    start = time.monotonic()
    with Client(target, timeout=0.1) as client, pytest.raises(DeadlineError):
        client.recommend("u")
    assert time.monotonic() - start < 0.4
    assert service.calls == 1


def test_server_delay_is_kept_and_never_passes_the_deadline(service: FakeService, target: str) -> None:
    service.answer = refuse(grpc.StatusCode.RESOURCE_EXHAUSTED, "shed", retry_after(0.15))
    start = time.monotonic()
    with Client(target, timeout=0.4, retry=RetryPolicy(max_attempts=2)) as client, pytest.raises(OverloadedError) as caught:
        client.recommend("u")
    assert time.monotonic() - start >= 0.15
    assert service.calls == 2
    assert caught.value.retry_after == pytest.approx(0.15)
    with Client(target, timeout=0.1) as client, pytest.raises(OverloadedError):
        client.recommend("u")
    assert service.calls == 3, "a wait longer than the deadline is not begun"


def test_outage_amplifies_calls_by_a_tenth_at_most(service: FakeService, target: str) -> None:
    """100 calls into an outage; without the budget three attempts each would make 300."""
    service.answer = refuse(grpc.StatusCode.UNAVAILABLE, "down")
    with Client(target, retry=RetryPolicy(max_attempts=3, first_delay=0.0001)) as client:
        for _ in range(100):
            with pytest.raises(UnavailableError):
                client.recommend("u")
    assert 100 < service.calls <= 110


def test_partial_outage_amplifies_by_a_tenth_at_most(service: FakeService, target: str) -> None:
    """Two of three calls fail for a while; successes refill the budget by a tenth of a retry each."""
    down = refuse(grpc.StatusCode.UNAVAILABLE, "down")

    def answer(request: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:
        return pb.RecommendResponse() if service.calls % 3 == 0 else down(request, context)

    service.answer = answer
    with Client(target, retry=RetryPolicy(first_delay=0.0001)) as client, futures.ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client.recommend, "u") for _ in range(200)]
        failed = sum(isinstance(one.exception(), UnavailableError) for one in answers)
    assert 0 < failed < 200
    assert service.calls <= 220


def test_append_is_not_repeated_after_a_broken_connection(service: FakeService, target: str) -> None:
    counted = {"calls": 0}

    def count(code: grpc.StatusCode, *details: object) -> Answer:
        inner = refuse(code, "down", *details)

        def answer(request: pb.RecommendRequest, context: grpc.ServicerContext) -> pb.RecommendResponse:
            counted["calls"] += 1
            return inner(request, context)

        return answer

    with Client(target) as client:
        service.answer = count(grpc.StatusCode.UNAVAILABLE)
        with pytest.raises(UnavailableError):
            client.append("u", History(items=[1]))
        assert counted["calls"] == 1
        # With a reason of the server's own, nothing was stored: it is safe to repeat.
        service.answer = count(grpc.StatusCode.UNAVAILABLE, reason("DRAINING"))
        with pytest.raises(UnavailableError):
            client.append("u", History(items=[1]))
        assert counted["calls"] > 2


def test_no_server_is_unavailable() -> None:
    with Client("127.0.0.1:1") as client:
        with pytest.raises(UnavailableError, match="no server answered"):
            client.wait_ready(0.2)
        with pytest.raises(UnavailableError):
            client.recommend("u")


def test_imports_without_the_factory() -> None:
    """Everything the factory installs is blocked; the client must not notice."""
    program = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "numpy", "onnx", "onnxruntime", "polars", "pyarrow", "scipy", "safetensors", "typer", "rich"}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Block())
import shortlist.client
shortlist.client.Client("127.0.0.1:1").close()
print("imported")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "imported", done.stderr
