"""The gradient-boosted tree ranker: the baseline that teams come from, behind the same graphs as the neural rankers.

LightGBM adds trees to a linear function of the preranker's score. The score itself is no feature of the trees: it is rounded differently
in every runtime, and next to a threshold that would be another leaf; all other features are exact (see tree_features.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from shortlist.errors import CheckpointError
from shortlist.models.calibration import Calibration
from shortlist.models.embedding import Columns
from shortlist.models.tree_features import TreeFeatures
from shortlist.schema import Schema

if TYPE_CHECKING:
    import lightgbm

OPERATOR = "ai.onnx.ml::TreeEnsembleRegressor"


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeConfig:
    """Sizes of the ensemble: per task `rounds` trees of up to `leaves` leaves."""

    rounds: int = 200
    leaves: int = 31
    learning_rate: float = 0.05
    least_in_leaf: int = 50
    feature_share: float = 0.8  # of the features, drawn for each tree


class TreeEnsemble(nn.Module):
    """T boosters over F features. Their text is a buffer, so that they are saved with the model, and as safetensors."""

    text: Tensor

    def __init__(self, tasks: int) -> None:
        super().__init__()
        self.tasks = tasks
        self.boosters: list[lightgbm.Booster] = []
        self.register_buffer("text", torch.zeros(0, dtype=torch.uint8))

    def set(self, texts: list[str]) -> None:
        """Model texts [T] of LightGBM; none: no trees, scores of 0. Raises CheckpointError when one cannot be read."""
        joined = _SEPARATOR.join(texts).encode()
        text = torch.frombuffer(bytearray(joined), dtype=torch.uint8) if joined else torch.zeros(0, dtype=torch.uint8)
        self.text = text.to(self.text.device)
        self.boosters = [_booster(each) for each in texts]

    def forward(self, features: Tensor) -> Tensor:
        """Features [n,F] -> raw scores [n,T]: LightGBM's own, in double precision, rounded once. In an ONNX export: one operator."""
        if torch.onnx.is_in_onnx_export():
            shape = (features.shape[0], self.tasks)  # `shortlist.export.trees_onnx` writes the trees into the operator
            return torch.onnx.ops.symbolic(OPERATOR, (features,), {"n_targets": self.tasks}, dtype=torch.float32, shape=shape, version=3)
        if not self.boosters or len(features) == 0:
            return features.new_zeros(len(features), self.tasks)
        table = features.detach().double().cpu().numpy()
        scores = np.stack([booster.predict(table, raw_score=True, num_threads=1) for booster in self.boosters], axis=1)
        return torch.from_numpy(scores.astype(np.float32)).to(features.device)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """The text has the length that it has in the file."""
        if (saved := state_dict.get(f"{prefix}text")) is not None:
            text: str = saved.cpu().numpy().tobytes().decode()
            self.set(text.split(_SEPARATOR) if text else [])
        super()._load_from_state_dict(state_dict, prefix, *rest)


_SEPARATOR = "\n\x00\n"


def _booster(text: str) -> lightgbm.Booster:
    import lightgbm  # takes a second, and other kinds do not need it

    try:
        return lightgbm.Booster(model_str=text)
    except lightgbm.basic.LightGBMError as error:
        raise CheckpointError("the trees cannot be read", why=str(error), fix="train again") from error


class EventColumns(nn.Module):
    """What `fusion` is to the neural rankers: keys hold the columns of events as they are, values nothing."""

    amortized = True

    def __init__(self, width: int) -> None:
        super().__init__()
        self.cache_shape = (1, 1, width)

    def encode(self, tokens: Tensor, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """Event tokens [B,N,D/H], length [B], past [B,1,1,P,D/H] -> keys and values [B,1,1,P+N,D/H]."""
        valid = torch.arange(tokens.shape[1], device=tokens.device) < length.unsqueeze(-1)
        kept = torch.where(valid.unsqueeze(-1), tokens, 0.0)[:, None, None]
        return torch.cat((past_keys, kept), dim=3), torch.cat((past_values, torch.zeros_like(kept)), dim=3)


class TreeRanker(nn.Module):
    """As `Ranker`: encode a history once; score any number of candidates against it, for T tasks."""

    prerank_slope: Tensor
    prerank_intercept: Tensor

    def __init__(self, schema: Schema) -> None:
        super().__init__()
        tasks = len(schema.tasks)
        self.schema = schema
        self.features = TreeFeatures(schema)
        self.fusion = EventColumns(self.features.event_width)
        self.trees = TreeEnsemble(tasks)
        self.calibration = Calibration(tasks)
        self.register_buffer("prerank_slope", torch.ones(tasks))
        self.register_buffer("prerank_intercept", torch.zeros(tasks))

    @property
    def width(self) -> int:
        """D of ranker tokens."""
        return self.features.item_width

    def item_tokens(self, item: Columns) -> Tensor:
        """Item columns [M] -> [M,D]."""
        return self.features.item(item)

    def encode_history(self, history: Columns, length: Tensor, past_keys: Tensor, past_values: Tensor) -> tuple[Tensor, Tensor]:
        """History columns [B,N], length [B], past [B,1,1,P,D/H] -> keys and values [B,1,1,P+N,D/H], past included."""
        return self.fusion.encode(self.features.event(history), length, past_keys, past_values)

    def empty_past(self, batch: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
        """Past keys and values of nothing."""
        layers, heads, width = self.fusion.cache_shape
        return torch.zeros(batch, layers, heads, 0, width, device=device), torch.zeros(batch, layers, heads, 0, width, device=device)

    def request(self, user: Columns, context: Columns) -> Tensor | None:
        """What is known of the request alone: columns [...] -> [...,R]; None where the schema has no such column."""
        return self.features.request(user, context)

    def score(
        self,
        keys: Tensor,
        values: Tensor,
        length: Tensor,
        user: Columns,
        context: Columns,
        token: Tensor,
        cross: Tensor,
        prerank_score: Tensor,
    ) -> Tensor:
        """Keys and values [B,1,1,N,D/H], length [B], columns [B], token [B,M,D], cross [B,M,C], prerank_score [B,M] -> [B,M,T]."""
        request = self.request(user, context)
        request = token.new_zeros(len(token), 1, 0) if request is None else request.unsqueeze(1)
        return self.score_at(keys, values, length.unsqueeze(-1), request, token, cross, prerank_score)

    def score_at(
        self, keys: Tensor, values: Tensor, visible: Tensor, request: Tensor, token: Tensor, cross: Tensor, prerank_score: Tensor
    ) -> Tensor:
        """As `score`, where each candidate sees its own number of events: visible [B,1] or [B,M], request [B,1 or M,R]."""
        features = self.features(keys[:, 0, 0], visible, request, token, cross)
        added = self.trees(features.flatten(0, 1)).view(*token.shape[:2], -1)
        logits: Tensor = self.calibration(self.prerank_logits(prerank_score) + added)
        return logits

    def prerank_logits(self, prerank_score: Tensor) -> Tensor:
        """What the preranker's score [...] says alone: logits [...,T] that the trees add to. The order of the score."""
        return prerank_score.unsqueeze(-1) * self.prerank_slope + self.prerank_intercept
