"""An open-loop generator for the Open Inference Protocol: serialised calls leave when they are due, and latency counts from then.

It runs in a process of its own, reads its orders as JSON from standard input and writes a `Step` to standard output. Answers are not
decoded: `oip_part.py` compared them before.
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import grpc
import numpy as np

from peers.search import Step
from peers.servers import Served

METHOD = "/inference.GRPCInferenceService/ModelInfer"
CONNECTIONS = 2
DEADLINE = 1.0  # seconds from the due time
BUSY = 0.8  # share of a core past which the generator is the bottleneck
LATE_MS, LATE_SHARE = 2.0, 0.1  # of the p99, as shortlist-load has it
FEWEST_CALLS = 200
OPTIONS = (("grpc.max_receive_message_length", 64 << 20), ("grpc.use_local_subchannel_pool", 1))


def hold(served: Served, payloads: Path, rate: float, seconds: float) -> Step:
    """Holds a rate from a process of its own, pinned as the server asks."""
    seconds = max(seconds, FEWEST_CALLS / rate)
    orders = {"address": served.addresses[0], "payloads": str(payloads), "rate": rate, "seconds": seconds}
    command = [*served.generator, sys.executable, "-m", "peers.oip_load"]
    done = subprocess.run(command, input=json.dumps(orders), capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench-peers: the generator failed on {served.name}:\n{done.stderr}")
    return Step(**json.loads(done.stdout))


def write_payloads(path: Path, payloads: list[bytes]) -> None:
    path.write_bytes(b"".join(len(one).to_bytes(4, "little") + one for one in payloads))


def read_payloads(path: Path) -> list[bytes]:
    data, payloads, at = path.read_bytes(), [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "little")
        payloads.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    return payloads


async def run(address: str, payloads: list[bytes], rate: float, seconds: float, seed: int = 1) -> Step:
    """Poisson arrivals at `rate` for `seconds`."""
    gaps = np.random.default_rng(seed).exponential(1 / rate, size=int(rate * seconds * 2 + 100))
    due = np.cumsum(gaps)
    due = due[due < seconds]
    channels = [grpc.aio.insecure_channel(address, options=OPTIONS) for _ in range(CONNECTIONS)]
    calls = [channel.unary_unary(METHOD) for channel in channels]  # bytes in, bytes out
    for call in calls:
        await call(payloads[0], timeout=10)
    latency, late, answered = np.full(len(due), DEADLINE * 1000), np.zeros(len(due)), np.zeros(len(due), dtype=np.bool_)
    start, used = time.perf_counter(), cpu()

    async def send(number: int) -> None:
        sent = time.perf_counter() - start - due[number]
        late[number] = sent * 1000
        try:
            await calls[number % CONNECTIONS](payloads[number % len(payloads)], timeout=max(0.001, DEADLINE - sent))
            answered[number] = True
        except grpc.aio.AioRpcError:
            return
        latency[number] = (time.perf_counter() - start - due[number]) * 1000

    tasks = []
    for number, at in enumerate(due):
        wait = at - (time.perf_counter() - start)
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(send(number)))
    await asyncio.gather(*tasks)
    share = (cpu() - used) / (time.perf_counter() - start)
    for channel in channels:
        await channel.close()
    p50, p99 = (float(value) for value in np.quantile(latency, (0.5, 0.99)))
    return Step(rate, len(due), int(answered.sum()), p50, p99, void_reasons(late, p99, share))


def void_reasons(late: np.ndarray, p99: float, share: float) -> tuple[str, ...]:
    reasons = []
    latest = float(np.quantile(late, 0.99)) if len(late) else 0.0
    if latest > max(LATE_MS, LATE_SHARE * p99):
        reasons.append(f"1% of the calls left {latest:.1f} ms or more after they were due")
    if share > BUSY:
        reasons.append(f"the generator used {share:.0%} of a core")
    return tuple(reasons)


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    orders = json.load(sys.stdin)
    payloads = read_payloads(Path(orders["payloads"]))
    gc.disable()  # a run is short, and a pause would be the server's fault
    print(json.dumps(asdict(asyncio.run(run(orders["address"], payloads, orders["rate"], orders["seconds"])))))


if __name__ == "__main__":
    main()
