"""Keeps one execute wrapper innermost, however many are put around statements after it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper


class Wrappers(list[Any]):
    """Django's list of wrappers, the last of which is the innermost and stays so."""

    def append(self, wrapper: Any) -> None:
        """Put a wrapper around those that are there, but for the innermost."""
        self.insert(len(self) - 1, wrapper)

    def pop(self, index: Any = -1) -> Any:
        """Take out the wrapper that was put in last."""
        return super().pop(-2 if index == -1 else index)


@contextlib.contextmanager
def installed_innermost(connection: BaseDatabaseWrapper, wrapper: Any) -> Iterator[None]:
    """Apply a wrapper inside of all others, also of those that come while the block runs.

    It sees what is really sent, once for each attempt of the lock guard, and a transaction that
    it opens is none that the guard has to take for somebody else's.
    """
    before = connection.execute_wrappers
    connection.execute_wrappers = Wrappers([*before, wrapper])
    try:
        yield
    finally:
        connection.execute_wrappers = before
