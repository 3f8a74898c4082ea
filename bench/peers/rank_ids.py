"""One graph from a history and candidates' rows to logits, so that servers of graphs can be compared on a whole ranking call.

It holds the history encoder, the table of ranker tokens and the ranker. Counters and preranker scores, which a server would have to look
up, are 0: the compared servers do the same work.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shortlist.export.catalog import Catalog
from shortlist.export.graphs import ExtraGraph, FunnelModels, Graph, Signature, Spec, history_specs, request_specs, role
from shortlist.export.onnx_export import export_extra

NAME = "rank_ids"
CANDIDATES = "candidates"


def signature(models: FunnelModels) -> Signature:
    candidates = Spec(CANDIDATES, torch.int64, ("B", "M"))
    logits = Spec("logits", torch.float32, ("B", "M", len(models.schema.tasks)))
    return Signature((*history_specs(models.schema), *request_specs(models.schema), candidates), (logits,))


class RankIds(Graph):
    """Candidates are catalog rows [B,M]."""

    tokens: Tensor

    def __init__(self, models: FunnelModels, tokens: Tensor) -> None:
        super().__init__(models, signature(models))
        self.crosses = len(models.schema.cross)
        self.register_buffer("tokens", tokens)  # [I,D]

    def compute(self, inputs: dict[str, Tensor]) -> tuple[Tensor, ...]:
        length, candidates = inputs["history_length"], inputs[CANDIDATES]
        batch, count = candidates.shape
        keys, values = self.ranker.encode_history(role(inputs, "history"), length, *self.ranker.empty_past(batch))
        cross, prerank = torch.zeros(batch, count, self.crosses), torch.zeros(batch, count)
        user, context = role(inputs, "user"), role(inputs, "context")
        return (self.ranker.score(keys, values, length, user, context, self.tokens[candidates], cross, prerank),)


def rank_ids(models: FunnelModels, catalog: Catalog) -> ExtraGraph:
    items = {name: torch.from_numpy(values) for name, values in catalog.inputs.items()}
    with torch.inference_mode():
        tokens = models.ranker.item_tokens(items)
    module = RankIds(models, tokens.clone()).eval()
    return export_extra(NAME, module, signature(models), "Task logits of candidates, given as catalog rows, for a history.")
