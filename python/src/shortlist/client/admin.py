"""Control of releases, on the server's admin port."""

from __future__ import annotations

from typing import Any

import grpc

from shortlist.client import convert
from shortlist.client.connection import Settings
from shortlist.client.retry import RetryPolicy
from shortlist.client.sync import Connection
from shortlist.client.types import Release, SelfTest, ServerStatus
from shortlist.gen.shortlist.v1 import release_pb2 as pb
from shortlist.gen.shortlist.v1 import release_pb2_grpc


class AdminClient:
    """Lists, loads, activates and tests releases. Loading replays the golden requests, so its default deadline is long.

    Example:
        with AdminClient("127.0.0.1:7071") as admin:
            admin.activate("20260101T000000Z-0123456789ab")
            print(admin.status().active)
    """

    def __init__(
        self,
        target: str = "127.0.0.1:7071",
        *,
        timeout: float = 120.0,
        token: str = "",
        credentials: grpc.ChannelCredentials | None = None,
    ) -> None:
        # An operator's command is sent once: what a repeated roll back would do depends on whether the first one arrived.
        retry = RetryPolicy(max_attempts=1)
        self._connection = Connection(target, Settings(timeout=timeout, token=token, retry=retry, credentials=credentials))
        self._releases: Any = release_pb2_grpc.ReleaseServiceStub(self._connection.channel)  # type: ignore[no-untyped-call]

    def list(self) -> list[Release]:
        """What the model repository holds and what became of each, newest first."""
        response: pb.ListReleasesResponse = self._connection.call(self._releases.ListReleases, pb.ListReleasesRequest(), None)
        return [convert.release(one) for one in response.releases]

    def status(self) -> ServerStatus:
        response: pb.GetStatusResponse = self._connection.call(self._releases.GetStatus, pb.GetStatusRequest(), None)
        active = convert.release(response.active) if response.HasField("active") else None
        return ServerStatus(active, response.previous_release_id, response.provider, response.items)

    def load(self, release_id: str) -> Release:
        """Verify, load and self-test a release without serving from it. Raises NotReadyError where it is refused."""
        response: pb.LoadReleaseResponse = self._connection.call(
            self._releases.LoadRelease, pb.LoadReleaseRequest(release_id=release_id), None
        )
        return convert.release(response.release)

    def activate(self, release_id: str) -> Release:
        """Serve from a release, loading it first when needed; the old one drains."""
        response: pb.ActivateResponse = self._connection.call(self._releases.Activate, pb.ActivateRequest(release_id=release_id), None)
        return convert.release(response.release)

    def roll_back(self) -> Release:
        """Activate the release that was active before."""
        response: pb.RollBackResponse = self._connection.call(self._releases.RollBack, pb.RollBackRequest(), None)
        return convert.release(response.release)

    def self_test(self, release_id: str = "") -> SelfTest:
        """Replay the golden requests of a loaded release; no id: the active one."""
        one: pb.SelfTestResponse = self._connection.call(self._releases.SelfTest, pb.SelfTestRequest(release_id=release_id), None)
        return SelfTest(one.passed, one.cases, one.violations, one.worst_ratio, one.worst_at, [*one.messages])

    def wait_ready(self, timeout: float = 30.0) -> None:
        """Block until the server accepts connections. Raises UnavailableError."""
        self._connection.wait_ready(timeout)

    def close(self) -> None:
        self._connection.channel.close()

    def __enter__(self) -> AdminClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
