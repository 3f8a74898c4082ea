"""LightGBM's trees as ONNX's TreeEnsembleRegressor, written into the operator that the exporter left empty.

LightGBM compares float64 features with float64 thresholds, the operator float32 with float32. Features are float32 on both sides, and for
those x <= t is the same as x <= the largest float32 that is not above t: every row ends in the same leaf of every tree.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import ModelProto, helper

from shortlist.errors import ExportError
from shortlist.models.trees import OPERATOR, TreeEnsemble

if TYPE_CHECKING:
    import lightgbm

_NODES = [f"nodes_{field}" for field in ("treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids")]
_LEAVES = [f"target_{field}" for field in ("treeids", "nodeids", "ids", "weights")]


def fill_trees(model: ModelProto, ensemble: TreeEnsemble) -> None:
    """Give the model's one tree operator the trees of an ensemble. Raises ExportError when it has not exactly one."""
    domain, _, kind = OPERATOR.partition("::")
    nodes = [node for node in model.graph.node if (node.domain, node.op_type) == (domain, kind)]
    if len(nodes) != 1:
        raise ExportError(f"the graph has {len(nodes)} tree operators", why="the exporter should keep the one it was given")
    del nodes[0].attribute[:]
    nodes[0].attribute.extend(
        helper.make_attribute(name, value) for name, value in tree_attributes(ensemble.boosters, ensemble.tasks).items()
    )


def tree_attributes(boosters: list[lightgbm.Booster], tasks: int) -> dict[str, Any]:
    """The operator's attributes: the nodes of all trees of T boosters; a leaf adds to the target of its booster's task."""
    lists: dict[str, list[Any]] = {name: [] for name in _NODES + _LEAVES}
    trees = [(task, tree["tree_structure"]) for task, booster in enumerate(boosters) for tree in booster.dump_model()["tree_info"]]
    for number, (task, root) in enumerate(trees or [(0, {"leaf_value": 0.0})]):  # the operator needs a tree
        _add_tree(lists, root, number, task)
    return {**lists, "n_targets": tasks, "post_transform": "NONE", "aggregate_function": "SUM"}


def _add_tree(lists: dict[str, list[Any]], root: dict[str, Any], tree: int, task: int) -> None:
    """Nodes in pre-order: a node's true child follows it."""
    waiting: list[tuple[dict[str, Any], int | None]] = [(root, None)]  # with the place of the node whose false child it is
    node = 0
    while waiting:
        current, parent = waiting.pop()
        if parent is not None:
            lists["nodes_falsenodeids"][parent] = node
        split = "split_feature" in current
        leaf = (tree, node, 0, 0.0, "LEAF", 0, 0)
        row = (tree, node, current["split_feature"], float32_below(current["threshold"]), "BRANCH_LEQ", node + 1, 0) if split else leaf
        for field, value in zip(_NODES, row, strict=True):
            lists[field].append(value)
        if split:
            waiting += [(current["right_child"], len(lists["nodes_nodeids"]) - 1), (current["left_child"], None)]
        else:
            for field, value in zip(_LEAVES, (tree, node, task, float(current["leaf_value"])), strict=True):
                lists[field].append(value)
        node += 1


def float32_below(threshold: float) -> float:
    """The largest finite float32 that is not above a threshold."""
    limits = np.finfo(np.float32)
    rounded = np.float32(min(max(threshold, float(limits.min)), float(limits.max)))
    return float(rounded if float(rounded) <= threshold else np.nextafter(rounded, limits.min))
