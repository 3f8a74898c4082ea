"""Servers are compared only when they answer alike: top-k order and scores under the tie rule, on the same requests over the wire."""

from __future__ import annotations

import sys
from pathlib import Path

import grpc
import numpy as np

from peers.servers import Served
from peers.sessions import Sessions
from shortlist.export.compare import Tolerance, order_violation
from shortlist.export.golden import item_list, set_items
from shortlist.export.layout import current
from shortlist.export.queries import ItemId
from shortlist.export.reader import Bundle, read
from shortlist.export.tables import Floats, Ints
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire
from shortlist.gen.shortlist.v1 import ranking_pb2_grpc

MAX_MESSAGE = 64 << 20


def requests(bundle: Bundle, fresh: int = 40, seed: int = 11) -> list[wire.RecommendRequest]:
    """The golden requests with every edge of the contract, warm-up requests with new histories of every length, and a few sessions.

    Sessions show that encodings which a server keeps and extends answer as those which are computed whole.
    """
    rng = np.random.default_rng(seed)
    ids, window = bundle.content.catalog.ids, bundle.content.schema.history_max_events
    made = [wire.RecommendRequest.FromString(one.SerializeToString()) for one in (*bundle.golden, *bundle.warmup[:fresh])]
    for request in made[len(bundle.golden) :]:
        events = [ids[int(row)] for row in rng.integers(len(ids), size=int(rng.integers(0, window + 1)))]
        request.user.history.Clear()
        set_items(request.user.history.items, events)
    return made + Sessions(bundle, seed, live=3).ahead(fresh)


def check(ours: Served, peers: list[Served], model: Path) -> int:
    """Compares every replica of every peer with ours; ends the run where an answer differs. Returns the number of answers compared."""
    bundle = read(current(model))
    asked = requests(bundle)
    row_of: dict[ItemId, int] = {item: row for row, item in enumerate(bundle.content.catalog.ids)}
    want = [ranked(answer, row_of) for answer in ask(ours.addresses[0], asked)]
    compared = 0
    for peer in peers:
        for address in peer.addresses:
            for number, answer in enumerate(ask(address, asked)):
                if (fault := differs(ranked(answer, row_of), want[number], bundle.tolerance)) is not None:
                    sys.exit(f"bench-peers: {peer.name} answers request {number} otherwise than shortlistd: it {fault}")
                compared += 1
    return compared


def differs(got: tuple[Ints, Floats], want: tuple[Ints, Floats], tolerance: Tolerance) -> str | None:
    return order_violation(*got, *want, tolerance)


def ranked(answer: wire.RecommendResponse, row_of: dict[ItemId, int]) -> tuple[Ints, Floats]:
    rows = np.array([row_of[item] for item in item_list(answer.items)], dtype=np.int64)
    return rows, np.array(answer.scores, dtype=np.float32)


def ask(address: str, asked: list[wire.RecommendRequest]) -> list[wire.RecommendResponse]:
    """One after the other; a request with candidates is a Rank call."""
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", MAX_MESSAGE)]) as channel:
        stub = ranking_pb2_grpc.RankingServiceStub(channel)
        return [(stub.Rank if one.HasField("candidates") else stub.Recommend)(one, timeout=60) for one in asked]
