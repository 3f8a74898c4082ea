"""Catalog, counters and sources survive their files; manifests keep schemas."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import numpy as np
import pytest
from safetensors.numpy import load, save

from shortlist.data.encode import encode
from shortlist.errors import BundleError
from shortlist.export.catalog import Catalog, catalog_of
from shortlist.export.manifest import check_name, digest_of, is_release_id, release_id, schema_from_proto, schema_to_proto
from shortlist.export.release import ReleasePlan
from shortlist.export.tables import Counter, PopularLists, Ragged, take_sorted_texts, take_texts, text_tensors
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.testing.toy_data import ToyDataConfig, toy_dataset

TEXTS = ["", "a", "ÅÄ", "кошка", "自転車", "a b\n"]


def test_texts_round_trip() -> None:
    assert take_texts(load(save(text_tensors("t", TEXTS))), "t") == TEXTS
    assert take_texts(load(save(text_tensors("t", []))), "t") == []
    with pytest.raises(BundleError, match="ascending"):
        take_sorted_texts(text_tensors("t", ["b", "a"]), "t")


@pytest.mark.parametrize("item_id", ["int64", "string"])
def test_catalog_round_trips(item_id: str) -> None:
    dataset = toy_dataset(ToyDataConfig(item_id=item_id))  # type: ignore[arg-type]
    made = catalog_of(dataset, encode(dataset))
    read = Catalog.read(load(save(made.tensors())), dataset.schema)
    assert (read.ids, read.titles) == (made.ids, made.titles)
    assert type(read.ids[0]) is (int if item_id == "int64" else str)
    for name in made.inputs:
        assert np.array_equal(read.inputs[name], made.inputs[name])
        assert np.array_equal(read.raw[name], made.raw[name]) if name == "price" else read.raw[name] == made.raw[name]
    assert np.array_equal(read.available_from, made.available_from)  # type: ignore[arg-type]
    assert np.array_equal(read.raw["price"], made.inputs["price"])  # a missing price is its default
    assert (made.inputs["id"][-3:] == 0).all()  # items newer than training have no embedding row


def ragged(*lists: list[tuple[int, float]]) -> Ragged:
    flat = [entry for one in lists for entry in one]
    indptr = np.cumsum([0, *(len(one) for one in lists)])
    return Ragged(indptr, np.array([row for row, _ in flat]), np.array([value for _, value in flat], dtype=np.float32))


def test_counters_answer_by_key_and_by_row() -> None:
    table = ragged([(0, 0.5), (3, 0.25)], [(1, 1.0)])
    by_key = Counter.read(load(save(Counter(["a", "b"], table).tensors())), by_row=False, items=4)
    every = np.arange(4)
    assert by_key.rates("a", every).tolist() == [0.5, 0, 0, 0.25]
    assert by_key.rates("c", every).tolist() == by_key.rates(None, every).tolist() == [0, 0, 0, 0]
    by_row = Counter(None, ragged([(1, 0.5)], [], [], []))
    assert by_row.rates(0, every).tolist() == [0, 0.5, 0, 0]
    with pytest.raises(BundleError, match="indptr"):
        Counter.read(load(save(by_row.tensors())), by_row=True, items=5)


def test_popular_lists_fall_back() -> None:
    lists = PopularLists(np.array([2, 1]), np.array([9, 8], dtype=np.float32), ["f", "m"], ragged([(0, 1.0)], []))
    read = PopularLists.read(load(save(lists.tensors())), segmented=True, items=3)
    assert read.of("f")[0].tolist() == [0]
    assert read.of("m")[0].tolist() == []
    assert read.of("x")[0].tolist() == read.of(None)[0].tolist() == [2, 1]


def test_schema_survives_the_manifest(plan: ReleasePlan) -> None:
    schema = plan.content.schema
    manifest = pb.Manifest(
        schema=schema_to_proto(schema),
        tasks=[pb.Task(name=task) for task in schema.tasks],
        cross=[pb.CrossColumn(name=c.name, segment=c.segment, prior=c.prior) for c in schema.cross],
    )
    assert schema_from_proto(manifest) == schema


def test_release_ids_and_digests() -> None:
    files = [pb.File(path="b", sha256="22"), pb.File(path="a", sha256="11")]
    assert digest_of(files) == digest_of(reversed(files)) == hashlib.sha256(b"11  a\n22  b\n").hexdigest()
    name = release_id(datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC), digest_of(files))
    assert name.startswith("20260203T040506Z-")
    assert is_release_id(name)
    assert not is_release_id("20260203T040506Z-xyz")
    for bad in ("", "../x", "A", "a/b", ".tmp"):
        with pytest.raises(BundleError):
            check_name(bad)
