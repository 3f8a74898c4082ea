"""What operators see: metrics, health and readiness over HTTP, gRPC health, and reflection on the admin port only."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from harness import Server
from shortlist.client import Client, History, InvalidRequestError

LIST_SERVICES = b"\x3a\x00"  # ServerReflectionRequest{list_services: ""}
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


def page(server: Server, path: str) -> str:
    with urllib.request.urlopen(f"http://{server.metrics}{path}", timeout=10) as response:
        text: str = response.read().decode()
    return text


def sample(text: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that carry the labels."""
    found = re.findall(rf"^{name}(?:\{{(.*)\}})? (\S+)$", text, flags=re.M)
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    return sum(float(value) for given, value in found if all(label in given for label in wanted))


def test_metrics_count_calls(small_server: Server) -> None:
    names = re.findall(r"^# TYPE (shortlist_\w+) (\w+)$", page(small_server, "/metrics"), flags=re.M)
    counters = [name for name, kind in names if (kind == "counter" and "call" in name) or name.endswith("requests_total")]
    assert counters, f"a counter of calls is missing among {[name for name, _ in names]}"
    before = page(small_server, "/metrics")
    with Client(small_server.data, timeout=10.0) as client:
        for _ in range(3):
            client.recommend(history=History())
        with pytest.raises(InvalidRequestError):
            client.recommend(history=History(), limit=-1)
    after = page(small_server, "/metrics")
    assert any(sample(after, name) - sample(before, name) >= 4 for name in counters)


def test_health_pages(small_server: Server) -> None:
    assert page(small_server, "/healthz")
    assert page(small_server, "/readyz")


@pytest.mark.parametrize("port", ["data", "admin"])
def test_grpc_health(small_server: Server, port: str) -> None:
    with grpc.insecure_channel(getattr(small_server, port)) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "shortlist.v1.RankingService"):
            state = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=5.0).status
            assert state == health_pb2.HealthCheckResponse.SERVING
        with pytest.raises(grpc.RpcError) as caught:
            health.Check(health_pb2.HealthCheckRequest(service="no.such.Service"), timeout=5.0)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


def test_reflection_is_on_the_admin_port_only(small_server: Server) -> None:
    listed = reflect(small_server.admin)
    for service in (b"shortlist.v1.RankingService", b"shortlist.v1.ReleaseService", b"inference.GRPCInferenceService"):
        assert service in listed
    with pytest.raises(grpc.RpcError) as caught:
        reflect(small_server.data)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_admin_calls_are_not_on_the_data_port(small_server: Server) -> None:
    with grpc.insecure_channel(small_server.data) as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/shortlist.v1.ReleaseService/RollBack")(b"", timeout=5.0)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


def reflect(target: str) -> bytes:
    def one() -> Iterator[bytes]:
        yield LIST_SERVICES

    with grpc.insecure_channel(target) as channel:
        answers: list[bytes] = list(channel.stream_stream(REFLECTION)(one(), timeout=5.0))
    return b"".join(answers)
