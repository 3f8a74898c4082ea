"""Releases are published whole or not at all, refused with all reasons, and equal plans make equal releases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from shortlist.data.dataset import Split
from shortlist.data.encode import encode
from shortlist.errors import BundleError, ConfigError, GateError
from shortlist.export import layout, release, writer
from shortlist.export.from_run import ReleaseConfig, plan_from_run, quality_gates, release_schema
from shortlist.export.manifest import MANIFEST, read_manifest
from shortlist.export.verify import verify
from shortlist.gen.shortlist.bundle.v1 import manifest_pb2 as pb
from shortlist.models.two_tower import TwoTowerConfig

CREATED = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def proved(draft: writer.Draft, monkeypatch: pytest.MonkeyPatch) -> writer.Draft:
    """Exporting is replaced by the session's draft with the gates of the plan: seconds less per test."""
    monkeypatch.setattr(release, "prove", lambda plan: replace(draft, gates=(*plan.gates, *draft.gates)))
    return draft


def failing(name: str) -> pb.Gate:
    return pb.Gate(name=name, passed=False, detail="recall@100 0.1 against 0.2")


def test_a_release_verifies_and_becomes_current(plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path) -> None:
    final = release.export_release(plan, tmp_path, created=CREATED)
    assert verify(final).violations == ()
    assert layout.current(tmp_path / "toy") == final
    assert [path.name for path in (tmp_path / "toy").iterdir() if path.name.startswith(".")] == []
    manifest = read_manifest(final)
    assert {gate.name for gate in manifest.gates} == {"laws", "parity"}
    assert all(gate.passed for gate in manifest.gates)


def test_equal_drafts_make_equal_releases(plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path) -> None:
    """Also when one is published twice into a repository."""
    first = release.export_release(plan, tmp_path / "a", created=CREATED)
    assert release.export_release(plan, tmp_path / "a", created=CREATED) == first
    other = release.export_release(plan, tmp_path / "b", created=CREATED)
    assert other.name == first.name
    assert (other / MANIFEST).read_bytes() == (first / MANIFEST).read_bytes()


def test_a_refused_release_lists_all_gates_and_leaves_nothing(plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path) -> None:
    weak = replace(plan, gates=(failing("two_tower beats popularity"), failing("two_tower beats cooccurrence")))
    with pytest.raises(GateError) as caught:
        release.export_release(weak, tmp_path, override=["two_tower beats popularity"])
    assert "two_tower beats cooccurrence" in str(caught.value)
    assert "override" in caught.value.fix
    assert list(tmp_path.rglob("*")) == []


def test_an_overridden_gate_is_recorded(plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path) -> None:
    weak = replace(plan, gates=(failing("two_tower beats popularity"),))
    final = release.export_release(weak, tmp_path, override=["two_tower beats popularity"], created=CREATED)
    gate = next(gate for gate in read_manifest(final).gates if not gate.passed)
    assert gate.overridden
    assert "failed, overridden" in (final / layout.MODEL_CARD).read_text()


@pytest.mark.parametrize("name", ["laws", "parity"])
def test_laws_and_parity_cannot_be_overridden(name: str) -> None:
    with pytest.raises(GateError, match=name):
        release.judge([failing(name)], [name])


def test_a_bundle_that_fails_after_writing_is_removed(
    plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {name: value + 1 if name == "3/logits" else value for name, value in proved.golden_tensors.items()}
    monkeypatch.setattr(release, "prove", lambda plan: replace(proved, golden_tensors=wrong))
    with pytest.raises(GateError, match="case 3, stage ranking, tensor logits"):
        release.export_release(plan, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_parity_is_judged_before_anything_is_written(
    plan: release.ReleasePlan, draft: writer.Draft, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX graphs of other weights than PyTorch's fail the parity gate."""
    other = dict(draft.graphs)
    other["preranker"] = other["preranker"].replace(b"\x00\x00\x80?", b"\x00\x00\x90?")  # 1.0 -> 1.125 in the weights
    assert other["preranker"] != draft.graphs["preranker"]
    monkeypatch.setattr(release, "export_graphs", lambda models: other)
    gates = {gate.name: gate for gate in release.prove(plan).gates}
    assert not gates["parity"].passed
    assert "prerank_score" in gates["parity"].detail
    assert gates["laws"].passed


def test_a_published_release_is_never_changed(plan: release.ReleasePlan, proved: writer.Draft, tmp_path: Path) -> None:
    final = release.export_release(plan, tmp_path, created=CREATED)
    other = replace(plan, gates=(pb.Gate(name="another", passed=True),))
    monkey = replace(proved, gates=other.gates, model_card="")
    with writer.staged(tmp_path, replace(monkey, model_card=(final / layout.MODEL_CARD).read_text()), CREATED) as directory:
        assert directory.name == f".tmp-{final.name}"  # gates are outside of the digest
        with pytest.raises(BundleError, match="exists with another manifest"):
            writer.publish(directory)
    assert verify(final).violations == ()


def test_creation_time_honours_source_date_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    assert writer.creation_time() == CREATED
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(ConfigError, match="SOURCE_DATE_EPOCH"):
        writer.creation_time()


METRICS = {
    "popularity": {"recall@100": 0.1, "ndcg@10": 0.01},
    "cooccurrence": {"recall@100": 0.2, "ndcg@10": 0.02},
    "two_tower": {"recall@100": 0.3, "ndcg@10": 0.03},
    "cascade": {"recall@100": 0.3, "ndcg@10": 0.04},
}


def test_quality_gates() -> None:
    assert all(gate.passed for gate in quality_gates(METRICS, "recall@100"))
    weak = METRICS | {"two_tower": {"recall@100": 0.2, "ndcg@10": 0.05}}
    failed = {gate.name: gate.detail for gate in quality_gates(weak, "recall@100") if not gate.passed}
    assert set(failed) == {"two_tower beats cooccurrence", "cascade beats two_tower"}  # equal is not better
    assert "0.2000 against 0.2000" in failed["two_tower beats cooccurrence"]
    with pytest.raises(ConfigError, match="recall@7"):
        quality_gates(METRICS, "recall@7")


def test_a_release_asks_for_event_times_where_a_model_reads_them(plan: release.ReleasePlan) -> None:
    log, timed = encode(plan.dataset), TwoTowerConfig(encoder="hstu", time_bias=True)
    run = SimpleNamespace(schema=plan.content.schema, models=plan.models, record={})
    assert not release_schema(run, log).event_times
    run.models = SimpleNamespace(two_tower=SimpleNamespace(config=timed))
    assert release_schema(run, log).event_times
    places = np.arange(len(log.item)) - np.repeat(log.ptr[:-1], np.diff(log.ptr))
    with pytest.raises(ConfigError, match="places in each user's sequence"):
        release_schema(run, replace(log, time=places))


def test_a_plan_from_a_run(plan: release.ReleasePlan) -> None:
    log = encode(plan.dataset)
    split = Split(train_end=log.ptr[1:], validation=np.zeros(0, np.int64), test=np.zeros(0, np.int64))
    data = SimpleNamespace(dataset=plan.dataset, log=log, split=split, digest=lambda: "d1")
    config = {"name": "toy-run", "seed": 4, "cascade": {"retrieve": 30, "prerank": 12}}
    record = {
        "data": {"name": "toy", "digest": "d1"},
        "config": config,
        "commit": "abc",
        "metrics": {"validation": METRICS, "test": METRICS},
    }
    run = SimpleNamespace(schema=plan.content.schema, models=plan.models, record=record)
    made = plan_from_run(run, data)
    made.content.check()
    assert made.name == "toy-run"
    assert (made.content.funnel.sources[0].limit, made.content.funnel.prerank_keep) == (30, 12)
    assert made.lineage.data_digest == "d1"
    assert len(made.metrics) == 16
    assert made.content.funnel.sources[0].index == pb.INDEX_KIND_UNSPECIFIED
    assert plan_from_run(run, data, ReleaseConfig(index="int8")).content.funnel.sources[0].index == pb.INDEX_INT8
    with pytest.raises(ConfigError, match="'faiss'"):
        plan_from_run(run, data, ReleaseConfig(index="faiss"))
    record["data"] = {"name": "toy", "digest": "d2"}
    with pytest.raises(ConfigError, match="digest"):
        plan_from_run(run, data)
