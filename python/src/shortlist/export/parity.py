"""Does a backend reproduce the golden tensors? Each stage is fed the stored outputs of the stage before it, so that one difference is
reported once and where it arises; then whole requests are run end to end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shortlist.errors import ShortlistError
from shortlist.export.compare import Tolerance, order_violation, tensor_violation, worst_ratio
from shortlist.export.golden import case
from shortlist.export.queries import decode
from shortlist.export.reference import ReferenceFunnel, best_first, merge
from shortlist.export.tables import Array, Tensors
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire


@dataclass(frozen=True)
class Violation:
    """A golden tensor that was not reproduced."""

    case: int
    stage: str
    tensor: str
    message: str

    def __str__(self) -> str:
        return f"case {self.case}, stage {self.stage}, tensor {self.tensor}: {self.message}"


@dataclass(frozen=True)
class Parity:
    """`worst_ratio` is the largest |difference| / tolerance over all stages; 1 is the limit."""

    cases: int
    violations: tuple[Violation, ...]
    worst_ratio: float
    worst_at: str


def check_parity(funnel: ReferenceFunnel, requests: Sequence[wire.RecommendRequest], tensors: Tensors, tolerance: Tolerance) -> Parity:
    """All cases. A case that cannot be run is a violation too."""
    violations: list[Violation] = []
    worst, worst_at = 0.0, ""
    for number, request in enumerate(requests):
        checker = _Case(number, request, case(tensors, number), funnel, tolerance)
        try:
            violations += checker.violations()
        except (ShortlistError, KeyError, IndexError) as error:
            violations.append(Violation(number, "any", "", f"cannot be run: {error!r}"))
        if checker.worst > worst:
            worst, worst_at = checker.worst, checker.worst_at
    return Parity(len(requests), tuple(violations), worst, worst_at)


class _Case:
    """One golden case. `want` are its stored tensors."""

    def __init__(self, number: int, request: wire.RecommendRequest, want: Tensors, funnel: ReferenceFunnel, tolerance: Tolerance) -> None:
        self.number, self.request, self.want, self.funnel, self.tolerance = number, request, want, funnel, tolerance
        self.exact = tolerance.strictest()
        self.worst, self.worst_at = 0.0, ""

    def violations(self) -> list[Violation]:
        return [*self._stages(), *self._end_to_end()]

    def _stages(self) -> Iterator[Violation]:
        want, funnel, content = self.want, self.funnel, self.funnel.content
        query = decode(self.request, content.schema)
        history = funnel.history(query)
        got = funnel.inputs(query, history)
        for name, value in got.items():
            yield from self._tensor("assemble", f"in.{name}", value, self.exact)
        inputs = {name.removeprefix("in."): value for name, value in want.items() if name.startswith("in.")}
        if missing := sorted(set(got) ^ set(inputs)):
            yield Violation(self.number, "assemble", f"in.{missing[0]}", "is stored or computed, but not both")
            return
        for name, value in funnel.read_sequence(inputs).items():
            yield from self._tensor("sequence_encoder", name, value)
        yield from self._tensor("query_encoder", "query_vectors", funnel.query_vectors(inputs, want))
        if query.candidates is None:
            allowed = funnel.allowed(query, history)
            names = [source.name for source in content.funnel.sources]
            for source in content.funnel.sources:
                rows, scores = funnel.retrieve(source, query, history, want["query_vectors"], allowed)
                yield from self._ranked(
                    f"retrieval from {source.name}", f"source.{source.name}.rows", f"source.{source.name}.scores", rows, scores
                )
            merged = merge([want[f"source.{name}.rows"] for name in names])
        else:
            merged = funnel.candidates(query)
        yield from self._tensor("merge", "merged_rows", merged)
        if len(want["merged_rows"]) == 0:
            return
        merged = want["merged_rows"]
        yield from self._tensor("cross", "cross", funnel.cross(query, history, merged), self.exact)
        yield from self._tensor("preranking", "prerank_score", funnel.prerank(want["query_vectors"], merged, want["cross"]))
        order = best_first(merged, want["prerank_score"])
        order = order if query.candidates is not None else order[: content.funnel.prerank_keep]
        yield from self._tensor("preranking", "kept_rows", merged[order])
        keys, values = funnel.encode_history(inputs)
        yield from self._tensor("history_encoder", "keys", keys)
        yield from self._tensor("history_encoder", "values", values)
        yield from self._tensor("ranking", "logits", funnel.rank(inputs, want, order))
        yield from self._tensor("blending", "score", funnel.value(want["logits"], want["kept_rows"]))
        final = best_first(want["kept_rows"], want["score"])[: funnel.limit(query)]
        yield from self._tensor("blending", "final_rows", want["kept_rows"][final])
        yield from self._tensor("blending", "final_scores", want["score"][final])

    def _end_to_end(self) -> Iterator[Violation]:
        """The whole request. Where a cut fell between two equal scores, only what both sides kept can be compared."""
        got, want = self.funnel.run(self.request), self.want
        rows, scores = got["final_rows"], got["final_scores"]
        want_rows, want_scores = want["final_rows"], want["final_scores"]
        if "kept_rows" in got and "kept_rows" in want:
            common = np.intersect1d(got["kept_rows"], want["kept_rows"])
            if len(common) < max(len(got["kept_rows"]), len(want["kept_rows"])):
                mine, theirs = np.isin(rows, common), np.isin(want_rows, common)
                count = min(int(mine.sum()), int(theirs.sum()))
                rows, scores, want_rows, want_scores = (
                    rows[mine][:count],
                    scores[mine][:count],
                    want_rows[theirs][:count],
                    want_scores[theirs][:count],
                )
        message = order_violation(rows, scores, want_rows, want_scores, self.tolerance)
        if message is not None:
            yield Violation(self.number, "end to end", "final_rows", message)

    def _tensor(self, stage: str, name: str, got: Array, tolerance: Tolerance | None = None) -> Iterator[Violation]:
        want, tolerance = self.want[name], tolerance or self.tolerance
        if got.shape == want.shape and got.dtype == want.dtype == np.float32:
            self._note(worst_ratio(got, want, tolerance), name)
        if (message := tensor_violation(got, want, tolerance)) is not None:
            yield Violation(self.number, stage, name, message)

    def _ranked(self, stage: str, rows_name: str, scores_name: str, rows: Array, scores: Array) -> Iterator[Violation]:
        want_rows, want_scores = self.want[rows_name], self.want[scores_name]
        if scores.shape == want_scores.shape:
            self._note(worst_ratio(scores, want_scores, self.tolerance), scores_name)
        if (message := order_violation(rows, scores, want_rows, want_scores, self.tolerance)) is not None:
            yield Violation(self.number, stage, rows_name, message)

    def _note(self, ratio: float, tensor: str) -> None:
        if ratio > self.worst:
            self.worst, self.worst_at = ratio, f"case {self.number}, tensor {tensor}"
