"""The servers that are compared, each started on loopback for a block and stopped at its end."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from server import READY_SECONDS, ROOT, free_ports, pins, serving


@dataclass(frozen=True, slots=True)
class Served:
    """`addresses` are replicas; `generator` are the words before the command of a load generator, which pin it."""

    name: str
    addresses: tuple[str, ...]
    pids: tuple[int, ...]
    generator: tuple[str, ...]

    def cpu_seconds(self) -> float:
        """User and system time of its processes so far."""
        return sum(cpu_seconds(pid) for pid in self.pids)


@contextmanager
def shortlistd(model: Path, log: Path, *, apart: bool) -> Iterator[Served]:
    # The others encode every history, and requests are replayed: kept histories would measure the trace.
    with serving(model, log, "history_cache.max_bytes=0", apart=apart) as running:
        yield Served("shortlistd", (running.address,), (running.pid,), tuple(running.generator))


@contextmanager
def python_peer(model: Path, engine: str, log: Path, *, apart: bool, threads: bool) -> Iterator[Served]:
    """One process of `peers.serve` for each core that servers may use; with `threads` one process with a thread for each."""
    pin, generator = pins(apart)
    cores = server_cores(apart)
    ports = free_ports(1 if threads else cores)
    environment = os.environ | {
        "PYTHONPATH": f"{ROOT / 'bench'}:{ROOT / 'python/src'}",
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    with ExitStack() as stack:
        processes = []
        for port in ports:
            command = [*pin, sys.executable, "-W", "ignore", "-m", "peers.serve"]
            command += ["--model", str(model), "--engine", engine, "--port", str(port), "--threads", str(cores if threads else 1)]
            processes.append(stack.enter_context(process(command, log.with_suffix(f".{port}.log"), environment)))
        addresses = tuple(f"127.0.0.1:{port}" for port in ports)
        for address, one in zip(addresses, processes, strict=True):
            wait(lambda address=address: connects(address), one, f"the {engine} peer at {address}")
        yield Served(f"python {engine}", addresses, tuple(one.pid for one in processes), tuple(generator))


@contextmanager
def process(command: list[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        started = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        yield started
    finally:
        started.send_signal(signal.SIGTERM)
        try:
            started.wait(20)
        except subprocess.TimeoutExpired:
            started.kill()
            started.wait(20)


def server_cores(apart: bool) -> int:
    """Cores that servers may use."""
    cores = len(os.sched_getaffinity(0))
    return cores - 1 if apart and cores > 1 and shutil.which("taskset") is not None else cores


def connects(address: str) -> bool:
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1)
        except grpc.FutureTimeoutError:
            return False
        return True


def wait(ready: Callable[[], bool], started: subprocess.Popen[bytes], what: str) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not ready():
        if started.poll() is not None or time.monotonic() > deadline:
            state = "ended" if started.poll() is not None else f"is not ready after {READY_SECONDS:g} s"
            sys.exit(f"bench-peers: {what} {state}; its log is in .tmp/peers")
        time.sleep(0.1)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with all its threads and the children that it has waited for; ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[place]) for place in (11, 12, 13, 14)) / os.sysconf("SC_CLK_TCK")
