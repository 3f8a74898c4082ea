"""Write tests/cases/parity.jsonl: the requests that PyTorch, Python ONNX Runtime and shortlistd must answer alike.

Deterministic. Without --rewrite it only checks that the file is what it would write.

Example: python tests/cases/write_parity.py --rewrite
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from cases.worlds import PATH, WORLDS, dataset, item_ids
from shortlist.schema import Column, Op
from shortlist.testing.toy_data import START, WORDS

Line = dict[str, Any]
DAY = 86_400
UNKNOWN = {"small": ["no such item", "物-0"], "medium": [-1, 2**62]}
# What normalisation, tokens and hashes may stumble over: case pairs outside ASCII, combining marks, wide and zero-width spaces, emoji.
TEXTS = [
    "",
    " ",
    "КРАСНЫЕ  Туфли",
    "\u0130stanbul \u0131I",
    "Straße STRASSE ẞ",
    "e\u0301cole \u00e9cole",
    "\uff21\uff22\uff23 fullwidth",
    "東京 カメラ\u3000自転車",
    "zero\u200bwidth\u2060join",
    "🚲🏽 bike 👨‍👩‍👧",
    "a\u00a0b\u2003c\td\ne",
    'it\'s 4K! 50% <off> & "more"',
    "ΣΊΣΥΦΟΣ σίσυφος",
    "ǅungla Ǆ ǆ",
    "\u0130\u0131\u017f\u212a",
    "שלום عليكم ١٢٣",
    "x" * 300,
    "one two three four five six seven eight nine",
    "--- ... ---",
    "\U0001f600" * 40,
]


def lines() -> Iterator[Line]:
    rng = random.Random(20261121)
    for world in WORLDS:
        maker = Maker(world, rng)
        yield from maker.edges()
        yield from maker.texts()
        yield from maker.filters()
        share = 2 if world == "small" else 1
        for number in range(200 * share):
            yield maker.line(f"recommend {number}", "Recommend", **maker.history(rng.randrange(0, 3 * maker.window)))
        for number in range(100 * share):
            yield maker.ranking(f"rank {number}", rng.randrange(1, 120), rng.randrange(0, 2 * maker.window))
        for number in range(30):
            yield maker.line(f"retrieve {number}", "Retrieve", **maker.history(rng.randrange(0, maker.window)))


class Maker:
    """Makes the lines of one world."""

    def __init__(self, world: str, rng: random.Random) -> None:
        self.world, self.rng = world, rng
        self.schema, self.ids = dataset(world).schema, item_ids(world)
        self.window, self.step = self.schema.history_max_events, self.schema.history_step

    def line(self, name: str, method: str, *, history: Line | None = None, items: list[Any] | None = None, **extra: Any) -> Line:
        """A line with random features, context and time. `history` is a span or, as `items`, a list of ids."""
        user: Line = {"history": {}, "features": self.values(self.schema.user)}
        if items:
            user["history"]["items"] = self.id_list(items)
            if self.rng.random() < 0.8:
                user["history"]["actions"] = [self.rng.choice(self.schema.actions) for _ in items]
        elif history and self.rng.random() < 0.8:
            history |= {"actions": [self.rng.choice(self.schema.actions) for _ in range(min(history["count"], 5))]}
        request: Line = {"user": user, "context": self.values(self.schema.context), "limit": self.rng.choice([0, 1, 5, 20])}
        request["time"] = START + self.rng.randrange(0, 15 * DAY)
        request.update(extra.pop("request", {}))
        line: Line = {"name": f"{self.world}: {name}", "world": self.world, "method": method, **extra, "request": request}
        return line | ({"history": history} if history else {})

    def history(self, count: int) -> Line:
        """A span; where it is short and of the small world, a list of ids, sometimes unknown ones."""
        if self.world == "medium" or count > 15:
            return {"history": self.span(count)} if count else {}
        return {
            "items": [
                self.rng.choice(UNKNOWN["small"][:2]) if self.rng.random() < 0.05 else self.rng.choice(self.ids) for _ in range(count)
            ]
        }

    def ranking(self, name: str, count: int, events: int) -> Line:
        line = self.line(name, "Rank", **self.history(events))
        if self.world == "medium" or count > 30:
            return line | {"candidates": self.span(count)}
        chosen = [self.rng.choice(self.ids) for _ in range(count)]  # with duplicates
        line["request"]["candidates"] = self.id_list(chosen)
        return line

    def edges(self) -> Iterator[Line]:
        """Lengths of histories and candidate lists where something begins or ends."""
        for length in (
            0,
            1,
            2,
            self.window - 1,
            self.window,
            self.window + 1,
            self.window + self.step,
            self.window + self.step + 1,
            10 * self.window,
        ):
            yield self.line(f"history of {length}", "Recommend", **({"history": self.span(length)} if length else {}))
            yield self.ranking(f"rank after a history of {length}", 40, 0) | ({"history": self.span(length)} if length else {})
        unknown = UNKNOWN[self.world]
        known = list(self.ids[:4])
        for name, items in (
            ("oldest", [unknown[0], *known]),
            ("newest", [*known, unknown[0]]),
            ("all", unknown[:2]),
            ("repeated", known[:1] * 5),
        ):
            yield self.line(f"unknown or repeated events: {name}", "Recommend", items=items)
        yield self.line("nothing known", "Recommend", request={"user": {}, "context": {}})
        yield self.line("unknown user", "Recommend", request={"user": {"id": "nobody-ever"}, "context": {}})
        for flag in ("keep_seen", "keep_unavailable"):
            yield self.line(flag, "Recommend", **self.history(8), request={"filters": {flag: True}})
        for time in (1, START, START + 7 * DAY, 2**33):
            yield self.line(f"at time {time}", "Recommend", **self.history(3), request={"time": time})
        sizes = (1, 2, 60, 3000)
        for start in range(4):
            for size in sizes:
                line = self.line(f"{size} candidates from {start}", "Rank", **self.history(5 * start), request={"limit": 50})
                yield line | {"candidates": {"start": start, "count": size, "stride": 1 + 2 * start}}
        for padding in (unknown[:1], unknown[:2], list(self.ids[:1])):
            given = (list(self.ids[:50]) + padding * 300)[:300]
            line = self.line(f"padded with {padding}", "Rank", **self.history(4))
            line["request"]["candidates"] = self.id_list(given)
            yield line
        yield self.line("unknown candidates only", "Rank", request={"candidates": self.id_list(unknown[:2])})
        reverse = self.line("candidates in reverse with duplicates", "Rank", **self.history(6))
        reverse["request"]["candidates"] = self.id_list([*reversed(self.ids[:30]), *self.ids[10:20]])
        yield reverse

    def texts(self) -> Iterator[Line]:
        """Every awkward text in every column that takes one."""
        for position, text in enumerate(TEXTS):
            context = {column.name: self.text_value(column, text) for column in self.schema.context if column.op is not Op.NUMBER}
            user = {column.name: self.text_value(column, text) for column in self.schema.user if column.op is not Op.NUMBER}
            request = {"context": context, "user": {"history": {}, "features": user}}
            yield self.line(f"text {position}", "Recommend", request=request)
            line = self.ranking(f"rank for text {position}", 30, 0)
            line["request"] |= request
            yield line

    def filters(self) -> Iterator[Line]:
        items = dataset(self.world).items
        for number in range(30):
            column = self.rng.choice(self.schema.item)
            condition: Line = {"column": column.name}
            if column.op is Op.NUMBER:
                low, high = sorted(self.rng.choice([5.0, 12.5, 20.0, 33.3, 80.0]) for _ in range(2))
                condition |= self.rng.choice([{"min": low}, {"max": high}, {"min": low, "max": high}])
            else:
                source = "item_id" if column.op is Op.ITEM_ROW else column.name
                values = [value for raw in items[source].to_list()[:40] for value in (raw if isinstance(raw, list) else [raw])]
                chosen = [self.value(value) for value in self.rng.sample(values, 3)]
                condition[self.rng.choice(["any_of", "none_of"])] = chosen
            request = {"filters": {"columns": [condition]}, "limit": 20}
            yield self.line(f"filter {number} on {column.name}", "Recommend", **self.history(6), request=request)
            line = self.ranking(f"rank with filter {number} on {column.name}", 40, 5)
            line["request"] |= request
            yield line
        nothing = {"filters": {"columns": [{"column": "category", "any_of": [{"text": "no such category"}]}]}}
        yield self.line("filter that nothing passes", "Recommend", **self.history(3), request=nothing)

    def span(self, count: int) -> Line:
        return {"start": self.rng.randrange(len(self.ids)), "count": count, "stride": self.rng.choice([1, 7, 13, 31])}

    def values(self, columns: tuple[Column, ...]) -> Line:
        """Random values, some missing, some unknown to the vocabulary."""
        values: Line = {}
        for column in columns:
            if self.rng.random() < 0.2:
                continue
            if column.op is Op.NUMBER:
                values[column.name] = {"number": round(self.rng.uniform(column.minimum or 0.0, column.maximum or 100.0), 3)}
            elif column.op is Op.VOCABULARY_LIST:
                texts = self.rng.sample([*column.vocabulary, "unheard of"], self.rng.randrange(0, 5))
                values[column.name] = {"texts": {"values": texts}}
            elif column.op is Op.VOCABULARY:
                values[column.name] = {"text": self.rng.choice([*column.vocabulary, "unheard of"])}
            else:
                values[column.name] = {"text": " ".join(self.rng.sample(WORDS, self.rng.randrange(0, 4)))}
        return values

    def text_value(self, column: Column, text: str) -> Line:
        return {"texts": {"values": [text, *column.vocabulary[:1]]}} if column.op is Op.VOCABULARY_LIST else {"text": text}

    @staticmethod
    def value(raw: object) -> Line:
        return {"integer": raw} if isinstance(raw, int) else {"text": raw}

    def id_list(self, items: list[Any]) -> Line:
        return {"strings" if self.world == "small" else "ints": items}


def render() -> str:
    return "".join(json.dumps(line, ensure_ascii=True, separators=(",", ":")) + "\n" for line in lines())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rewrite", action="store_true", help="write the file instead of checking it")
    text = render()
    if parser.parse_args().rewrite:
        PATH.write_text(text)
        print(f"{PATH.name}: {text.count(chr(10))} cases")
    elif not PATH.exists() or PATH.read_text() != text:
        sys.exit(f"{PATH.name} is stale: run `make cases`, read the diff, commit it")


if __name__ == "__main__":
    main()
