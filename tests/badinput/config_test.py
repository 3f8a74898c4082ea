"""Faulty settings: the server does not start, lists every fault with its key, and says how to mend it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

CASES = [
    ("unknown key", ["-modells=models/toy"], ["modells", "did you mean"]),
    ("number that is none", ["-rpc.max_candidates=many"], ["rpc.max_candidates", "integer"]),
    ("limit of zero", ["-rpc.max_message_bytes=-1"], ["rpc.max_message_bytes"]),
    ("duration without a unit", ["-funnel.timeout=50"], ["funnel.timeout", "150ms"]),
    ("boolean that is none", ["-runtime.allow_cpu=perhaps"], ["runtime.allow_cpu", "true or false"]),
    ("address without a port", ["-data.address=localhost"], ["data.address", "127.0.0.1:7070"]),
    ("admin on the data port", ["-admin.address=127.0.0.1:7070"], ["admin.address", "another port"]),
    ("provider of no name", ["-runtime.provider=tpu"], ["runtime.provider", "cpu or cuda"]),
    ("sample over 1", ["-telemetry.served_log_sample=2"], ["telemetry.served_log_sample"]),
    ("priority below the lowest", ["-pool.nice=20"], ["pool.nice", "0 to 19"]),
    ("several faults at once", ["-nonsense=1", "-drain.limit=0s", "-runtime.provider=tpu"], ["nonsense"]),
]


@pytest.mark.parametrize(("flags", "says"), [case[1:] for case in CASES], ids=[case[0].replace(" ", "-") for case in CASES])
def test_flags_are_refused(binaries: Path, flags: list[str], says: list[str]) -> None:
    refused(binaries, [*flags, "-check-config"], says)


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("models: [a, b]\n", ["models", "single value"]),
        ("data:\n  adress: x\n", ["data.adress", "did you mean"]),
        ("data: {address: 'a:1'\n", ["YAML"]),
        ("models:\n", ["models", "no value"]),
        ("funnel:\n  timeout: 5s\n  timeout: 6s\n", ["timeout"]),
    ],
    ids=["list", "misspelt", "broken", "empty", "twice"],
)
def test_files_are_refused(binaries: Path, tmp_path: Path, yaml: str, says: list[str]) -> None:
    path = tmp_path / "shortlistd.yaml"
    path.write_text(yaml)
    refused(binaries, [f"-config={path}", "-check-config"], says)


def refused(binaries: Path, arguments: list[str], says: list[str]) -> None:
    done = subprocess.run([binaries / "shortlistd", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert not [word for word in says if word not in done.stderr], done.stderr
    assert "goroutine" not in done.stderr


def test_what_is_printed_is_valid(binaries: Path, tmp_path: Path) -> None:
    printed = subprocess.run([binaries / "shortlistd", "-print-config"], capture_output=True, text=True, timeout=30, check=True).stdout
    path = tmp_path / "printed.yaml"
    path.write_text(printed)
    subprocess.run([binaries / "shortlistd", f"-config={path}", "-check-config"], timeout=30, check=True)
