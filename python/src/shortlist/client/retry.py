"""When a failed call is sent again: a budget against retry storms, exponential backoff with jitter, one deadline over all attempts.

The budget is the token bucket of gRPC's retry design (A6): a failure costs one token, a success returns a fraction of one, and no
retry is sent while half of the bucket or less is left. In an outage a client therefore sends at most a tenth more calls than without
retries, after a short burst.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

from shortlist.client.errors import OverloadedError, ServiceError, UnavailableError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often and how fast. Seconds; attempts count the first call. `max_attempts=1` never retries."""

    max_attempts: int = 3
    first_delay: float = 0.02
    max_delay: float = 1.0
    factor: float = 2.0
    tokens: float = 10.0
    token_ratio: float = 0.1


class RetryBudget:
    """Token bucket shared by all calls of one client. Thread safe."""

    def __init__(self, tokens: float, token_ratio: float) -> None:
        self._limit = self._tokens = tokens
        self._ratio = token_ratio
        self._lock = threading.Lock()

    def succeeded(self) -> None:
        with self._lock:
            self._tokens = min(self._limit, self._tokens + self._ratio)

    def failed(self) -> bool:
        """Count a failure; True where a retry may follow."""
        with self._lock:
            self._tokens = max(0.0, self._tokens - 1.0)
            return self._tokens > self._limit / 2


class Attempts:
    """The attempts of one call. `repeatable=False` marks a call that must not run twice, such as an append."""

    def __init__(self, policy: RetryPolicy, budget: RetryBudget, timeout: float, *, repeatable: bool = True) -> None:
        self._policy, self._budget, self._repeatable = policy, budget, repeatable
        self._deadline = time.monotonic() + timeout
        self._count = 0

    def remaining(self) -> float:
        """Seconds until the deadline, not below 0."""
        return max(0.0, self._deadline - time.monotonic())

    def succeeded(self) -> None:
        self._budget.succeeded()

    def delay_after(self, error: ServiceError) -> float | None:
        """Seconds to wait before the next attempt; None: give up and raise `error`."""
        self._count += 1
        if not isinstance(error, OverloadedError | UnavailableError):
            return None
        # The budget sees every failure of the kind, also those that are not retried: that is what closes it in an outage.
        allowed = self._budget.failed()
        # Without a reason of the server's own, it may have done the work before the connection broke.
        safe = self._repeatable or bool(error.reason)
        if not allowed or not safe or self._count >= self._policy.max_attempts:
            return None
        backoff = min(self._policy.max_delay, self._policy.first_delay * self._policy.factor ** (self._count - 1))
        # The server's delay is a floor, so that jitter never comes earlier than it asked.
        delay = (error.retry_after or 0.0) + random.uniform(0.0, backoff)
        return delay if delay < self.remaining() else None
