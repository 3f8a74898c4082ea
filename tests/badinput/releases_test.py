"""Spoilt releases beside a good one: each is refused with the file or field named, and the good one serves on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from badinput.spoil import SPOILERS, Spoiler, beside
from harness import Server
from shortlist.client import AdminClient, Client, History, NotFoundError, NotReadyError, Recommendation
from shortlist.export import layout


@pytest.fixture(scope="module")
def server(binaries: Path, small_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a copy of the small model; it looks for new releases all the time."""
    model = Path(shutil.copytree(small_model, tmp_path_factory.mktemp("spoilt") / "small"))
    with Server(model, tmp_path_factory.mktemp("spoilt-server"), {"watch_interval": "200ms"}) as server:
        yield server


def ask(server: Server) -> Recommendation:
    with Client(server.data, timeout=10.0) as client:
        return client.recommend(history=History(), limit=5, time=1_750_600_000)


def good(server: Server) -> Path:
    return layout.current(Path(server.settings["models"]))


def test_an_intact_copy_is_admitted(server: Server) -> None:
    """The control: what the other tests do to a release is all that keeps it out."""
    identifier = beside(good(server), None, day=28)
    with AdminClient(server.admin) as admin:
        assert admin.load(identifier).state == "loaded"


@pytest.mark.parametrize("spoiler", SPOILERS, ids=lambda spoiler: spoiler.name)
def test_is_refused_and_the_good_one_serves_on(server: Server, spoiler: Spoiler) -> None:
    before = ask(server)
    identifier = beside(good(server), spoiler, day=1 + SPOILERS.index(spoiler))
    if spoiler.name == "missing-manifest":
        (good(server).parent / identifier / "manifest.json").unlink()
    with AdminClient(server.admin) as admin:
        with pytest.raises((NotReadyError, NotFoundError)) as caught:
            admin.activate(identifier)
        assert any(word in str(caught.value) for word in spoiler.says), f"none of {spoiler.says} in: {caught.value}"
        states = {release.release_id: release for release in admin.list()}
        assert states[identifier].state == "refused"
        assert states[identifier].reason
        status = admin.status()
        assert status.active is not None
        assert status.active.release_id == before.release_id
    after = ask(server)
    assert (after.release_id, after.items, after.scores) == (before.release_id, before.items, before.scores)


def test_a_server_does_not_start_on_a_spoilt_release(binaries: Path, small_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(small_model, tmp_path / "small"))
    release = layout.current(model)
    (release / "graphs/ranker.onnx").write_bytes(b"nothing")
    server = Server(model, tmp_path / "server")
    with pytest.raises(RuntimeError, match=r"shortlistd ended with 1"):
        server.start()
    assert "graphs/ranker.onnx" in server.log.read_text()
