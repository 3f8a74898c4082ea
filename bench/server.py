"""A shortlistd for measurements: started on loopback, pinned to cores of its own when there are enough, stopped at the end."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BINARIES = ROOT / ".tmp/bin"
READY_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Running:
    address: str
    pid: int
    generator: list[str]  # words before the generator's command, which pin it


@contextmanager
def serving(model: Path, log: Path, *settings: str, apart: bool = True) -> Iterator[Running]:
    """Serve `model` with `settings` ("gate.max_wait=50ms") until the block ends.

    With two cores or more, and `apart`, the generator gets one that the server does not use.
    """
    server, generator = pins(apart)
    data, admin, metrics = free_ports(3)
    command = [
        *server,
        str(BINARIES / "shortlistd"),
        f"-models={model}",
        f"-data.address=127.0.0.1:{data}",
        f"-admin.address=127.0.0.1:{admin}",
        f"-metrics.address=127.0.0.1:{metrics}",
        f"-runtime.library={sys.prefix}",
        *(f"-{setting}" for setting in settings),
    ]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)  # taskset becomes the server: same process id
    try:
        wait_until_ready(f"http://127.0.0.1:{metrics}/readyz", process, log)
        yield Running(f"127.0.0.1:{data}", process.pid, generator)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def pins(apart: bool) -> tuple[list[str], list[str]]:
    """Words before a server's command and before the generator's: all cores but the last, and the last. Empty where nothing is pinned."""
    cores = sorted(os.sched_getaffinity(0))
    if not apart or len(cores) < 2 or shutil.which("taskset") is None:
        return [], []
    return ["taskset", "-c", ",".join(map(str, cores[:-1]))], ["taskset", "-c", str(cores[-1])]


def wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            sys.exit(f"bench: shortlistd ended with {process.returncode}; {log} says:\n{log.read_text(errors='replace')[-2000:]}")
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    sys.exit(f"bench: shortlistd is not ready after {READY_SECONDS:g} s; see {log}")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
