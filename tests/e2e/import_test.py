"""`shortlistd import` fills the store that a server then serves from."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from cases.worlds import item_ids
from harness import Server
from shortlist.client import Client

ITEMS = [str(item) for item in item_ids("small")[:6]]
SECOND = 1_750_600_000


def test_imported_users_are_served(binaries: Path, small_model: Path, tmp_path: Path) -> None:
    users = {f"user-{number}": ITEMS[: number + 1] for number in range(5)}
    lines = [
        {"user_id": user, "events": {"items": {"strings": items}, "times": [SECOND + n for n in range(len(items))]}}
        for user, items in users.items()
    ]
    file, store = tmp_path / "users.jsonl", tmp_path / "users.db"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = subprocess.run([binaries / "shortlistd", f"-store.path={store}", "import", file], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    with Server(small_model, tmp_path, {"store.path": str(store)}) as server, Client(server.data, timeout=10.0) as client:
        for user, items in users.items():
            assert client.get_user(user).items == items
            assert not set(client.recommend(user, limit=20, time=SECOND).items) & set(items)


def test_a_broken_line_is_named(binaries: Path, tmp_path: Path) -> None:
    file = tmp_path / "users.jsonl"
    file.write_text('{"user_id": "u", "events": {"items": {"strings": ["a"]}}}\n{"user_id": \n')
    command = [binaries / "shortlistd", f"-store.path={tmp_path / 'users.db'}", "import", file]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "line 2" in done.stderr
