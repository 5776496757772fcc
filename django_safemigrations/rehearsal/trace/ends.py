"""Notices the ends of Django's transactions, which no execute wrapper sees."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from django.db.backends.base.base import BaseDatabaseWrapper


class Ended(Protocol):
    """Hears of the end of a transaction."""

    def __call__(self, *, committed: bool) -> None:
        """It was committed, or rolled back."""


@contextlib.contextmanager
def noticing_ends(connection: BaseDatabaseWrapper, ended: Ended) -> Iterator[None]:
    """Call back after each COMMIT and ROLLBACK of a connection, while the block runs.

    Args:
        connection: Atomic commits through it, and sends no statement.
        ended: called with whether the transaction was committed.
    """
    own = vars(connection)
    names = {name: own.get(name) for name in ("_commit", "_rollback")}

    def noticing(name: str) -> Callable[[], Any]:
        original = getattr(connection, name)

        def end() -> Any:
            result = original()
            ended(committed=name == "_commit")
            return result

        return end

    for name in names:
        own[name] = noticing(name)
    try:
        yield
    finally:
        for name, before in names.items():
            if before is None:
                del own[name]
            else:
                own[name] = before
