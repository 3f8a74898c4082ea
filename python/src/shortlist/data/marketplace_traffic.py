"""Requests to the synthetic marketplace, what its logging policy shows, and what users do: click, contact, purchase."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shortlist.data import marketplace_world as world
from shortlist.data.marketplace_world import Ints, Items, Users

HOME, SEARCH = 0, 1
SHOWN = 10  # items of a page
SECONDS_PER_ITEM = 15
REQUEST_SECONDS = 180  # least time between two requests of a user, longer than reading a page
_CANDIDATES = 24  # items that the logging policy considers for a page
_CHUNK = 16_384  # requests simulated together: their arrays stay in cache
_SEARCH_SHARE = 0.6
_REQUESTS_PER_SESSION = 2.5
# Share of candidates drawn from the wanted subcategory and from its category, by surface; the others come from everywhere.
_FROM_SUBCATEGORY, _FROM_CATEGORY = (0.25, 0.7), (0.3, 0.2)
_HOUR_WEIGHTS = np.array([2, 1, 1, 1, 1, 2, 4, 6, 8, 9, 9, 9, 10, 10, 9, 9, 9, 10, 12, 14, 15, 14, 10, 5], dtype=np.float64)


@dataclass(frozen=True)
class Requests:
    """Grouped by user, in time order."""

    user: Ints  # [R]
    time: Ints  # [R]
    surface: Ints  # [R]
    intent: Ints  # [R] subcategory that the user wants now


@dataclass(frozen=True)
class Shown:
    """Items on pages, by request and position. `depth` counts what the user did: 0 nothing, 1 click, 2 contact too, 3 purchase too."""

    request: Ints  # [N]
    item: Ints  # [N]
    position: Ints  # [N]
    depth: Ints  # [N]

    def where(self, mask: npt.NDArray[np.bool_]) -> Shown:
        return Shown(self.request[mask], self.item[mask], self.position[mask], self.depth[mask])


def make_requests(rng: np.random.Generator, users: Users, count: int, start: int, days: int) -> Requests:
    """About `count` requests; every user makes at least one."""
    per_user = np.maximum(1, rng.poisson(users.activity * count / len(users.activity)))
    user = np.repeat(np.arange(len(per_user)), per_user)
    first = np.cumsum(per_user) - per_user
    opens_session = rng.random(len(user)) < 1 / _REQUESTS_PER_SESSION
    opens_session[first] = True
    return Requests(
        user=user,
        time=_times(rng, user, opens_session, start, days),
        surface=(rng.random(len(user)) < _SEARCH_SHARE).astype(np.int64),
        intent=_intents(rng, users, per_user, first, opens_session),
    )


def _times(rng: np.random.Generator, user: Ints, opens_session: npt.NDArray[np.bool_], start: int, days: int) -> Ints:
    session = np.cumsum(opens_session) - 1
    owner = user[opens_session]
    hour = rng.choice(24, size=len(owner), p=_HOUR_WEIGHTS / _HOUR_WEIGHTS.sum())
    begin = rng.integers(0, days, len(owner)) * 86_400 + hour * 3_600 + rng.integers(0, 3_600, len(owner))
    begin = begin[np.lexsort((begin, owner))]  # each user's sessions in time order
    # A running maximum keeps requests apart where sessions overlap; the offset keeps users apart.
    number = np.arange(len(user)) * REQUEST_SECONDS
    offset = user * (2 * days * 86_400 + len(user) * REQUEST_SECONDS)
    within = np.arange(len(user)) - np.flatnonzero(opens_session)[session]
    wanted = begin[session] + within * (REQUEST_SECONDS + 20)
    times: Ints = np.maximum.accumulate(wanted - number + offset) + number - offset + start
    return times


def _intents(rng: np.random.Generator, users: Users, per_user: Ints, first: Ints, opens_session: npt.NDArray[np.bool_]) -> Ints:
    """A chain for each user: stay with a subcategory, move to one that tends to follow it, or start anew from taste."""
    successors = world.make_successors(rng)
    successor_cdf = np.cumsum(world.SUCCESSOR_SHARES)[:-1]
    taste_cdf = np.cumsum(users.taste, axis=1)
    intent = np.empty(len(opens_session), dtype=np.int64)
    busiest_first = np.argsort(-per_user, kind="stable")
    for k in range(int(per_user.max())):
        active = busiest_first[: int(np.searchsorted(-per_user[busiest_first], -k, side="left"))]
        request = first[active] + k
        draw = rng.random(len(active), dtype=np.float32)
        stays, moves = np.where(opens_session[request], 0.35, 0.7), np.where(opens_session[request], 0.75, 0.92)
        if k > 0:
            now = intent[request - 1]
            follow = successors[now, np.searchsorted(successor_cdf, rng.random(len(active)))]
            now = np.where(draw < stays, now, follow)
        else:
            now, moves = np.zeros(len(active), dtype=np.int64), np.zeros(len(active))
        anew = np.flatnonzero(draw >= moves)
        drawn = (taste_cdf[active[anew]] < rng.random((len(anew), 1), dtype=np.float32)).sum(axis=1)
        now[anew] = drawn.clip(max=world.SUBCATEGORIES - 1)
        intent[request] = now
    return intent


def simulate(
    rng: np.random.Generator, users: Users, items: Items, requests: Requests, logged: npt.NDArray[np.bool_]
) -> tuple[Shown, Shown]:
    """What was engaged with in all requests, and everything shown in the `logged` ones.

    A user meets an item no more once they have engaged with it: such rows are taken off later pages.
    """
    engaged, shown = [], []
    for begin in range(0, len(requests.user), _CHUNK):
        part = np.arange(begin, min(begin + _CHUNK, len(requests.user)))
        rows = _pages(rng, users, items, requests, part)
        engaged.append(rows.where(rows.depth > 0))
        shown.append(rows.where(logged[rows.request]))
    return _without_repeats(requests, len(items.city), _join(engaged), _join(shown))


def _pages(rng: np.random.Generator, users: Users, items: Items, requests: Requests, part: Ints) -> Shown:
    """Pages of the requests `part`, [R,SHOWN] flattened, without unavailable items and duplicates."""
    user, surface, intent, time = requests.user[part], requests.surface[part], requests.intent[part], requests.time[part]
    candidate = _candidates(rng, items, intent, surface)
    available = (items.available_from[candidate] <= time[:, None]) & (
        (items.available_until[candidate] > time[:, None]) | (items.available_until[candidate] == 0)
    )
    local = items.city[candidate] == users.city[user][:, None]
    # The policy knows the city and, roughly, quality; the noise explores.
    score = 0.7 * local + 0.3 * items.quality[candidate] + rng.gumbel(0, 0.7, candidate.shape).astype(np.float32)
    score[~available] = -np.inf
    best = np.argsort(-score, axis=1)[:, :SHOWN]
    item, valid, local = (np.take_along_axis(values, best, axis=1) for values in (candidate, available, local))
    for column in range(1, SHOWN):
        valid[:, column] &= (item[:, :column] != item[:, column, None]).all(axis=1)
    depth = _outcomes(rng, users, items, user[:, None], intent[:, None], item, local)
    position = np.broadcast_to(np.arange(SHOWN), item.shape)
    request = np.broadcast_to(part[:, None], item.shape)
    return Shown(request[valid], item[valid], position[valid], depth[valid])


def _candidates(rng: np.random.Generator, items: Items, intent: Ints, surface: Ints) -> Ints:
    """[R,_CANDIDATES] items drawn by exposure from the subcategory, its category, or all."""
    ranges, width = items.ranges(), world.SUBCATEGORIES // world.CATEGORIES
    cumulative = np.concatenate([[0.0], np.cumsum(items.exposure, dtype=np.float64)])
    level = rng.random((len(intent), _CANDIDATES), dtype=np.float32)
    near = np.array(_FROM_SUBCATEGORY)[surface][:, None]
    middle = near + np.array(_FROM_CATEGORY)[surface][:, None]
    category = intent // width * width
    bounds = [
        np.where(level < near, cumulative[ranges[a]][:, None], np.where(level < middle, cumulative[ranges[b]][:, None], end))
        for a, b, end in ((intent, category, 0.0), (intent + 1, category + width, cumulative[-1]))
    ]
    drawn = bounds[0] + rng.random(level.shape) * (bounds[1] - bounds[0])
    found: Ints = (np.searchsorted(cumulative, drawn, side="right") - 1).clip(0, len(items.city) - 1)
    return found


def _outcomes(
    rng: np.random.Generator, users: Users, items: Items, user: Ints, intent: Ints, item: Ints, local: npt.NDArray[np.bool_]
) -> Ints:
    """Depth [R,SHOWN] of engagement. Clicks need a look at the position (a cascade-free position bias), later steps do not."""
    width = world.SUBCATEGORIES // world.CATEGORIES
    wanted = items.subcategory[item]
    fit = -((users.price_level[user] - items.price_level[item]) ** 2) / 2
    quality = items.quality[item]
    style = np.einsum("rs,rws->rw", users.style[user[:, 0]], items.style[item], optimize=True)
    interest = 1.6 * (wanted == intent) + 0.5 * (wanted // width == intent // width) + 0.25 * np.log(users.taste[user, wanted] * 20 + 0.05)
    click = _sigmoid(interest + 0.9 * local + 0.7 * fit + 0.6 * quality + 0.5 * style - 2.4)
    look = 1 / (1 + np.arange(item.shape[1], dtype=np.float32)) ** 0.4
    contact = _sigmoid(0.9 * local + 0.5 * fit + 0.4 * quality - 1.0)
    purchase = _sigmoid(0.5 * fit + 0.5 * quality - 0.6)
    chance = rng.random((3, *item.shape), dtype=np.float32)
    clicks = chance[0] < look * click
    contacts = clicks & (chance[1] < contact)
    purchases = contacts & (chance[2] < purchase)
    depth: Ints = clicks.astype(np.int64) + contacts + purchases
    return depth


def _without_repeats(requests: Requests, item_count: int, engaged: Shown, shown: Shown) -> tuple[Shown, Shown]:
    """Rows arrive in request order, so the first of a (user, item) is the engagement and rows of later requests go."""
    keys, first = np.unique(requests.user[engaged.request] * item_count + engaged.item, return_index=True)
    engagement = engaged.request[first]
    if len(keys) == 0:
        return engaged, shown
    key = requests.user[shown.request] * item_count + shown.item
    at = np.searchsorted(keys, key).clip(max=len(keys) - 1)
    later = (keys[at] == key) & (shown.request > engagement[at])
    keep = np.zeros(len(engaged.request), dtype=bool)
    keep[first] = True
    return engaged.where(keep), shown.where(~later)


def _join(parts: list[Shown]) -> Shown:
    return Shown(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("request", "item", "position", "depth")))


def _sigmoid(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    shares: npt.NDArray[np.floating] = 1 / (1 + np.exp(-logits))
    return shares
