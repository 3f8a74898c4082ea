"""Faulty requests, as data: each is refused with the right code, names the field, states a fix, and harms nobody else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format

from harness import Server
from shortlist.client.errors import service_error
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

PATH = Path(__file__).resolve().parents[1] / "cases/bad_requests.jsonl"
CASES = [json.loads(line) for line in PATH.read_text().splitlines()]
MESSAGES = {"Append": wire.AppendRequest, "GetUser": wire.GetUserRequest, "BatchRecommend": wire.BatchRecommendRequest}


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 40
    assert len({case["name"] for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=[case["name"].replace(" ", "-") for case in CASES])
def test_is_refused_and_the_server_answers_on(small_server: Server, case: dict[str, Any]) -> None:
    with grpc.insecure_channel(small_server.data) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            call(channel, case["method"], payload(case))
        error = caught.value
        assert error.code().name == case["code"], error.details()
        told = f"{error.details()} {service_error(error)}"
        assert not any(leak in told for leak in ("goroutine", ".go:", "/tmp/")), f"a message gives the server away: {told}"
        if "field" in case:
            fields = service_error(error).fields
            assert any(one.field.startswith(case["field"]) for one in fields), f"fields named: {[one.field for one in fields]}"
            assert all("; " in one.description for one in fields), f"problem; fix: {[one.description for one in fields]}"
        answer = wire.RecommendResponse.FromString(call(channel, "Recommend", wire.RecommendRequest(limit=3).SerializeToString()))
    assert len(answer.items.strings) == 3
    assert answer.coverage.rung == wire.RUNG_FULL


def call(channel: grpc.Channel, method: str, body: bytes) -> bytes:
    service = "UserService" if method in ("Append", "GetUser") else "RankingService"
    answer: bytes = channel.unary_unary(f"/shortlist.v1.{service}/{method}")(body, timeout=10.0)
    return answer


def payload(case: dict[str, Any]) -> bytes:
    """The bytes on the wire: `raw` as they are, `request` as protobuf JSON."""
    if "raw" in case:
        return bytes.fromhex(case["raw"])
    message = MESSAGES.get(case["method"], wire.RecommendRequest)()
    json_format.ParseDict(expand(case["request"]), message)
    return message.SerializeToString()


def expand(value: Any) -> Any:
    """{"$repeat": x, "count": n} is a list, {"$text": n} a text of n bytes, {"$map": x, "count": n} an object."""
    if isinstance(value, list):
        return [expand(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "$repeat" in value:
        return [expand(value["$repeat"])] * value["count"]
    if "$text" in value:
        return "x" * value["$text"]
    if "$map" in value:
        return {f"column_{number}": value["$map"] for number in range(value["count"])}
    return {name: expand(one) for name, one in value.items()}
