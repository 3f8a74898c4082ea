"""Errors of the factory and the client: one root, and each is also the standard type it specialises.

A message says what happened, why, and how to fix it, and names the field or file. To add one: subclass
`ShortlistError` and the standard exception that a caller would expect, and say in the docstring when it is raised.
"""

from __future__ import annotations


class ShortlistError(Exception):
    """Root of all errors that Shortlist raises on purpose."""

    def __init__(self, what: str, *, why: str = "", fix: str = "") -> None:
        self.what, self.why, self.fix = what, why, fix
        super().__init__(". ".join(part.rstrip(".") for part in (what, why, fix) if part))

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.what, self.why, self.fix))


def _rebuild(kind: type[ShortlistError], what: str, why: str, fix: str) -> ShortlistError:
    return kind(what, why=why, fix=fix)


class DataError(ShortlistError, ValueError):
    """Input data is missing, malformed or contradicts its schema."""


class SchemaError(ShortlistError, ValueError):
    """A schema contradicts itself or the data."""


class ConfigError(ShortlistError, ValueError):
    """A configuration value is unknown, missing or out of range."""


class CheckpointError(ShortlistError, ValueError):
    """A checkpoint cannot be read or belongs to another configuration."""


class ExportError(ShortlistError, RuntimeError):
    """A graph could not be exported or does not reproduce PyTorch."""


class GateError(ShortlistError, RuntimeError):
    """A release was refused by a gate (law, parity, or quality)."""


class BundleError(ShortlistError, ValueError):
    """A bundle is incomplete, altered or of an unknown version."""
