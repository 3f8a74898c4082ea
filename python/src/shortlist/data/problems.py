"""Collects everything that is wrong with a data set, so that one run reports all of it."""

from __future__ import annotations

from shortlist.errors import DataError


class Problems:
    """Problems of one data set; each names its frame and column, counts rows and says how to fix it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._found: list[str] = []

    def add(self, where: str, what: str, *, fix: str) -> None:
        self._found.append(f"{where}: {what}; {fix}")

    def absorb(self, frame: str, error: DataError) -> None:
        """Adds a problem that another module raised about a column of `frame`."""
        self._found.append(f"{frame}: {error}")

    def raise_if_any(self) -> None:
        """Raises DataError that lists all problems."""
        if self._found:
            count = "1 problem" if len(self._found) == 1 else f"{len(self._found)} problems"
            raise DataError(f"data set {self._name!r} has {count}:\n- " + "\n- ".join(self._found))
