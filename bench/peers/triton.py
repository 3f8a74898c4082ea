"""Triton's server from the `nvidia-pytriton` package, with its Python backend: the server itself, without a container.

`make bench-peers-setup` makes its environment, apart from the project's since it needs an older numpy.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc

from peers.servers import Served, process, server_cores, wait
from server import ROOT, free_ports, pins
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb

VENV = ROOT / ".tmp/triton"
TYPES = {pb.INT64: "TYPE_INT64", pb.FLOAT32: "TYPE_FP32", pb.BOOL: "TYPE_BOOL"}


def installed(venv: Path) -> bool:
    return any(venv.glob("lib/python3.*/site-packages/pytriton/tritonserver/bin/tritonserver"))


@contextmanager
def triton(venv: Path, graph: pb.Graph, data: bytes, scratch: Path, *, apart: bool) -> Iterator[Served]:
    """Serves one graph over the Open Inference Protocol, with an instance of one thread for each core that servers may use."""
    packages = next(venv.glob("lib/python3.*/site-packages"))
    server = packages / "pytriton/tritonserver"
    version = packages.parent.name.removeprefix("python")
    write_repository(scratch / "triton", graph, data, packages, server_cores(apart))
    backends = write_backends(scratch / "backends", server, version)
    pin, generator = pins(apart)
    (port,) = free_ports(1)
    binary = executable(server / "bin/tritonserver")
    command = [*pin, str(binary), f"--model-repository={scratch / 'triton'}", f"--backend-directory={backends}"]
    command += [
        "--grpc-address=127.0.0.1",
        f"--grpc-port={port}",
        "--allow-http=false",
        "--allow-metrics=false",
        "--allow-gpu-metrics=false",
    ]
    command += ["--model-control-mode=none", "--disable-auto-complete-config"]
    libraries = [packages / "nvidia_pytriton.libs", python_library(venv)]
    environment = os.environ | {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "OMP_NUM_THREADS": "1"}
    address = f"127.0.0.1:{port}"
    with process(command, scratch / "triton.log", environment) as started:
        wait(lambda: answers(address, graph.name), started, f"Triton at {address}")
        yield Served("triton", (address,), (started.pid, *children(started.pid)), tuple(generator))


def write_repository(folder: Path, graph: pb.Graph, data: bytes, packages: Path, instances: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    version = folder / graph.name / "1"
    version.mkdir(parents=True)
    (version / "graph.onnx").write_bytes(data)
    shutil.copy(Path(__file__).with_name("triton_model.py"), version / "model.py")
    (version / "packages").write_text(str(packages))
    (folder / graph.name / "config.pbtxt").write_text(config(graph, instances))


def config(graph: pb.Graph, instances: int) -> str:
    """The model's configuration; sizes that are letters in the manifest vary."""

    def tensor(spec: pb.TensorSpec) -> str:
        dims = ", ".join(size if size.isdecimal() else "-1" for size in spec.shape)
        return f'  {{ name: "{spec.name}", data_type: {TYPES[spec.dtype]}, dims: [ {dims} ] }}'

    return "\n".join(
        [
            f'name: "{graph.name}"',
            'backend: "python"',
            "max_batch_size: 0",
            "input [",
            ",\n".join(map(tensor, graph.inputs)),
            "]",
            "output [",
            ",\n".join(map(tensor, graph.outputs)),
            "]",
            f"instance_group [ {{ kind: KIND_CPU, count: {instances} }} ]",
            "",
        ]
    )


def write_backends(folder: Path, server: Path, version: str) -> Path:
    """The Python backend with the stub of this interpreter beside it, as the server looks for it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(server / "backends", folder)
    shutil.copy(server / "python_backend_stubs" / version / "triton_python_backend_stub", folder / "python")
    executable(folder / "python/triton_python_backend_stub")
    return folder


def executable(path: Path) -> Path:
    """The wheel does not carry the run bit."""
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def python_library(venv: Path) -> Path:
    """The folder of libpython, which the stub links to."""
    asked = "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    return Path(subprocess.run([venv / "bin/python", "-c", asked], capture_output=True, text=True, check=True).stdout.strip())


def answers(address: str, model: str) -> bool:
    import tritonclient.grpc as oip

    try:
        with oip.InferenceServerClient(address) as client:
            return bool(client.is_model_ready(model))
    except (grpc.RpcError, oip.InferenceServerException):
        return False


def children(pid: int) -> list[int]:
    """Processes that the server started: the instances of its models."""
    return [int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()]


def require(venv: Path) -> bool:
    """Whether Triton can be measured; says what to do where it cannot."""
    if installed(venv):
        return True
    print(f"skipped: Triton; {venv} does not have it (make bench-peers-setup)", file=sys.stderr, flush=True)
    return False
