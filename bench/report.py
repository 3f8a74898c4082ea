"""Markdown reports of measurements, named theme_hardware_date.md: a figure without machine, versions, date and command is worth nothing."""

from __future__ import annotations

import json
import platform
import re
import statistics
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Processor time of the service over that of its graphs at D=64, L=2, N=200, by candidates; and time on two free cores.
CPU_LIMITS = {100: 1.12, 1000: 1.05}
TIME_LIMITS = {3000: 0.6}


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    lines: list[str]


def service_section(output: str, command: str) -> Section:
    """From the metrics that BenchmarkRank prints, by number of candidates; medians over its rounds."""
    rounds: dict[int, dict[str, list[float]]] = {}
    for candidates, line in re.findall(r"^BenchmarkRank/m=(\d+)\S*\s(.*)$", output, flags=re.M):
        for value, unit in re.findall(r"([\d.]+(?:e[+-]\d+)?) (\S+)", line):
            rounds.setdefault(int(candidates), {}).setdefault(unit, []).append(float(value))
    if not rounds:
        sys.exit("bench: BenchmarkRank printed nothing; was it skipped? Its output is above")
    rows = []
    for candidates, units in sorted(rounds.items()):
        median = {unit: statistics.median(values) for unit, values in units.items()}
        cpu = units["cpu-service/graphs"]
        rows.append(
            f"| {candidates:,} | {median['service-ms/op']:.3f} ms | {median['graphs-ms/op']:.3f} ms "
            f"| {median['service/graphs']:.3f}{promise(median['service/graphs'], TIME_LIMITS.get(candidates))} "
            f"| {median['cpu-service/graphs']:.3f}{promise(median['cpu-service/graphs'], CPU_LIMITS.get(candidates))} "
            f"| {min(cpu):.3f}..{max(cpu):.3f} | {median['service-allocs/op']:.0f} |"
        )
    return Section(
        "Service time against the graphs alone",
        [
            "Rank with a history of 200 events, one request at a time and nothing cached, against its graphs run one after the other on",
            f"one thread, on the same inputs in the same process. Medians of {len(cpu)} rounds.",
            "",
            "| candidates | service | graphs | time, service / graphs | processor time, service / graphs | lowest..highest | allocations |",
            "|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
            f"Command: `{command}`",
        ],
    )


def promise(value: float, limit: float | None) -> str:
    if limit is None:
        return ""
    return f" (at most {limit}: {'kept' if value <= limit else 'NOT KEPT'})"


def memory_section(path: Path) -> Section:
    """From the JSON of a soak."""
    soak = json.loads(path.read_text())
    lines = [
        f"{soak['requests']:,} requests of random shapes ({', '.join(f'{k} {v}' for k, v in soak['settings'].items() if k in SHAPES)}), "
        f"{soak['answered']:,} answered, in {soak['seconds']:.0f} s. Growth is the median of the last tenth of the samples",
        "after the warm-up (the first fifth) less the median of their first tenth.",
        "",
        "| growth | limit | after warm-up | at the end | peak | verdict |",
        "|---:|---:|---:|---:|---:|---|",
        f"| {soak['growth_mb']:.1f} MB | {soak['limit_mb']:g} MB | {soak['first_mb']:.1f} MB | {soak['last_mb']:.1f} MB "
        f"| {soak['peak_mb']:.1f} MB | {'passed' if soak['passed'] else 'FAILED'} |",
        "",
        f"Codes: {soak['codes']}; rungs: {soak['rungs']}; seed {soak['seed']}.",
        *(f"VOID: {reason}" for reason in soak["void_reasons"] or []),
        "",
        f"Command: `{' '.join(relative(word) for word in soak['command'])}`",
    ]
    return Section("Resident memory", lines)


SHAPES = ("calls", "candidates", "history", "callers")


def machine(model: Path) -> list[tuple[str, str]]:
    """Facts of the machine, as it is before the measurement, and the versions of what is measured."""

    def run(*command: str) -> str:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()

    changed = " with uncommitted changes" if run("git", "status", "--porcelain", "--untracked-files=no") else ""
    load = Path("/proc/loadavg").read_text().split()[:3]
    cores = core_count()
    busy = " BUSY: these figures are not evidence; run again on an idle machine" if float(load[0]) > cores / 2 else ""
    return [
        ("date", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"),
        ("commit", (run("git", "rev-parse", "HEAD") or "unknown") + changed),
        ("CPU", cpu_name()),
        ("cores", str(cores)),
        ("load average before", " ".join(load) + busy),
        ("kernel", platform.release()),
        ("Go", run("go", "env", "GOVERSION")),
        ("ONNX Runtime", version("onnxruntime-gpu") + ", CPU provider"),
        ("release", (model / "current").read_text().strip()),
    ]


def cpu_name() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), flags=re.M)
    return found.group(1) if found else platform.machine()


def core_count() -> int:
    return len(re.findall(r"^processor", Path("/proc/cpuinfo").read_text(), flags=re.M))


def hardware_word() -> str:
    """The hardware as part of a file name."""
    name = re.sub(r"\(r\)|\(tm\)|processor|cpu|@.*", "", cpu_name().lower())
    return re.sub(r"[^a-z0-9]+", "-", f"{name} {core_count()}c").strip("-")


def relative(word: str) -> str:
    """Paths of this checkout as seen from its root; a report names no folder of the machine."""
    return word.replace(f"{ROOT}/", "")


def write_report(folder: Path, theme: str, facts: list[tuple[str, str]], sections: list[Section]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{theme}_{hardware_word()}_{datetime.now(UTC):%Y-%m-%d}.md"
    lines = [f"# {theme.capitalize()}: {cpu_name()}", "", "| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts)]
    for section in sections:
        lines += ["", f"## {section.title}", *section.lines]
    path.write_text("\n".join(lines) + "\n")
    return path
