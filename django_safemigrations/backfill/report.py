"""Where progress lines go: to the log, unless a command shows them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextvars import ContextVar

logger = logging.getLogger("django_safemigrations.backfill")

_show: ContextVar[Callable[[str], None]] = ContextVar("show", default=logger.info)


def report(line: str) -> None:
    """Tell one line of progress."""
    _show.get()(line)


@contextlib.contextmanager
def reporting_to(show: Callable[[str], None]) -> Iterator[None]:
    """Show progress lines with `show` inside the block."""
    token = _show.set(show)
    try:
        yield
    finally:
        _show.reset(token)
