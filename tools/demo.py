"""The whole life of a model in one script: data, training, release, service, ranked answers, and the verdict of parity.

Everything is written under .tmp/demo. Run it with `make demo`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from shortlist.client import AdminClient, Client, History

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".tmp/demo"
MODEL = WORK / "models/marketplace"
DATA, ADMIN, METRICS = "127.0.0.1:7170", "127.0.0.1:7171", "127.0.0.1:7172"


def main() -> None:
    started = time.monotonic()
    shutil.rmtree(WORK, ignore_errors=True)

    step("1/5  data: a synthetic marketplace where tastes, queries and prices matter")
    shortlist("data", "marketplace", "--out", WORK / "data")

    step("2/5  training: two-tower, preranker, ranker, beside the baselines (full ranking, held-out days)")
    shortlist("train", "marketplace-demo", "--data", WORK / "data", "--out", WORK / "runs")

    step("3/5  release: seven ONNX graphs and tables, proved against PyTorch, published with one rename")
    shortlist("export", WORK / "runs/marketplace", "--models", WORK / "models")

    step("4/5  service: shortlistd loads the release, replays its golden requests, and serves")
    with serving():
        user, history, query = somebody()
        with Client(DATA, timeout=10.0) as client:
            stored = client.append(user, history)
        print(f"user {user} has {stored} stored events and asks for {query!r}\n")
        now = ("--time", history.times[-1])  # of the generated market, whose offers come and go
        shortlist("rank", "--user", user, "--context", f"query={query}", "--context", f"query_text={query}", *now, *AT_DEMO)
        print("\nthe same user without a query, ten given candidates:\n")
        shortlist("rank", "--user", user, "--candidates", ",".join(map(str, some_items())), *now, *AT_DEMO)

        step("5/5  parity: the service repeats the golden requests that PyTorch answered")
        with AdminClient(ADMIN) as admin:
            test, provider = admin.self_test(), admin.status().provider
        verdict = "PASS" if test.passed else "FAIL"
        print(f"{verdict}  {test.cases} requests on {provider}, every stage: {test.violations} violations, ", end="")
        print(f"worst difference {test.worst_ratio:.3f} of the tolerance")
    print(f"\n{time.monotonic() - started:.0f} s in all. Serve it yourself: make serve MODEL={MODEL.relative_to(ROOT)}")
    if not test.passed:
        raise SystemExit("\n".join(test.messages))


AT_DEMO = ("--target", DATA, "--models", WORK / "models", "--timeout", "10")


def step(title: str) -> None:
    print(f"\n== {title}", flush=True)


def shortlist(*arguments: object) -> None:
    """Run a command of the CLI; its failure has explained itself and ends the demo."""
    if subprocess.run(["shortlist", *map(str, arguments)]).returncode != 0:
        raise SystemExit("the demo stopped: see the error above")


@contextmanager
def serving() -> Iterator[None]:
    """shortlistd on the demo's ports, its log in a file."""
    settings = {"models": MODEL, "data.address": DATA, "admin.address": ADMIN, "metrics.address": METRICS, "store.path": WORK / "users.db"}
    log = WORK / "shortlistd.log"
    command = [str(ROOT / ".tmp/bin/shortlistd"), *(f"-{key}={value}" for key, value in settings.items())]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=ROOT, env=os.environ)
    try:
        with AdminClient(ADMIN) as admin:
            admin.wait_ready(60.0)
            while admin.status().active is None:
                if process.poll() is not None:
                    raise SystemExit(f"shortlistd stopped:\n{log.read_text()}")
                time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def somebody() -> tuple[str, History, str]:
    """A user with a few dozen events, and the query of the newest one that had any."""
    events = pl.read_parquet(WORK / "data/events.parquet")
    counts = events.group_by("user_id").len().filter(pl.col("len") >= 20).sort("len", "user_id")
    user = counts["user_id"][0]
    own = events.filter(pl.col("user_id") == user)
    queries = own["query_text"].drop_nulls().to_list()
    history = History(items=own["item_id"].to_list(), actions=own["action"].cast(pl.String).to_list(), times=own["time"].to_list())
    return str(user), history, queries[-1] if queries else ""


def some_items() -> list[int]:
    return pl.read_parquet(WORK / "data/items.parquet")["item_id"].head(10).to_list()


if __name__ == "__main__":
    main()
