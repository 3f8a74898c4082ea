"""Calibrates a trained ranker on held-out data, and says what that changed on data that neither training nor the fit has seen.

With logged pages a probability is that of an outcome at a typical place of a page. Without them it is that of being the next event among
the candidates that reach the ranker: whole lists of the funnel, so no sampling of negatives has to be corrected.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from shortlist.data.dataset import Split
from shortlist.data.labels import event_labels
from shortlist.data.splits import split_requests
from shortlist.metrics.calibration import expected_calibration_error, reliability_bins
from shortlist.metrics.log_loss import log_loss
from shortlist.models.preranker import Preranker
from shortlist.models.ranker import AnyRanker
from shortlist.training.affine import Affine, fit_affine
from shortlist.training.batches import LogTensors, Rows
from shortlist.training.candidates import has_pages
from shortlist.training.cascade import CascadeEvaluation
from shortlist.training.config import Cascade
from shortlist.training.cross import CrossCounters
from shortlist.training.impressions import impressions_of, page_labels, page_logits
from shortlist.training.retrieval import at_most
from shortlist.training.scoring import FrozenRetriever

Floats = npt.NDArray[np.float64]

# What calibration looks at of each part, at most: two parameters per task need no more.
MOST_PAGES = 20_000
MOST_TARGETS = 2_000


@dataclass(frozen=True)
class Observations:
    """Task logits before calibration and labels, both [n,T]."""

    logits: Floats
    labels: Floats


def calibrate(
    ranker: AnyRanker,
    preranker: Preranker,
    retriever: FrozenRetriever,
    cross: CrossCounters,
    split: Split,
    targets: dict[str, Rows],
    cascade: Cascade,
    seed: int,
) -> dict[str, Any]:
    """Fit on the validation part, set the ranker's calibration, and return what run.json keeps of it.

    `targets` are those of "validation" and "test", used where there are no pages. The test part only measures.
    """
    ranker.calibration.reset()
    pages = held_out_pages(retriever.log, split, seed) if has_pages(retriever.log.log, split) else {}
    observed = {}
    for part, target in targets.items():
        if pages:
            observed[part] = shown_items(retriever, preranker, ranker, cross, pages[part])
        else:
            observed[part] = candidates(
                CascadeEvaluation(retriever, cross, at_most(target, MOST_TARGETS, seed), cascade), preranker, ranker
            )
    tasks: dict[str, Any] = {}
    maps = []
    for task, name in enumerate(retriever.log.schema.tasks):
        pairs = {part: (each.logits[:, task], each.labels[:, task]) for part, each in observed.items()}
        maps.append(fit_affine(*pairs["validation"]))
        tasks[name] = asdict(maps[-1]) | {part: effect(maps[-1], *pair) for part, pair in pairs.items()}
    ranker.calibration.set([each.slope for each in maps], [each.intercept for each in maps])
    return {"observations": "shown items" if pages else "candidates", "tasks": tasks}


def effect(fitted: Affine, logits: Floats, labels: Floats) -> dict[str, Any]:
    """Log-loss, expected calibration error and reliability bins (of equal mass) before and after a map."""
    found: dict[str, Any] = {"observations": len(labels), "positives": int(labels.sum())}
    if len(labels) == 0:
        return found
    for when, probabilities in (("before", expit(logits)), ("after", expit(fitted(logits)))):
        bins = reliability_bins(labels, probabilities, edges="mass")
        found[when] = {
            "log_loss": log_loss(labels, probabilities),
            "ece": expected_calibration_error(bins),
            "bins": {"count": bins.count.tolist(), "prediction": bins.prediction.tolist(), "label": bins.label.tolist()},
        }
    return found


def candidates(evaluation: CascadeEvaluation, preranker: Preranker, ranker: AnyRanker) -> Observations:
    """Every candidate that reaches the ranker for the evaluation's targets; the target's item alone has labels, those of its action."""
    log = evaluation.retriever.log
    logits, labels = [np.zeros((0, len(log.schema.tasks)))], [np.zeros((0, len(log.schema.tasks)))]
    for chosen, lists, scores in evaluation.rankings(preranker, ranker):
        target = evaluation.target[chosen]
        valid = lists.valid[:, 0].cpu().numpy()
        is_target = lists.rows[:, 0].cpu().numpy() == log.log.item[target][:, None]
        of_action = event_labels(log.schema, log.log.action[target])[:, None]
        logits.append(scores[:, 0].double().cpu().numpy()[valid])
        labels.append((is_target[..., None] * of_action)[valid])
    return Observations(np.concatenate(logits), np.concatenate(labels).astype(np.float64))


def shown_items(retriever: FrozenRetriever, preranker: Preranker, ranker: AnyRanker, cross: CrossCounters, requests: Rows) -> Observations:
    """Every item of the logged pages `requests`."""
    _, logits = page_logits(retriever, preranker, ranker, cross, requests)
    return Observations(logits.astype(np.float64), page_labels(retriever.log, requests).astype(np.float64))


def held_out_pages(log: LogTensors, split: Split, seed: int) -> dict[str, Rows]:
    """At most MOST_PAGES random requests of the validation and of the test time."""
    _, validation, test = split_requests(impressions_of(log), split)
    return {part: at_most(requests, MOST_PAGES, seed) for part, requests in (("validation", validation), ("test", test))}
