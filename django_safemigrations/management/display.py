"""Shows backfills while they run: a live display in a terminal, plain lines with the time elsewhere.

The live display needs rich (``pip install django-safemigrations[progress]``); without it,
and wherever output is not a terminal that can move its cursor, there are lines.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import importlib.util
import os
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TextIO

from django.core.management.base import OutputWrapper

from django_safemigrations.backfill.report import Lines, Standing, facts, told

FRAMES_A_SECOND = 8
WIDEST_BAR = 40
NARROWEST_BAR = 10
INDENT = "    "


def now() -> dt.datetime:
    """Return the time of the wall clock where the command was typed."""
    return dt.datetime.now().astimezone()


def printable(text: str) -> str:
    """Return text of unknown origin as one line that moves no cursor and changes no color.

    Names of tables and what PostgreSQL quotes of rows in its errors may hold anything.
    """
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def encodable(text: str, encoding: str | None) -> str:
    """Return text with whatever an encoding lacks written as escapes."""
    return text.encode(encoding or "utf-8", "backslashreplace").decode(encoding or "utf-8")


class Display:
    """An observer of backfills that writes to a stream; use it as a context manager.

    What other code writes to the same stream meanwhile stays readable: the live display
    begins on a line of its own and is gone when nothing runs.

    Args:
        stream: where it writes.
        live: whether to draw; None finds out by the stream and the environment.
        stamped: whether lines begin with the time.
        wall_clock, clock: injected by tests.
    """

    def __init__(
        self,
        stream: TextIO | OutputWrapper,
        *,
        live: bool | None = None,
        stamped: bool = True,
        wall_clock: Callable[[], dt.datetime] = now,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        # Django's OutputWrapper ends every write with a newline; what it wraps does not.
        self.stream: Any = getattr(stream, "_out", stream)
        self.stamped = stamped
        self.wall_clock = wall_clock
        self.clock = clock
        self.running: dict[str, Standing] = {}
        self._lines = Lines(self._write_line, clock)
        self._live: Any = None
        self._on_new_line = False
        self._drawn = float("-inf")
        self._console = _console(self.stream, live)

    @property
    def is_live(self) -> bool:
        """Whether it draws, rather than write lines."""
        return self._console is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the live display away."""
        self.running.clear()
        live, self._live = self._live, None
        if live is not None:
            # A terminal that is gone meanwhile is no reason to fail.
            with contextlib.suppress(OSError, ValueError):
                live.stop()
            self._on_new_line = True

    # -- what an observer does -----------------------------------------------------------

    def line(self, text: str) -> None:
        """Show one line; it stays."""
        self._write_line(text)

    def standing(self, standing: Standing) -> None:
        """Show how a backfill stands now."""
        if self._console is None:
            self._lines.standing(standing)
            return
        if not standing.ended:
            self.running[standing.key] = standing
            self._draw(at_once=False)
            return
        self.running.pop(standing.key, None)
        if not self.running:
            # Taken away first, so that what migrate prints comes behind the last line.
            self.close()
        self._write_line(told(standing))

    def show_all(self, standings: Iterable[Standing]) -> None:
        """Show these backfills and no others: what a look at the ledger found."""
        found = {standing.key: standing for standing in standings}
        if self._console is None:
            for standing in found.values():
                self._lines.standing(standing)
            return
        self.running = {key: each for key, each in found.items() if not each.ended}
        self._draw(at_once=True)

    # -- drawing ---------------------------------------------------------------------------

    def _draw(self, *, at_once: bool) -> None:
        if not self.running:
            self.close()
            return
        moment = self.clock()
        if not at_once and moment - self._drawn < 1 / FRAMES_A_SECOND:
            return
        self._drawn = moment
        if self._live is None:
            from rich.live import Live

            # Whoever runs us may have left the cursor behind "  Applying shop.0002_x...".
            self._console.print()
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
                vertical_overflow="ellipsis",
            )
            self._live.start()
        self._live.update(picture(self.running.values(), self._console), refresh=True)

    def _write_line(self, text: str) -> None:
        stamp = f"{self.wall_clock():%H:%M:%S} " if self.stamped else ""
        line = encodable(
            f"{INDENT}{stamp}{printable(text)}", getattr(self.stream, "encoding", None)
        )
        if self._live is not None:
            from rich.text import Text

            # Above the live display, which is drawn anew below it.
            self._console.print(Text(line), soft_wrap=True)
            return
        # " OK", which migrate prints when a migration is done, comes behind the last line.
        self.stream.write(line if self._on_new_line else f"\n{line}")
        self._on_new_line = False
        self.stream.flush()


def _console(stream: Any, live: bool | None) -> Any:
    """Return rich's console for a stream, or None where there can be no live display."""
    if importlib.util.find_spec("rich") is None:
        return None
    from rich.console import Console

    if live is None:
        # An interactive answer of yes means nothing in CI logs that pretend to be terminals.
        is_terminal = getattr(stream, "isatty", lambda: False)()
        live = is_terminal and os.environ.get("TERM", "") not in ("", "dumb", "unknown")
    if not live:
        return None
    return Console(file=stream, markup=False, highlight=False, emoji=False, force_terminal=True)


def picture(standings: Iterable[Standing], console: Any) -> Any:
    """Return what the live display shows, as rich renders it.

    Each backfill has its title, a bar, and its facts, broken between facts where the
    terminal is too narrow for a line.
    """
    from rich.console import Group
    from rich.text import Text

    width = max(16, console.width - 1)
    ascii_only = not (console.encoding or "utf-8").lower().startswith("utf")
    lines = []
    for standing in standings:
        for text, style in _drawn(standing, width, ascii_only=ascii_only):
            shown = encodable(text, console.encoding)
            lines.append(Text(shown, style=style, no_wrap=True, overflow="crop"))
    return Group(*lines)


def _drawn(standing: Standing, width: int, *, ascii_only: bool) -> Iterator[tuple[str, str]]:
    """Yield the lines of one backfill, and rich's style for each."""
    yield _cropped(printable(standing.title), width, ascii_only=ascii_only), "bold"
    inner = width - len(INDENT)
    if standing.share is not None:
        bar = min(WIDEST_BAR, max(NARROWEST_BAR, inner - 5))
        full = int(standing.share * bar)
        marks = "#-" if ascii_only else "━╌"
        drawn = marks[0] * full + marks[1] * (bar - full)
        yield f"{INDENT}{drawn} {min(99, int(standing.share * 100)):>2}%"[:width], "cyan"
    # The share stands behind the bar already.
    for line in _filled((fact for fact in facts(standing) if not fact.endswith("%")), inner):
        yield INDENT + line, ""
    if standing.waiting:
        waiting = printable(f"waiting: {standing.waiting}")
        for line in _filled(waiting.split(" "), inner, gap=" "):
            yield INDENT + line, "yellow"


def _filled(parts: Iterable[str], width: int, gap: str = "  ") -> Iterator[str]:
    """Yield lines of whole parts; one that is wider than a line is broken between words."""
    line = ""
    for part in parts:
        for piece in [part] if len(part) <= width else textwrap.wrap(part, width):
            if line and len(line) + len(gap) + len(piece) > width:
                yield line
                line = ""
            line = f"{line}{gap}{piece}" if line else piece
    if line:
        yield line


def _cropped(text: str, width: int, *, ascii_only: bool) -> str:
    if len(text) <= width:
        return text
    end = "..." if ascii_only else "…"
    return text[: width - len(end)] + end
