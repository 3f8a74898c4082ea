"""The Open Inference Protocol with the stock client: list, describe, infer; and faults that are refused by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as oip
from tritonclient.utils import InferenceServerException

from harness import Server
from shortlist.client import Client, History
from shortlist.export.backends import OrtGraphs
from shortlist.export.compare import Tolerance, tensor_violation
from shortlist.export.layout import current
from shortlist.export.reader import read

GRAPHS = {"item_encoder", "sequence_encoder", "query_encoder", "index", "preranker", "history_encoder", "ranker"}
Inputs = dict[str, Any]


@pytest.fixture
def client(small_server: Server) -> Iterator[oip.InferenceServerClient]:
    with oip.InferenceServerClient(small_server.data) as client:
        yield client


def tensor(name: str, value: Any, kind: str = "FP32") -> oip.InferInput:
    made = oip.InferInput(name, list(value.shape), kind)
    made.set_data_from_numpy(value)
    return made


def preranker_inputs(client: oip.InferenceServerClient, candidates: int = 3) -> Inputs:
    """Random inputs of the preranker (rates of counters lie in [0, 1)), with the sizes that its metadata states."""
    shapes = {one.name: list(one.shape) for one in client.get_model_metadata("preranker").inputs}
    rng = np.random.default_rng(0)
    sizes = {"query_vectors": [1, *shapes["query_vectors"][1:]]}
    for name in ("retrieval_vector", "cross"):
        sizes[name] = [1, candidates, shapes[name][2]]
    return {name: rng.random([max(size, 1) for size in shape], dtype=np.float32) for name, shape in sizes.items()}


def test_lists_and_describes(client: oip.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert {model.name for model in client.get_model_repository_index().models} == GRAPHS
    for graph in GRAPHS:
        assert client.is_model_ready(graph)
        described = client.get_model_metadata(graph)
        assert described.name == graph
        assert described.inputs
        assert all(one.datatype in ("FP32", "INT64", "BOOL") for one in (*described.inputs, *described.outputs))
    assert not client.is_model_ready("oracle")


def test_infers_what_onnx_runtime_infers(client: oip.InferenceServerClient, small_server: Server, small_model: Any) -> None:
    inputs = preranker_inputs(client, candidates=50)
    answer = client.infer("preranker", [tensor(name, value) for name, value in inputs.items()], request_id="seven")
    want = OrtGraphs(read(current(small_model)).graphs).run("preranker", inputs)["score"]
    assert tensor_violation(answer.as_numpy("score"), want, Tolerance()) is None
    response = answer.get_response()
    with Client(small_server.data, timeout=10.0) as ours:
        assert response.model_version == ours.recommend(history=History()).release_id
    assert response.id == "seven"


def without(name: str) -> Callable[[Inputs], list[oip.InferInput]]:
    return lambda inputs: [tensor(key, value) for key, value in inputs.items() if key != name]


def replaced(name: str, value: Any, kind: str = "FP32") -> Callable[[Inputs], list[oip.InferInput]]:
    return lambda inputs: [tensor(name, value, kind), *without(name)(inputs)]


def added(name: str) -> Callable[[Inputs], list[oip.InferInput]]:
    return lambda inputs: [*without("")(inputs), tensor(name, np.zeros((1, 1), np.float32))]


def mislabelled(inputs: Inputs) -> list[oip.InferInput]:
    """A tensor whose bytes do not fill its shape."""
    made = tensor("cross", inputs["cross"])
    made.set_shape([1, 1000, inputs["cross"].shape[2]])
    return [made, *without("cross")(inputs)]


FAULTS = [
    ("missing input", without("cross"), "cross"),
    ("input of no name", added("colour"), "inputs[3].name"),
    ("input given twice", lambda inputs: [*without("")(inputs), tensor("cross", inputs["cross"])], "inputs[3].name"),
    ("wrong type", replaced("cross", np.zeros((1, 3, 3), np.int64), "INT64"), "inputs[0].datatype"),
    ("wrong rank", replaced("cross", np.zeros((3, 3), np.float32)), "inputs[0].shape"),
    ("wrong width", replaced("cross", np.zeros((1, 3, 99), np.float32)), "inputs[0].shape"),
    ("bytes that do not fill the shape", mislabelled, "raw_input_contents[0]"),
    ("lists of different length", replaced("cross", np.zeros((1, 7, 3), np.float32)), "cross"),
]


@pytest.mark.parametrize(("spoil", "field"), [fault[1:] for fault in FAULTS], ids=[fault[0].replace(" ", "-") for fault in FAULTS])
def test_faults_are_named(client: oip.InferenceServerClient, spoil: Callable[[Inputs], list[oip.InferInput]], field: str) -> None:
    inputs = preranker_inputs(client)
    with pytest.raises(InferenceServerException) as caught:
        client.infer("preranker", spoil(inputs))
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT", caught.value
    assert field in caught.value.message()
    assert client.infer("preranker", without("")(inputs)).as_numpy("score").shape == (1, 3)


@pytest.mark.parametrize(
    ("model", "version", "outputs", "code"),
    [("oracle", "", [], "NOT_FOUND"), ("preranker", "v9", [], "NOT_FOUND"), ("preranker", "", ["colour"], "INVALID_ARGUMENT")],
)
def test_names_that_are_not_there(client: oip.InferenceServerClient, model: str, version: str, outputs: list[str], code: str) -> None:
    asked = [oip.InferRequestedOutput(name) for name in outputs]
    with pytest.raises(InferenceServerException) as caught:
        client.infer(model, without("")(preranker_inputs(client)), model_version=version, outputs=asked or None)
    assert caught.value.status() == f"StatusCode.{code}"
