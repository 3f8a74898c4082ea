"""A run's models on logged pages of held-out time: the place where training and the evaluation of probabilities meet."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from shortlist.data.splits import split_requests
from shortlist.evaluation.ranking import evaluate_impressions
from shortlist.evaluation.result import Result
from shortlist.training.batches import LogTensors
from shortlist.training.calibration import MOST_PAGES
from shortlist.training.candidates import has_pages
from shortlist.training.cross import CrossCounters
from shortlist.training.impressions import impressions_of, page_logits
from shortlist.training.retrieval import at_most
from shortlist.training.run import Run
from shortlist.training.scoring import FrozenRetriever
from shortlist.training.source import Source


def impression_results(run: Run, source: Source, split: str = "test") -> list[Result]:
    """AUC, log-loss and calibration error per task, with reliability bins: preranker, ranker before calibration, ranker as served.

    On at most MOST_PAGES pages, drawn with the run's seed; empty where the data has no pages or is not split by time.
    """
    if not has_pages(source.log, source.split):
        return []
    log = LogTensors(source.log, next(run.models.two_tower.parameters()).device)
    _, *parts = split_requests(impressions_of(log), source.split)
    requests = at_most(dict(zip(("validation", "test"), parts, strict=True))[split], MOST_PAGES, run.config.seed)
    if len(requests) == 0:
        return []
    cross, retriever = CrossCounters(source.log, source.split), FrozenRetriever(run.models.two_tower, log)
    preranked, ranked = page_logits(retriever, run.models.preranker, run.models.ranker, cross, requests)
    calibration = run.models.ranker.calibration.cpu()
    before = (ranked - calibration.intercept.numpy()) / calibration.slope.numpy()
    return [
        evaluate_impressions(name, source.log, requests, expit(logits.astype(np.float64)).astype(np.float32), split_name=split)
        for name, logits in (("preranker", preranked), ("ranker before calibration", before), ("ranker", ranked))
    ]
