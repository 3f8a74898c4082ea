"""One graph over the Open Inference Protocol: a history and candidates' rows in, logits out; shortlistd against Triton."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as oip

from peers.comparison import Comparison, of_searches
from peers.oip_load import METHOD, OPTIONS, hold, write_payloads
from peers.rank_ids import CANDIDATES, NAME
from peers.search import Search
from peers.servers import Served, shortlistd
from peers.settings import Settings
from peers.triton import require, triton
from shortlist.export.compare import tensor_violation
from shortlist.export.laws import random_columns, random_history
from shortlist.export.layout import current
from shortlist.export.reader import Bundle, read
from shortlist.export.tables import Array, Tensors

HISTORY = 200
PAYLOADS = 64
TYPES = {"int64": "INT64", "float32": "FP32"}


@dataclass(frozen=True, slots=True)
class Size:
    """Candidates of a call, the p99 in milliseconds that both must keep, and the ratio that is promised."""

    candidates: int
    p99: float
    bar: float


SIZES = (Size(1000, 100.0, 1.05), Size(100, 25.0, 1.25))


@dataclass(slots=True)
class OipResult:
    searches: dict[str, dict[str, Search]] = field(default_factory=dict)  # what -> server -> search
    comparisons: list[Comparison] = field(default_factory=list)


def measure_oip(settings: Settings) -> OipResult | None:
    """None where Triton is not installed."""
    if not require(settings.triton):
        return None
    settings.release("bench-ids", "--rank-ids")
    model = settings.models / "bench-ids"
    bundle = read(current(model))
    graph = next(graph for graph in bundle.manifest.extra_graphs if graph.name == NAME)
    scratch = settings.scratch
    with ExitStack() as stack:
        ours = stack.enter_context(shortlistd(model, scratch / "shortlistd-ids.log", apart=True))
        other = stack.enter_context(triton(settings.triton, graph, bundle.extra_graphs[NAME], scratch, apart=True))
        result = OipResult()
        for size in SIZES:
            payloads = [request(inputs(bundle, size.candidates, seed)) for seed in range(PAYLOADS)]
            compare(ours, other, payloads, bundle)
            path = scratch / f"payloads-{size.candidates}"
            write_payloads(path, payloads)
            what = f"rank_ids, {size.candidates:,} candidates"
            result.searches[what] = searches = {served.name: search(served, path, size, settings) for served in (ours, other)}
            for one in searches.values():
                one.start(100.0 if size.candidates >= 1000 else 400.0)
            for _ in range(settings.rounds):
                for one in searches.values():
                    one.round()
            result.comparisons.append(of_searches(what, "triton", searches[ours.name], searches[other.name], size.bar))
            print(result.comparisons[-1], flush=True)
    return result


def search(served: Served, payloads: Path, size: Size, settings: Settings) -> Search:
    return Search(lambda rate: hold(served, payloads, rate, settings.seconds), size.p99, settings.tries)


def inputs(bundle: Bundle, candidates: int, seed: int) -> Tensors:
    rng, schema = np.random.default_rng(seed), bundle.content.schema
    made = random_history(schema, 1, HISTORY, np.array([HISTORY]), rng)
    made |= random_columns("user", schema.user, (1,), rng) | random_columns("context", schema.context, (1,), rng)
    return made | {CANDIDATES: rng.choice(len(bundle.content.catalog), size=(1, candidates), replace=False)}


def request(tensors: Tensors) -> bytes:
    message = oip.ModelInferRequest(model_name=NAME)
    for name, values in tensors.items():
        message.inputs.add(name=name, datatype=TYPES[values.dtype.name], shape=values.shape)
        message.raw_input_contents.append(np.ascontiguousarray(values).tobytes())
    return message.SerializeToString()


def infer(address: str, payloads: list[bytes]) -> list[Array]:
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        call = channel.unary_unary(METHOD)
        answers = [oip.ModelInferResponse.FromString(call(payload, timeout=30)) for payload in payloads]
    return [np.frombuffer(one.raw_output_contents[0], np.float32).reshape(list(one.outputs[0].shape)) for one in answers]


def compare(ours: Served, other: Served, payloads: list[bytes], bundle: Bundle) -> None:
    """Ends the run where an answer differs."""
    for number, (got, want) in enumerate(zip(infer(other.addresses[0], payloads), infer(ours.addresses[0], payloads), strict=True)):
        if (fault := tensor_violation(got, want, bundle.tolerance)) is not None:
            sys.exit(f"bench-peers: Triton answers request {number} otherwise than shortlistd: logits {fault}")
