"""One answer of the service against PyTorch's answer to the same request, at every stage that the answer shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from shortlist.export.compare import Tolerance, order_violation, tensor_violation, worst_ratio
from shortlist.gen.shortlist.v1 import ranking_pb2 as wire

Trace = Mapping[str, NDArray[np.generic]]  # the golden tensors of docs/bundle.md, without their prefix


@dataclass
class Tally:
    """What a comparison found; one for each pair of runtimes. `worst` is the largest |difference| / tolerance."""

    name: str
    tolerance: Tolerance
    cases: int = 0
    tensors: int = 0
    values: int = 0
    worst: float = 0.0
    worst_at: str = ""
    violations: list[str] = field(default_factory=list)

    def tensor(self, case: str, stage: str, got: NDArray[np.generic], want: NDArray[np.generic]) -> None:
        self.tensors += 1
        self.values += want.size
        if got.shape == want.shape and want.dtype == np.float32:
            ratio = worst_ratio(got, want, self.tolerance)
            if ratio > self.worst:
                self.worst, self.worst_at = ratio, f"{case}, {stage}"
        self.check(case, stage, tensor_violation(got, want, self.tolerance))

    def ranked(
        self, case: str, stage: str, rows: Sequence[int], scores: Sequence[float], want_rows: NDArray[np.generic], want: NDArray[np.generic]
    ) -> None:
        """A ranked list: scores within the tolerance, and the order under the tie rule."""
        self.tensor(case, stage, np.array(scores, np.float32), want)
        self.check(case, stage, order_violation(np.array(rows, np.int64), np.array(scores, np.float32), want_rows, want, self.tolerance))

    def equal(self, case: str, stage: str, got: object, want: object) -> None:
        self.check(case, stage, None if got == want else f"is {got}, not {want}")

    def check(self, case: str, stage: str, violation: str | None) -> None:
        if violation is not None:
            self.violations.append(f"{case}, {stage}: {violation}")

    def report(self) -> dict[str, object]:
        shown = {name: getattr(self, name) for name in ("name", "cases", "tensors", "values", "worst", "worst_at")}
        return shown | {"violations": len(self.violations), "first_violations": self.violations[:20]}

    def verdict(self) -> str:
        word = "PASS" if not self.violations and self.cases else "FAIL"
        return (
            f"{word} {self.name}: {self.cases} cases, {self.tensors} tensors, {self.values} values, {len(self.violations)} violations, "
            f"worst difference {self.worst:.3g} of the tolerance ({self.worst_at or 'none'})"
        )


def compare_answer(
    tally: Tally, case: str, method: str, answer: wire.RecommendResponse, want: Trace, row_of: Mapping[int | str, int]
) -> None:
    """`answer` must explain every item of `want["merged_rows"]`."""
    tally.cases += 1
    tally.equal(case, "rung", wire.Rung.Name(answer.coverage.rung), "RUNG_FULL")
    # A user that the store does not know is answered as one without a history, and told; nothing is left out.
    reasons = [f"{one.stage}: {one.reason}" for one in answer.coverage.degradations if one.reason != "unknown_user"]
    tally.equal(case, "degradations", reasons, [])
    rows = [row_of[item] for item in ids(answer.items)]
    explained = {row_of[ids(one.item)[0]]: one for one in answer.explanations if one.known}
    merged = want["merged_rows"].tolist()
    tally.equal(case, "explained rows", [row for row in merged if row not in explained], [])
    if not set(merged) <= set(explained):
        return
    _sources(tally, case, explained, want)
    if method == "Retrieve":
        tally.equal(case, "retrieved items", rows, merged[: len(rows)])
        return
    if not merged:
        tally.equal(case, "items", rows, [])
        return
    stories = [explained[row] for row in merged]
    tally.equal(
        case,
        "rows without a prerank score",
        [row for row, one in zip(merged, stories, strict=True) if not one.HasField("prerank_score")],
        [],
    )
    tally.tensor(case, "preranking", np.array([one.prerank_score for one in stories], np.float32), want["prerank_score"])
    tally.tensor(case, "cross", np.array([[*one.cross] for one in stories], np.float32).reshape(want["cross"].shape), want["cross"])
    kept = want["kept_rows"].tolist()
    ranked = [explained[row] for row in kept]
    if unranked := [row for row, one in zip(kept, ranked, strict=True) if not one.logits]:
        tally.check(case, "ranking", f"{len(unranked)} kept rows have no logits, the first is {unranked[0]}")
        return
    tally.tensor(case, "ranking", np.array([[*one.logits] for one in ranked], np.float32), want["logits"])
    tally.tensor(case, "blending", np.array([one.score for one in ranked], np.float32), want["score"])
    tally.ranked(case, "final order", rows, answer.scores, want["final_rows"], want["final_scores"])
    _predictions(tally, case, answer, explained, rows)


def _sources(tally: Tally, case: str, explained: Mapping[int, wire.Explanation], want: Trace) -> None:
    """Each source's list, put together from the explanations of its items."""
    for name in (
        name.removeprefix("source.").removesuffix(".rows") for name in want if name.startswith("source.") and name.endswith(".rows")
    ):
        places = sorted((one.rank, row, one.score) for row, story in explained.items() for one in story.sources if one.source == name)
        rows, scores = [row for _, row, _ in places], [score for *_, score in places]
        tally.ranked(case, f"retrieval from {name}", rows, scores, want[f"source.{name}.rows"], want[f"source.{name}.scores"])


def _predictions(
    tally: Tally, case: str, answer: wire.RecommendResponse, explained: Mapping[int, wire.Explanation], rows: Sequence[int]
) -> None:
    """The probabilities of an answer are the sigmoids of its own logits."""
    for position, task in enumerate(answer.tasks):
        logits = np.array([explained[row].logits[position] for row in rows], np.float64)
        tally.tensor(
            case, f"predictions of {task.task}", np.array(task.predictions, np.float32), (1 / (1 + np.exp(-logits))).astype(np.float32)
        )


def ids(message: wire.ItemIds) -> list[int | str]:
    return [*message.ints, *message.strings]
