"""The generator of the Open Inference Protocol counts from the due time, and says when it was the bottleneck; Triton's configuration."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import grpc
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from peers.oip_load import METHOD, read_payloads, run, void_reasons, write_payloads
from peers.triton import config
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb


class Slow(grpc.GenericRpcHandler):
    """Answers one call at a time, each after `seconds`."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self.seen, self.lock = seconds, [], asyncio.Lock()

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        return grpc.unary_unary_rpc_method_handler(self.answer) if details.method == METHOD else None

    async def answer(self, payload: bytes, context: grpc.aio.ServicerContext) -> bytes:
        async with self.lock:
            self.seen.append(payload)
            await asyncio.sleep(self.seconds)
        return payload


def test_a_queue_is_charged_to_the_calls_that_waited() -> None:
    async def measure() -> None:
        handler = Slow(0.02)  # 50 a second
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((handler,))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        idle = await run(f"127.0.0.1:{port}", [b"a", b"b"], rate=5, seconds=1)
        busy = await run(f"127.0.0.1:{port}", [b"a", b"b"], rate=100, seconds=1)
        await server.stop(0)
        assert idle.full == idle.due
        assert {b"a", b"b"} <= set(handler.seen)
        # Twice the capacity for a second leaves calls waiting about as long; a closed loop would have said 20 ms.
        assert busy.p50 > 200
        assert busy.p99 > 600

    asyncio.run(measure())


def test_a_late_or_busy_generator_voids() -> None:
    assert void_reasons(np.full(100, 1.0), 10.0, 0.2) == ()
    assert len(void_reasons(np.full(100, 3.0), 10.0, 0.9)) == 2
    assert void_reasons(np.full(100, 3.0), 50.0, 0.2) == ()


def test_payloads_survive_the_file(tmp_path: Path) -> None:
    write_payloads(tmp_path / "p", [b"one", b"", b"three"])
    assert read_payloads(tmp_path / "p") == [b"one", b"", b"three"]


def test_letters_are_variable_sizes_in_tritons_configuration() -> None:
    graph = pb.Graph(name="g")
    graph.inputs.add(name="x", dtype=pb.INT64, shape=["B", "M"])
    graph.outputs.add(name="y", dtype=pb.FLOAT32, shape=["B", "M", "2"])
    text = config(graph, 3)
    assert '{ name: "x", data_type: TYPE_INT64, dims: [ -1, -1 ] }' in text
    assert '{ name: "y", data_type: TYPE_FP32, dims: [ -1, -1, 2 ] }' in text
    assert "count: 3" in text
