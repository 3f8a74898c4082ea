"""The service's exact search beside faiss-cpu's IndexFlatIP and the ONNX graph: CPU milliseconds per query, one thread, and recall.

faiss lives in an environment of its own: `uv venv FAISS && VIRTUAL_ENV=FAISS uv pip install faiss-cpu==1.15.1 numpy==2.4.6`. All search
the same vectors and queries (shared files), taking turns; the medians of the rounds count. CPU time, because it bears other work on the
machine better than the clock; the report has the load average. Recall is against faiss' rows; rows whose scores are as good as its last one
count as found, because faiss adds in another order and has no tie rule.

`--hnsw` adds the walk over a graph of neighbours (docs/adr/0007) beside hnswlib over the same graph. It wants `make setup-hnsw`, and
minutes to build large graphs; without it the defaults are meant to end in about 5 minutes.

Example: python bench/retrieval.py --faiss FAISS/bin/python --items 4000,60000,1000000
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from report import ROOT, Section, core_count, cpu_name, write_report

BATCHES = (1, 8, 32)
OURS = {"int8": "8", "int4": "4", "fp32": "32"}
PEERS = {"faiss": "faiss IndexFlatIP", "graph": "graph `index`", "integer": "MatMulInteger, product only"}
APPROXIMATE = {"walk": "walk over the graph of neighbours", "hnswlib": "hnswlib, the same graph"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faiss", type=Path, required=True, help="python of the environment with faiss-cpu")
    parser.add_argument("--items", default="4000,60000,500000", help="catalog sizes")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--limit", type=int, default=500)
    parser.add_argument("--vectors", choices=("normal", "clusters"), default="normal")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=8, help="searches a round")
    parser.add_argument("--hnsw", action="store_true", help="also walk over a graph of neighbours, with hnswlib beside it")
    parser.add_argument("--cpu", default="0", help="the core that everything is bound to")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "reports")
    args = parser.parse_args()
    sections = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as scratch:
        binary = Path(scratch) / "vector.test"
        subprocess.run(["go", "test", "-c", "-o", binary, "./internal/vector"], cwd=ROOT / "go", check=True)
        for items in map(int, args.items.split(",")):
            sections.append(measure(args, items, Path(scratch), binary))
    facts = [
        ("commit", subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()),
        ("CPU", cpu_name()),
        ("cores", f"{core_count()}, one used"),
        ("load average after", " ".join(f"{x:.2f}" for x in os.getloadavg())),
        (
            "faiss-cpu",
            subprocess.run([args.faiss, "-c", "import faiss; print(faiss.__version__)"], capture_output=True, text=True).stdout.strip(),
        ),
        ("command", f"python bench/retrieval.py {' '.join(sys.argv[1:])}"),
    ]
    print(write_report(args.out, "retrieval", facts, sections))


def measure(args: argparse.Namespace, items: int, folder: Path, binary: Path) -> Section:
    draw(args.vectors, items, args.width, folder)
    limit = min(args.limit, items)
    peers = {**PEERS, **({"hnswlib": APPROXIMATE["hnswlib"]} if args.hnsw else {})}
    labels = {**{one: f"scan, {one}" for one in OURS}, **PEERS, **(APPROXIMATE if args.hnsw else {})}
    rounds: dict[str, list[dict[int, float]]] = {name: [] for name in labels}
    for left in ("hnsw.bin", "hnsw.safetensors"):  # of the size before
        (folder / left).unlink(missing_ok=True)
    for _ in range(args.rounds):
        for name in peers:
            python = args.faiss if name == "faiss" else sys.executable
            command = [python, ROOT / "bench" / "retrieval_peer.py", name, folder, str(limit), str(args.repeats)]
            printed = run(args, command).splitlines()[-1]
            rounds[name].append({int(batch): time for batch, time in json.loads(printed).items()})
        for name, times in ours(args, folder, binary, limit).items():  # last, because a peer makes the graph
            rounds[name].append(times)
    median = {name: {b: statistics.median(one[b] for one in all_) for b in BATCHES} for name, all_ in rounds.items()}
    lines = [f"The best {limit} of {items:,} {args.vectors} vectors of width {args.width}; medians of {args.rounds} rounds.", ""]
    lines += [
        "| | " + " | ".join(f"batch {b}: ms/query | faiss / this" for b in BATCHES) + " | recall |",
        "|---|" + "---:|" * (2 * len(BATCHES) + 1),
    ]
    for name, label in labels.items():
        cells = " | ".join(f"{median[name][b]:.3f} | {median['faiss'][b] / median[name][b]:.2f}" for b in BATCHES)
        lines.append(f"| {label} | {cells} | {recall(folder, name)} |")
    return Section(f"{items:,} items", lines)


def draw(kind: str, items: int, width: int, folder: Path) -> None:
    random = np.random.default_rng(7)
    vectors = random.standard_normal((items, width), dtype=np.float32)
    if kind == "clusters":
        vectors = 0.3 * vectors + random.standard_normal((100, width), dtype=np.float32)[random.integers(0, 100, items)]
    vectors.astype("<f4").tofile(folder / "vectors.f32")
    random.standard_normal((64, width), dtype=np.float32).astype("<f4").tofile(folder / "queries.f32")
    (folder / "sizes.json").write_text(json.dumps({"width": width}))


def ours(args: argparse.Namespace, folder: Path, binary: Path, limit: int) -> dict[str, dict[int, float]]:
    environment = {"SHORTLIST_BENCH_VECTORS": folder, "SHORTLIST_BENCH_WIDTH": args.width, "SHORTLIST_BENCH_LIMIT": limit, "GOMAXPROCS": 1}
    output = run(
        args,
        [binary, "-test.run=^$", "-test.bench=^Benchmark(Search|Walk)$", f"-test.benchtime={args.repeats}x"],
        {k: str(v) for k, v in environment.items()},
    )
    times: dict[str, dict[int, float]] = {name: {} for name in OURS}
    for bits, batch, value in re.findall(r"bits=(\d+)/batch=(\d+)\S*\s.*?([\d.e+-]+) cpu-ms/query", output):
        times[next(name for name, b in OURS.items() if b == bits)][int(batch)] = float(value)
    if walk := re.search(r"BenchmarkWalk\S*\s.*?([\d.e+-]+) cpu-ms/query", output):
        times["walk"] = dict.fromkeys(BATCHES, float(walk[1]))  # walks share nothing
    return times


def run(args: argparse.Namespace, command: list[object], extra: dict[str, str] | None = None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(extra or {})}
    words = ["taskset", "-c", args.cpu, *map(str, command)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"bench: {' '.join(words)} failed:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    return done.stdout


def recall(folder: Path, name: str) -> str:
    """Share of faiss' rows found, where a row that scores at least faiss' last within fp32's rounding stands for one of equal score."""
    if name == "integer":
        return "-"
    width = json.loads((folder / "sizes.json").read_text())["width"]
    vectors, queries = (np.fromfile(folder / f"{part}.f32", np.float32).reshape(-1, width) for part in ("vectors", "queries"))
    wanted = np.load(folder / "rows_faiss.npy")
    if name in OURS or name == "walk":
        found = [np.array(hit["Rows"]) for hit in json.loads((folder / f"rows_{OURS.get(name, name)}.json").read_text())]
    else:
        found = list(np.load(folder / f"rows_{name}.npy"))
    shares = []
    for query, mine, theirs in zip(queries.astype(np.float64), found, wanted, strict=True):
        last = (vectors[theirs] @ query).min()
        rest = np.setdiff1d(mine, theirs)
        equal = int((vectors[rest] @ query >= last - 1e-5 * abs(last)).sum())
        shares.append((len(np.intersect1d(mine, theirs)) + equal) / len(theirs))
    return f"{np.mean(shares):.6f}"


if __name__ == "__main__":
    main()
