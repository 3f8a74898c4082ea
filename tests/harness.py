"""Builds shortlistd and runs it on free loopback ports, for every cross-language test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ROOT = Path(__file__).resolve().parent.parent
BIN = ROOT / ".tmp/bin"
START_SECONDS = 60.0  # loading and the self-test, on a busy machine


def build() -> Path:
    """The folder of fresh binaries; Go's cache makes a second build cheap."""
    BIN.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["go", "build", "-o", f"{BIN}/", "./cmd/..."], cwd=ROOT / "go", capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"go build failed:\n{done.stderr}")
    return BIN


def free_ports(count: int) -> list[int]:
    """Ports that nobody holds right now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Server:
    """A shortlistd of one model folder, with its log in a file. `settings` are configuration keys.

    Example:
        with Server(models / "toy", scratch) as server:
            Client(server.data)
    """

    def __init__(self, model: Path, scratch: Path, settings: Mapping[str, str] | None = None) -> None:
        data, admin, metrics = free_ports(3)
        self.data, self.admin, self.metrics = (f"127.0.0.1:{port}" for port in (data, admin, metrics))
        scratch.mkdir(parents=True, exist_ok=True)
        self.log = scratch / "shortlistd.log"
        self.settings = {
            "models": str(model),
            "data.address": self.data,
            "admin.address": self.admin,
            "metrics.address": self.metrics,
            "store.path": str(scratch / "users.db"),
            "runtime.library": str(library()),
            **(settings or {}),
        }
        self.process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        return [str(BIN / "shortlistd"), *(f"-{key}={value}" for key, value in self.settings.items())]

    def start(self, *, ready: bool = True) -> Server:
        """Start the process and wait until it serves a release, or with `ready=False` only until its port answers."""
        with self.log.open("ab") as log:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("SHORTLIST_")}
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, env=environment)
        deadline = time.monotonic() + START_SECONDS
        with grpc.insecure_channel(self.data) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            while True:
                if self.process.poll() is not None:
                    raise RuntimeError(f"shortlistd ended with {self.process.returncode}:\n{self.tail()}")
                try:
                    state = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0).status
                    if not ready or state == health_pb2.HealthCheckResponse.SERVING:
                        return self
                except grpc.RpcError:
                    pass
                if time.monotonic() > deadline:
                    self.stop(signal.SIGKILL)
                    raise RuntimeError(f"shortlistd is not ready after {START_SECONDS:g} s:\n{self.tail()}")
                time.sleep(0.05)

    def stop(self, how: signal.Signals = signal.SIGTERM, timeout: float = 30.0) -> int:
        """End the process; its exit code (negative: the signal)."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise RuntimeError(f"shortlistd did not end within {timeout:g} s of {how.name}:\n{self.tail()}") from None

    def tail(self, lines: int = 40) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def library() -> Path:
    """The ONNX Runtime that the factory uses: both sides must run one build."""
    folder = Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages/onnxruntime/capi"
    return next(folder.glob("libonnxruntime.so.*"))
