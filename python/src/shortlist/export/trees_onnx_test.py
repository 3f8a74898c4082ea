"""Trees give in ONNX Runtime what LightGBM gives, for any input and right at their thresholds."""

from __future__ import annotations

import lightgbm
import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from shortlist.errors import CheckpointError, ExportError
from shortlist.export.compare import Tolerance, worst_ratio
from shortlist.export.onnx_export import IR_VERSION, OPSET
from shortlist.export.trees_onnx import fill_trees, float32_below, tree_attributes
from shortlist.models.trees import TreeEnsemble

FEATURES, TASKS = 6, 2


def ensemble(rounds: int = 25) -> TreeEnsemble:
    """Counts, a rate near 0 and normal numbers; labels depend on products of them."""
    random = np.random.default_rng(0)
    table = random.normal(size=(1500, FEATURES)).astype(np.float32)
    table[:, 0] = random.poisson(2, len(table))
    table[:, 1] = random.random(len(table)) ** 8
    trees = TreeEnsemble(TASKS)
    texts = []
    for task in range(TASKS):
        label = table[:, 2 + task] * table[:, 0] + 3 * table[:, 1] + random.normal(size=len(table)) > 1
        parameters = {"objective": "binary", "verbose": -1, "num_threads": 1, "use_missing": False, "seed": task, "learning_rate": 0.1}
        texts.append(lightgbm.train(parameters, lightgbm.Dataset(table, label), rounds).model_to_string())
    trees.set(texts)
    return trees


def graph(trees: TreeEnsemble) -> onnxruntime.InferenceSession:
    node = helper.make_node("TreeEnsembleRegressor", ["features"], ["scores"], domain="ai.onnx.ml")
    value = helper.make_tensor_value_info
    made = helper.make_graph(
        [node], "trees", [value("features", TensorProto.FLOAT, ["n", FEATURES])], [value("scores", TensorProto.FLOAT, ["n", TASKS])]
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(made, opset_imports=opsets, ir_version=IR_VERSION)
    fill_trees(model, trees)
    return onnxruntime.InferenceSession(model.SerializeToString())


def test_parity_on_random_inputs_and_at_every_threshold() -> None:
    trees = ensemble()
    random = np.random.default_rng(1)
    attributes = tree_attributes(trees.boosters, TASKS)
    rows = [random.normal(scale=3, size=(20_000, FEATURES)).astype(np.float32)]
    splits = [i for i, mode in enumerate(attributes["nodes_modes"]) if mode == "BRANCH_LEQ"]
    assert len(splits) > 500
    for place in splits:  # the threshold itself, and the float32 numbers beside it
        around = random.normal(size=(3, FEATURES)).astype(np.float32)
        threshold = np.float32(attributes["nodes_values"][place])
        around[:, attributes["nodes_featureids"][place]] = np.nextafter(threshold, -np.inf), threshold, np.nextafter(threshold, np.inf)
        rows.append(around)
    table = np.concatenate(rows)
    (got,) = graph(trees).run(None, {"features": table})
    want = trees(torch.from_numpy(table)).numpy()
    assert worst_ratio(got, want, Tolerance()) < 1
    assert want.std() > 0.1


def test_no_trees_add_nothing() -> None:
    trees = TreeEnsemble(TASKS)
    table = np.ones((3, FEATURES), dtype=np.float32)
    (got,) = graph(trees).run(None, {"features": table})
    np.testing.assert_array_equal(got, trees(torch.from_numpy(table)).numpy())


def test_trees_are_saved_with_the_model_whatever_their_size() -> None:
    trees, loaded = ensemble(3), TreeEnsemble(TASKS)
    loaded.load_state_dict(trees.state_dict())
    table = torch.randn(50, FEATURES)
    assert torch.equal(loaded(table), trees(table))
    loaded.load_state_dict(TreeEnsemble(TASKS).state_dict())
    assert not loaded(table).any()
    with pytest.raises(CheckpointError, match="trees cannot be read"):
        loaded.load_state_dict({"text": torch.frombuffer(bytearray(b"no trees"), dtype=torch.uint8)})


def test_a_graph_without_the_operator_is_refused() -> None:
    made = helper.make_graph([], "empty", [], [])
    with pytest.raises(ExportError, match="has 0 tree operators"):
        fill_trees(helper.make_model(made), TreeEnsemble(1))


@settings(max_examples=100, deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_rounding_a_threshold_changes_no_comparison(threshold: float, x: float) -> None:
    assert (x <= threshold) == (x <= float32_below(threshold)) or threshold < -float(np.finfo(np.float32).max)
