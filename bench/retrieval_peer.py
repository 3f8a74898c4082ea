"""One other way to search, by CPU time, in the environment that has it: `retrieval_peer.py NAME FOLDER LIMIT REPEATS`.

faiss is IndexFlatIP; graph is the release's ONNX graph `index`; integer is only the product of ONNX Runtime's MatMulInteger over 8-bit
codes in chunks, without a selection: the rejected variant of our scan at its best; hnswlib is an approximate search, whose graph is written
for our walk (hnsw.safetensors) as a release has it. Prints {"batch": cpu ms per query}; writes
rows_<name>.npy where it selects.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

BATCHES = (1, 8, 32)
CHUNK = 65_536


def main() -> None:
    name, folder, limit, repeats = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    width = json.loads((folder / "sizes.json").read_text())["width"]
    vectors, queries = (np.fromfile(folder / f"{part}.f32", np.float32).reshape(-1, width) for part in ("vectors", "queries"))
    makers = {"faiss": faiss_search, "graph": graph_search, "integer": integer_product, "hnswlib": hnsw_search(folder)}
    search = makers[name](vectors, limit)
    times = {}
    for batch in BATCHES:
        taken = []
        for i in range(repeats):
            at = i * batch % (len(queries) - batch + 1)
            began = time.process_time()
            search(queries[at : at + batch])
            taken.append(time.process_time() - began)
        times[batch] = statistics.median(taken) * 1e3 / batch
    rows = search(queries)
    if rows is not None:
        np.save(folder / f"rows_{name}.npy", rows)
    print(json.dumps(times))


def faiss_search(vectors: np.ndarray, limit: int) -> Callable[[np.ndarray], np.ndarray | None]:
    import faiss

    faiss.omp_set_num_threads(1)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return lambda queries: index.search(queries, limit)[1]


def graph_search(vectors: np.ndarray, limit: int) -> Callable[[np.ndarray], np.ndarray | None]:
    from torch import bool as boolean
    from torch import float32, int64

    from shortlist.export.graphs import Signature, Spec
    from shortlist.export.onnx_export import IR_VERSION, index_graph

    width = vectors.shape[1]
    inputs = (
        Spec("query_vectors", float32, ("B", 1, width)),
        Spec("item_vectors", float32, ("I", width)),
        Spec("allowed", boolean, ("B", "I")),
        Spec("k", int64, (1,)),
    )
    model = index_graph(Signature(inputs, (Spec("rows", int64, ("B", "k")), Spec("scores", float32, ("B", "k")))))
    model.ir_version = IR_VERSION
    session, k = session_of(model.SerializeToString()), np.array([limit])

    def search(queries: np.ndarray) -> np.ndarray:
        allowed = np.ones((len(queries), len(vectors)), bool)
        feed = {"query_vectors": queries[:, None], "item_vectors": vectors, "allowed": allowed, "k": k}
        return np.asarray(session.run(["rows"], feed)[0])

    return search


def hnsw_search(folder: Path) -> Callable[[np.ndarray, int], Callable[[np.ndarray], np.ndarray | None]]:
    def made(vectors: np.ndarray, limit: int) -> Callable[[np.ndarray], np.ndarray | None]:
        import hnswlib
        from safetensors.numpy import save_file

        from shortlist.export.hnsw import HnswConfig, build, graph_of

        saved, config, ef = folder / "hnsw.bin", HnswConfig(), 2 * limit
        if saved.exists():  # a round before built it
            index = hnswlib.Index(space="ip", dim=vectors.shape[1])
            index.load_index(str(saved))
        else:
            index = build(vectors, config)
            index.save_index(str(saved))
            graph = graph_of(index)
            tensors = {**graph.tensors(), "levels": graph.levels.astype(np.int32), "settings": np.array([config.m, ef], np.int32)}
            save_file(tensors, folder / "hnsw.safetensors")
        index.set_ef(ef)
        return lambda queries: np.asarray(index.knn_query(queries, k=limit, num_threads=1)[0], dtype=np.int64)

    return made


def integer_product(vectors: np.ndarray, _: int) -> Callable[[np.ndarray], np.ndarray | None]:
    from onnx import TensorProto, helper, numpy_helper

    largest = np.abs(vectors).max(axis=1, keepdims=True)
    codes = np.rint(vectors / largest * 127).astype(np.int8)
    sessions = []
    for at in range(0, len(codes), CHUNK):
        weight = numpy_helper.from_array(np.ascontiguousarray(codes[at : at + CHUNK].T), "codes")
        node = helper.make_node("MatMulInteger", ["queries", "codes"], ["dots"])
        queries = helper.make_tensor_value_info("queries", TensorProto.UINT8, ["B", codes.shape[1]])
        dots = helper.make_tensor_value_info("dots", TensorProto.INT32, ["B", weight.dims[1]])
        graph = helper.make_graph([node], "product", [queries], [dots], [weight])
        sessions.append(
            session_of(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString())
        )

    def search(queries: np.ndarray) -> None:
        coded = (np.rint(queries / np.abs(queries).max(axis=1, keepdims=True) * 127) + 128).astype(np.uint8)
        for session in sessions:
            session.run(["dots"], {"queries": coded})

    return search


def session_of(model: bytes):  # type: ignore[no-untyped-def]  # onnxruntime has no types
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
