"""Small simulated markets with one property planted each, and a plain one: what `shortlist diagnose` must name, and must not.

Every market shares one story: items have a kind and a popularity, users prefer a few kinds and never take an item twice, and the order and
the times of what they take mean nothing. A planted property changes the one thing that its function says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from shortlist.data.dataset import Dataset
from shortlist.data.encode import id_vocabulary, infer_vocabulary
from shortlist.schema import Column, Op, Schema

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

START = 1_750_000_000  # unix seconds of the first event
DAY = 86_400
DAYS = 60
KINDS = 16
REGIONS = 6
FAVOURITE = np.log(25.0)  # how much likelier an item of a favourite kind is


@dataclass(frozen=True)
class Market:
    """A market before anything happens in it: users U, items I, at most N events a user, oldest first."""

    rng: np.random.Generator
    kind: Ints  # [I]
    appeal: Floats  # [I] log weight of an item for everybody
    region: Ints  # [U] a column of users, without meaning unless planted
    taste: Floats  # [U,KINDS] log weight of a kind
    time: Ints  # [U,N] ascending
    events: Ints  # [U] how many of the N happen
    # Log weights [U,I] to add for the users' j-th event, given the time of it and what each user took before [U,j].
    pull: Callable[[int, Ints, Ints], Floats | float] = lambda j, time, taken: 0.0
    repeats: float = 0.0  # share of events that take an earlier item again
    campaign: float = 0.0  # share of events whose context column `campaign` says the item


def plain(rng: np.random.Generator, users: int = 700, items: int = 320, fewest: int = 18, most: int = 36) -> Market:
    """Tastes and mild popularity, and nothing else."""
    events = rng.integers(fewest, most + 1, users)
    never = np.arange(most) >= events[:, None]
    taste = np.zeros((users, KINDS))
    taste[np.arange(users)[:, None], rng.random((users, KINDS)).argsort(axis=1)[:, :2]] = FAVOURITE
    return Market(
        rng=rng,
        kind=np.arange(items) % KINDS,
        appeal=-0.3 * np.log(1 + rng.permutation(items)),
        region=rng.integers(0, REGIONS, users),
        taste=taste,
        time=START + np.sort(np.where(never, DAYS * DAY, rng.integers(0, DAYS * DAY, (users, most))), axis=1),
        events=events,
    )


def popularity_bias(rng: np.random.Generator) -> Market:
    """An eighth of the items is pushed on everybody, so many events say nothing about the user."""
    market = plain(rng)
    pushed = rng.random(len(market.kind)) < 1 / 8
    return replace(market, appeal=market.appeal + np.where(pushed, np.log(12.0), 0.0), kind=np.where(pushed, -1, market.kind))


def trends(rng: np.random.Generator) -> Market:
    """Every item has a fashion of its own: a few days in which it is many times as popular."""
    market = plain(rng)
    peak = rng.uniform(-0.1, 1.1, len(market.kind)) * DAYS

    def pull(j: int, time: Ints, taken: Ints) -> Floats:
        days = (time[:, None] - START) / DAY
        return np.asarray(3.5 * np.exp(-(((days - peak) / 8) ** 2)))

    return replace(market, pull=pull)


def cold_items(rng: np.random.Generator) -> Market:
    """A third of the catalog arrives in the last fifth of the time, and is taken at once."""
    market = plain(rng)
    arrives = np.where(rng.random(len(market.kind)) < 0.33, START + int(0.8 * DAYS * DAY), 0)

    def pull(j: int, time: Ints, taken: Ints) -> Floats:
        new = arrives > 0
        return np.where(time[:, None] >= arrives, np.where(new, np.log(3.0), 0.0), -np.inf)

    return replace(market, pull=pull)


def order(rng: np.random.Generator) -> Market:
    """After an item comes its successor more often than not."""
    market = plain(rng)
    successor = rng.permutation(len(market.kind))

    def pull(j: int, time: Ints, taken: Ints) -> Floats | float:
        if j == 0:
            return 0.0
        logits = np.zeros((len(taken), len(successor)))
        logits[np.arange(len(taken)), successor[taken[:, -1]]] = np.log(150.0)
        return logits

    return replace(market, pull=pull)


def drift(rng: np.random.Generator) -> Market:
    """Users stay with a kind for some six events, whenever those are, and then move to another one for good or for a while."""
    market = plain(rng)
    users, most = market.time.shape
    stay = np.cumsum(rng.random((users, most)) < 1 / 6, axis=1)
    wanted = rng.integers(0, KINDS, (users, most + 1))

    def pull(j: int, time: Ints, taken: Ints) -> Floats:
        now = wanted[np.arange(users), stay[:, j]]
        return np.where(market.kind == now[:, None], np.log(60.0), 0.0)

    return replace(market, taste=np.zeros_like(market.taste), pull=pull)


def repeats(rng: np.random.Generator) -> Market:
    """Two events of five take again what the user took before."""
    return replace(plain(rng), repeats=0.4)


def sessions(rng: np.random.Generator) -> Market:
    """Events come in visits of a few minutes, each about one kind drawn anew, whatever came before."""
    market = plain(rng)
    users, most = market.time.shape
    begins = rng.random((users, most)) < 0.25
    begins[:, 0] = True
    visit = np.cumsum(begins, axis=1) - 1
    # A visit begins when its first event would have come, and its other events follow at once.
    first = np.maximum.accumulate(np.where(begins, np.arange(most), 0), axis=1)
    minutes = np.arange(most) - first
    time = np.maximum.accumulate(np.take_along_axis(market.time, first, axis=1) + 120 * minutes, axis=1)
    wanted = rng.integers(0, KINDS, (users, most))

    def pull(j: int, time: Ints, taken: Ints) -> Floats:
        now = wanted[np.arange(users), visit[:, j]]
        return np.where(market.kind == now[:, None], np.log(40.0), 0.0)

    return replace(market, time=time, taste=np.zeros_like(market.taste), pull=pull)


def user_segments(rng: np.random.Generator) -> Market:
    """A user's region decides what kinds are liked; histories are long enough to tell, but a newcomer's is not."""
    market = plain(rng)
    taste = np.zeros((REGIONS, KINDS))
    for region in range(REGIONS):
        taste[region, rng.permutation(KINDS)[:3]] = FAVOURITE
    return replace(market, taste=taste[market.region])


def short_histories(rng: np.random.Generator) -> Market:
    """Many users, few events of each."""
    return plain(rng, users=5000, fewest=2, most=5)


def leak(rng: np.random.Generator) -> Market:
    """A context column that is filled in after the fact: it says which item was taken."""
    return replace(plain(rng), campaign=0.9)


PROPERTIES: dict[str, Callable[[np.random.Generator], Market]] = {
    function.__name__: function
    for function in (popularity_bias, trends, cold_items, order, drift, repeats, sessions, user_segments, short_histories, leak)
}


def planted_market(name: str, seed: int) -> Dataset:
    """The market of that name: "plain", one of `PROPERTIES`, or one of `LEAKS`. Equal seeds make equal data."""
    rng = np.random.default_rng(seed)
    market = {"plain": plain, **PROPERTIES}.get(name, plain)(rng)
    made = dataset(name, market, simulate(market))
    return LEAKS[name](made) if name in LEAKS else made


def doubled_users(market: Dataset) -> Dataset:
    """One user of twelve exists twice, as after a bad join of accounts."""
    events, users = market.events, market.users
    twins = pl.col("user_id") % 12 == 0
    other_id = pl.col("user_id") + len(users)
    return replace(
        market,
        users=pl.concat([users, users.filter(twins).with_columns(other_id)]),
        events=pl.concat([events, events.filter(twins).with_columns(other_id)]),
    )


def doubled_events(market: Dataset) -> Dataset:
    """One event of ten was delivered twice."""
    twice = pl.int_range(pl.len()) % 10 == 0
    events = pl.concat([market.events, market.events.filter(twice)]).sort("user_id", "time", maintain_order=True)
    return replace(market, events=events)


def last_item_column(market: Dataset) -> Dataset:
    """A user column made from the newest logs: the item that each user took last."""
    last = market.events.group_by("user_id", maintain_order=True).agg(last_item=pl.format("item {}", pl.col("item_id").last()))
    users = market.users.join(last, on="user_id", how="left", maintain_order="left")
    column = Column(name="last_item", op=Op.VOCABULARY, vocabulary=infer_vocabulary(users["last_item"]))
    return replace(market, users=users, schema=replace(market.schema, user=(*market.schema.user, column)))


# Other forms of the property "leak".
LEAKS: dict[str, Callable[[Dataset], Dataset]] = {
    function.__name__: function for function in (doubled_users, doubled_events, last_item_column)
}


def simulate(market: Market) -> Ints:
    """What each user takes [U,N], one event after the other; Gumbel noise on log weights draws by weight."""
    rng, (users, longest) = market.rng, market.time.shape
    everyone = np.arange(users)
    # A kind of -1 is nobody's favourite.
    base = np.where(market.kind >= 0, market.taste[:, np.maximum(market.kind, 0)], 0.0) + market.appeal
    taken = np.zeros((users, longest), dtype=np.int64)
    seen = np.zeros(base.shape, dtype=bool)
    for j in range(int(market.events.max())):
        logits = np.where(seen, -np.inf, base + market.pull(j, market.time[:, j], taken[:, :j]))
        chosen = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        if market.repeats and j:
            again = rng.random(users) < market.repeats
            chosen = np.where(again, taken[everyone, rng.integers(0, j, users)], chosen)
        taken[:, j] = chosen
        seen[everyone, chosen] = True
    return taken


def dataset(name: str, market: Market, taken: Ints) -> Dataset:
    """The market as frames: users by region and plan, items by kind, events by surface (and campaign where there are any)."""
    rng, (users, longest) = market.rng, market.time.shape
    happens = np.arange(longest) < market.events[:, None]
    user, item = np.nonzero(happens)[0], taken[happens]
    campaign = np.where(rng.random(len(item)) < market.campaign, item, rng.integers(0, len(market.kind), len(item)))
    users_frame = pl.DataFrame(
        {
            "user_id": np.arange(users),
            "region": [f"region {value}" for value in market.region],
            "plan": rng.choice(["free", "paid"], users).tolist(),
        }
    )
    items_frame = pl.DataFrame({"item_id": np.arange(len(market.kind)), "kind": [f"kind {value}" for value in market.kind]})
    events = pl.DataFrame(
        {
            "user_id": user,
            "item_id": item,
            "action": "view",
            "time": market.time[happens],
            "surface": rng.choice(["home", "search"], len(item)).tolist(),
            "campaign": [f"campaign {value}" for value in campaign],
        }
    )
    context = [Column(name="surface", op=Op.VOCABULARY, vocabulary=("home", "search"))]
    if market.campaign:
        context.append(Column(name="campaign", op=Op.HASH, buckets=4096))
    schema = Schema(
        item_id="int64",
        user=tuple(
            Column(name=column, op=Op.VOCABULARY, vocabulary=infer_vocabulary(users_frame[column])) for column in ("region", "plan")
        ),
        context=tuple(context),
        item=(
            Column(name="id", op=Op.ITEM_ROW, vocabulary=id_vocabulary(items_frame["item_id"]), in_history=True),
            Column(name="kind", op=Op.VOCABULARY, vocabulary=infer_vocabulary(items_frame["kind"]), in_history=True),
        ),
        actions=("view",),
        tasks=("view",),
    )
    return Dataset(name=name, schema=schema, users=users_frame, items=items_frame, events=events)
