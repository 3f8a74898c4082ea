"""The Python peer: `RankingService.Recommend` by grpc.aio. The event loop decodes and encodes; a pool of threads answers.

ONNX Runtime and most of PyTorch run without the interpreter's lock, so that the loop stays free while a request is computed. Several
processes, one for each core, listen on ports of their own; the load generator takes them in turn, as a client that balances would.

Example: PYTHONPATH=bench python -m peers.serve --model .tmp/bench/bench --engine ort --port 7080
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

from peers.engines import ENGINES, load
from peers.funnel import PeerFunnel
from shortlist.errors import DataError
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.gen.shortlist.v1 import ranking_pb2_grpc

MAX_MESSAGE = 64 << 20


class Ranking(ranking_pb2_grpc.RankingServiceServicer):
    def __init__(self, funnel: PeerFunnel, pool: ThreadPoolExecutor) -> None:
        self._funnel, self._pool = funnel, pool

    async def Recommend(  # noqa: N802  # gRPC's name
        self, request: wire.RecommendRequest, context: grpc.aio.ServicerContext
    ) -> wire.RecommendResponse:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, self._funnel.answer, request)
        except DataError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    Rank = Recommend  # the candidates in the request decide


async def serve(funnel: PeerFunnel, port: int, threads: int) -> None:
    """Serves on loopback until SIGTERM."""
    with ThreadPoolExecutor(threads) as pool:
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", MAX_MESSAGE), ("grpc.so_reuseport", 0)])
        ranking_pb2_grpc.add_RankingServiceServicer_to_server(Ranking(funnel, pool), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print("ready", flush=True)
        await stop.wait()
        await server.stop(grace=2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="models/<name> folder")
    parser.add_argument("--engine", choices=ENGINES, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1, help="requests computed at once (1)")
    args = parser.parse_args()
    funnel = load(args.model, args.engine)
    gc.collect()
    gc.freeze()  # the release lives as long as the process: the collector need not walk it
    asyncio.run(serve(funnel, args.port, args.threads))


if __name__ == "__main__":
    main()
