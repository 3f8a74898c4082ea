"""Check this machine: tools, packages, the ONNX Runtime library and CUDA, with a fix for whatever is wrong.

Exits with 1 when something is broken; a missing GPU is only a remark. Needs nothing but the standard library.

Example: python tools/doctor.py
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "python/requirements.lock"
GO_NEEDED = (1, 26)
# What onnxruntime-gpu's CUDA provider links to, by CUDA 13's names (docs of ONNX Runtime, checked with readelf).
CUDA_LIBRARIES = ("libcudart.so.13", "libcublasLt.so.13", "libcublas.so.13", "libcurand.so.10")

Finding = tuple[str, str, str]  # ok, note or FAIL; what; how to fix
OK, NOTE, FAIL = "ok", "note", "FAIL"


def main() -> None:
    checks: list[Callable[[], Iterator[Finding]]] = [python, packages, tools, onnx_runtime, cuda, disk]
    findings = [finding for check in checks for finding in check()]
    for level, what, fix in findings:
        print(f"{level:>4}  {what}" + (f"\n      fix: {fix}" if fix else ""))
    broken = sum(level == FAIL for level, _, _ in findings)
    print(f"\n{broken} broken, {sum(level == NOTE for level, _, _ in findings)} notes, {len(findings)} checks")
    sys.exit(1 if broken else 0)


def python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < (3, 11):  # noqa: UP036 - the one file that any Python may be asked to run
        yield FAIL, f"Python {version}", "Shortlist needs 3.11 or newer: make setup PYTHON=/path/to/python3.11"
    else:
        yield OK, f"Python {version} at {sys.prefix}", ""
    if sys.prefix == sys.base_prefix:
        yield NOTE, "not in the project's virtual environment", "run `make doctor`, which uses .venv"


def packages() -> Iterator[Finding]:
    """Every package of the lock that this platform needs, at its version."""
    wanted: dict[str, set[str]] = {}  # several where the lock differs by Python version
    for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", LOCK.read_text(), flags=re.M):
        wanted.setdefault(name, set()).add(version)
    wrong, count = [], 0
    for name, versions in wanted.items():
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform, or the import below finds it missing
        count += 1
        if installed not in versions:
            wrong.append(f"{name} {installed} instead of {' or '.join(sorted(versions))}")
    fix = "rm .venv/.installed && make setup"
    digest = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    yield (FAIL, f"packages differ from the lock: {', '.join(wrong)}", fix) if wrong else (OK, f"{count} packages as locked ({digest})", "")
    missing = [name for name in ("torch", "onnx", "numpy", "polars", "grpcio", "typer") if not installed_version(name)]
    if missing:
        yield FAIL, f"missing packages: {', '.join(missing)}", fix


def tools() -> Iterator[Finding]:
    go = output("go", "version")
    found = re.search(r"go(\d+)\.(\d+)", go)
    if not found:
        yield FAIL, "go is not installed", "make setup installs it into .venv; or see go.dev/dl"
    elif (int(found[1]), int(found[2])) < GO_NEEDED:
        yield FAIL, go, f"go {GO_NEEDED[0]}.{GO_NEEDED[1]} or newer is needed: remove this one from PATH and run make setup"
    else:
        yield OK, go, ""
    compiler = next((name for name in ("gcc", "clang", "cc") if shutil.which(name)), "")
    yield (OK, f"C compiler {compiler}", "") if compiler else (FAIL, "no C compiler: cgo needs one", "apt-get install gcc libc6-dev")
    cgo = output("go", "env", "CGO_ENABLED")
    if found and cgo != "1":
        yield FAIL, f"CGO_ENABLED={cgo}", "unset CGO_ENABLED, or install a C compiler; the runtime is reached through cgo"
    if not shutil.which("docker"):
        yield NOTE, "docker is not installed", "only `make docker` needs it"


def onnx_runtime() -> Iterator[Finding]:
    """One build of the library, of the locked version, that this machine can load."""
    cpu, gpu = installed_version("onnxruntime"), installed_version("onnxruntime-gpu")
    if cpu and gpu:
        yield (
            FAIL,
            "onnxruntime and onnxruntime-gpu are both installed into one folder",
            "pip uninstall onnxruntime; rm .venv/.installed; make setup",
        )
    libraries = sorted(site_packages().glob("onnxruntime/capi/libonnxruntime.so.*"))
    if len(libraries) != 1:
        yield FAIL, f"{len(libraries)} files libonnxruntime.so.* under onnxruntime/capi", "rm .venv/.installed && make setup"
        return
    try:
        ctypes.CDLL(str(libraries[0]))
    except OSError as error:
        yield FAIL, f"{libraries[0].name} cannot be loaded: {error}", "it needs glibc 2.28 or newer on x86-64 or arm64"
        return
    yield OK, f"{libraries[0].name} loads", ""


def cuda() -> Iterator[Finding]:
    """Driver, CUDA 13 libraries and the provider, in the order in which loading fails."""
    driver = output("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    if not driver:
        yield NOTE, "no NVIDIA GPU: everything runs on the CPU", ""
        return
    yield OK, f"GPU {driver.splitlines()[0]}", ""
    supported = re.search(r"CUDA Version: (\d+)", output("nvidia-smi"))
    if supported and int(supported[1]) < 13:
        yield (
            FAIL,
            f"the driver supports CUDA {supported[1]}; this onnxruntime-gpu is built for CUDA 13",
            "update the driver to 580 or newer",
        )
    folders = [site_packages() / "nvidia/cu13/lib", site_packages() / "nvidia/cudnn/lib"]
    missing = [name for name in CUDA_LIBRARIES if not any((folder / name).exists() for folder in folders) and not loads(name)]
    if missing:
        yield FAIL, f"CUDA libraries missing: {', '.join(missing)}", "pip install 'onnxruntime-gpu[cuda,cudnn]' at the locked version"
    else:
        yield OK, "CUDA 13 libraries found", ""


def disk() -> Iterator[Finding]:
    free = shutil.disk_usage(ROOT).free / 2**30
    yield (OK, f"{free:.0f} GiB free", "") if free >= 2 else (FAIL, f"{free:.1f} GiB free", "2 GiB are needed for builds and releases")


def site_packages() -> Path:
    return Path(sys.prefix) / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"


def installed_version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def output(*command: str) -> str:
    """What a command prints; empty where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


if __name__ == "__main__":
    main()
