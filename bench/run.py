"""Run the project's measurements.

Examples:
    python bench/run.py load --scenario steps                   a server of its own, a page in .tmp/load
    python bench/run.py load --address 127.0.0.1:7070 -- -rate 20,40
    python bench/run.py load --scenario overload --set funnel.worst_rung=full   the gate alone, without the ladder
    python bench/run.py bench                                   service time and memory, a report in bench/reports
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import yaml

from report import Section, hardware_word, machine, memory_section, service_section, write_report
from server import BINARIES, ROOT, Running, serving

# A memory run must be past the growth of what the server keeps before it counts.
SMALL_CACHES = (f"history_cache.max_bytes={32 << 20}", f"funnel.cache_bytes={4 << 20}")
VOID = 3  # exit code of shortlist-load: the generator was the bottleneck


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    load = commands.add_parser("load", help="open-loop load by a scenario")
    load.add_argument("--scenario", default="steps", help="name of a file in bench/scenarios (steps)")
    load.add_argument("--address", default="", help="a running server; default: start one")
    load.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE", help="a setting of the server it starts")
    load.add_argument("--out", type=Path, default=ROOT / ".tmp/load", help="folder of the page and the JSON (.tmp/load)")
    load.add_argument("flags", nargs="*", help="flags of shortlist-load after --, which override the scenario")
    bench = commands.add_parser("bench", help="service time against the graphs alone, and memory")
    bench.add_argument("--rounds", type=int, default=5, help="repetitions of the Go benchmark (5)")
    bench.add_argument("--seconds", type=int, default=10, help="length of each repetition (10)")
    bench.add_argument("--requests", type=int, default=20_000, help="calls of the memory run (20000)")
    bench.add_argument("--reports", type=Path, default=ROOT / "bench/reports", help="folder of the report")
    for command in (load, bench):
        command.add_argument(
            "--model", type=Path, default=ROOT / ".tmp/bench/bench", help="models/<name> folder; default: made by make_bundle.py"
        )
    args = parser.parse_args()
    if args.model == ROOT / ".tmp/bench/bench" and not (args.model / "current").exists():
        subprocess.run([sys.executable, "-W", "ignore", ROOT / "bench/make_bundle.py", "--models", args.model.parent], check=True)
    sys.exit(run_load(args) if args.command == "load" else run_bench(args))


def run_load(args: argparse.Namespace) -> int:
    args.out.mkdir(parents=True, exist_ok=True)
    stem = args.out / f"{args.scenario}_{hardware_word()}_{datetime.now(UTC):%Y-%m-%d_%H%M%S}"
    flags = ["-scenario", str(scenario(args.scenario)), "-html", f"{stem}.html", "-json", f"{stem}.json", *args.flags]
    if args.address:
        code = generate(Running(args.address, 0, []), args.model, flags)
    else:
        soak = yaml.safe_load(scenario(args.scenario).read_text()).get("soak")
        settings = [*SMALL_CACHES, *args.settings] if soak else args.settings
        with serving(args.model, args.out / "shortlistd.log", *settings) as server:
            code = generate(server, args.model, [*flags, "-pid", str(server.pid)] if soak else flags)
    print(f"page: {stem}.html" if stem.with_name(f"{stem.name}.html").exists() else "no page was written")
    return code


def run_bench(args: argparse.Namespace) -> int:
    facts = machine(args.model)  # before the measurement adds to the load
    scratch = ROOT / ".tmp/load"
    scratch.mkdir(parents=True, exist_ok=True)
    command = [
        "go",
        "test",
        "-run",
        "^$",
        "-bench",
        "^BenchmarkRank$",
        "-count",
        str(args.rounds),
        "-benchtime",
        f"{args.seconds}s",
        "./cmd/shortlistd",
    ]
    environment = os.environ | {"SHORTLIST_BENCH_MODELS": str(args.model)}
    print(shlex.join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT / "go", env=environment, capture_output=True, text=True)
    print(done.stdout, flush=True)
    if done.returncode != 0:
        sys.exit(f"bench: the Go benchmark failed:\n{done.stderr}")
    sections: list[Section] = [service_section(done.stdout, shlex.join(command))]

    result = scratch / "memory.json"
    flags = [
        "-scenario",
        str(scenario("memory")),
        "-requests",
        str(args.requests),
        "-json",
        str(result),
        "-html",
        str(scratch / "memory.html"),
    ]
    with serving(args.model, scratch / "shortlistd.log", *SMALL_CACHES) as server:
        code = generate(server, args.model, [*flags, "-pid", str(server.pid)])
    if code not in (0, 1, VOID) or not result.exists():
        return code
    sections.append(memory_section(result))
    print(f"report: {write_report(args.reports, 'rank', facts, sections)}")
    return code


def generate(server: Running, model: Path, flags: list[str]) -> int:
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip() or "unknown"
    command = [*server.generator, BINARIES / "shortlist-load", "-address", server.address, "-bundle", model, "-commit", commit, *flags]
    return subprocess.run(list(map(str, command))).returncode


def scenario(name: str) -> Path:
    folder = ROOT / "bench/scenarios"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        sys.exit(f"bench: no scenario {name!r}; there are: {', '.join(sorted(p.stem for p in folder.glob('*.yaml')))}")
    return path


if __name__ == "__main__":
    main()
