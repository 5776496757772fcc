"""The progress display: drawn in a terminal, lines elsewhere, and nothing that data could do to either."""

from __future__ import annotations

import datetime as dt
import importlib.util
import io
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from django_safemigrations.backfill.report import (
    Lines,
    Standing,
    duration,
    facts,
    report,
    report_standing,
    reporting_to,
    told,
)
from django_safemigrations.management import display
from django_safemigrations.management.display import Display, picture, printable

RUNNING = Standing(
    key="a",
    title='public.shop_order: filling "slug"',
    seen=3_100_000,
    changed=3_000_000,
    total=5_000_000,
    rate=84_512.4,
    size=8_000,
    lag=0.4,
)
WAITING = Standing(
    key="a", title="t", seen=5, waiting="replication lag: standby1 is 12 s behind, of 10 s"
)
NOON = dt.datetime(2026, 3, 1, 12, 0, 5, tzinfo=dt.UTC)


class Clock:
    """Time that passes only when a test lets it."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def __init__(self, encoding: str = "utf-8") -> None:
        super().__init__()
        self._encoding = encoding

    def isatty(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding


def recorded(*standings: Standing, width: int = 80, encoding: str = "utf-8") -> list[str]:
    """Return the lines that are drawn."""
    console = Console(file=Screen(encoding), width=width, force_terminal=True, record=True)
    console.print(picture(standings, console))
    return console.export_text().rstrip("\n").split("\n")


class TestFacts:
    def test_what_is_known_is_said_shortly(self) -> None:
        assert facts(RUNNING) == [
            "3,100,000 of about 5,000,000 rows",
            "62%",
            "84,512 rows/s",
            "22 s left",
            "8,000 a batch",
            "lag 0.4 s",
        ]

    def test_what_is_not_known_is_not_said(self) -> None:
        assert facts(Standing("a", "t", seen=7)) == ["7 rows"]

    def test_an_estimate_that_was_too_low_never_says_that_it_is_done(self) -> None:
        standing = Standing("a", "t", seen=5_100, total=5_000, rate=10.0)
        assert "99%" in facts(standing)
        assert "0 s left" in facts(standing)

    def test_failed_rows_and_workers_are_counted(self) -> None:
        found = facts(Standing("a", "t", failed=1, workers=3))
        assert found == ["0 rows", "3 workers", "1 row failed"]

    def test_while_it_waits_nobody_knows_when_it_ends(self) -> None:
        line = told(Standing("a", "t", 5, total=10, rate=1.0, waiting="paused: by Ada"))
        assert line == "t: 5 of about 10 rows, 50%, 1 rows/s; waiting: paused: by Ada"

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(0, "0 s"), (119, "119 s"), (150, "2 min"), (7_500, "2 h 05 min"), (180_000, "2 d 2 h")],
    )
    def test_durations_are_as_long_as_they_need_to_be(self, seconds: float, said: str) -> None:
        assert duration(seconds) == said


class TestLines:
    def test_one_comes_every_two_seconds_and_when_it_waits_and_ends(self) -> None:
        clock, lines = Clock(), list[str]()
        observer = Lines(lines.append, clock)
        for _ in range(45):
            observer.standing(RUNNING)
            clock.now += 0.1
        assert len(lines) == 2
        for _ in range(3):
            observer.standing(WAITING)
        assert len(lines) == 3
        assert lines[-1].endswith("waiting: replication lag: standby1 is 12 s behind, of 10 s")
        observer.standing(Standing("a", "t", ended="proven complete, 5 rows changed"))
        assert lines[-1] == "t: proven complete, 5 rows changed"

    def test_they_have_the_time_where_a_command_writes_them(self) -> None:
        out, clock = io.StringIO(), Clock()
        with Display(out, wall_clock=lambda: NOON, clock=clock) as shown, reporting_to(shown):
            report("building an index")
            report_standing(RUNNING)
            clock.now += 3
            report_standing(RUNNING)
        assert not shown.is_live
        first, second = out.getvalue().strip("\n").split("\n")
        assert first == "    12:00:05 building an index"
        assert second.startswith('    12:00:05 public.shop_order: filling "slug": 3,100,000 of')

    def test_without_rich_there_are_lines_in_a_terminal_too(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: None if name == "rich" else find(name)
        )
        monkeypatch.setenv("TERM", "xterm")
        assert not Display(Screen()).is_live

    @pytest.mark.parametrize("term", ["dumb", ""])
    def test_a_terminal_that_cannot_move_its_cursor_gets_lines(
        self, monkeypatch: pytest.MonkeyPatch, term: str
    ) -> None:
        monkeypatch.setenv("TERM", term)
        assert not Display(Screen()).is_live

    def test_an_encoding_that_lacks_a_character_gets_its_escape(self) -> None:
        raw = io.BytesIO()
        out = io.TextIOWrapper(raw, encoding="ascii")
        with Display(out, stamped=False) as shown:
            shown.line("öffentlich")
        assert raw.getvalue() == b"\n    \\xf6ffentlich"


class TestDrawing:
    def test_title_bar_and_facts(self) -> None:
        assert recorded(RUNNING) == [
            'public.shop_order: filling "slug"',
            "    ━━━━━━━━━━━━━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌╌ 62%",
            "    3,100,000 of about 5,000,000 rows  84,512 rows/s  22 s left  8,000 a batch",
            "    lag 0.4 s",
        ]

    def test_what_it_waits_for_is_told(self) -> None:
        assert recorded(WAITING)[-1].strip() == f"waiting: {WAITING.waiting}"

    @pytest.mark.parametrize("width", [20, 24, 40, 60, 200])
    def test_no_line_is_wider_than_the_terminal(self, width: int) -> None:
        long = Standing(**{**vars(RUNNING), "title": "x" * 90, "waiting": WAITING.waiting})
        lines = recorded(long, width=width)
        assert max(map(len, lines)) < width
        joined = " ".join(" ".join(lines).split())
        assert "3,100,000" in joined
        assert "standby1" in joined

    def test_other_encodings_get_other_marks(self) -> None:
        title = Standing(**{**vars(RUNNING), "title": "größe " + "x" * 100})
        lines = recorded(title, encoding="ascii")
        assert all(line.isascii() for line in lines)
        assert "####" in lines[1]

    def test_what_data_says_moves_no_cursor_and_is_no_markup(self) -> None:
        nasty = "\x1b[2J\x07[red]a[/red]\r\n\u202eb\x9b31m"
        lines = recorded(Standing("a", nasty, waiting=nasty))
        text = "\n".join(lines)
        assert not {"\x1b", "\x07", "\r", "\u202e", "\x9b"} & set(text)
        assert "[red]a[/red]" in text
        assert "\\x1b[2J" in text
        assert printable(nasty).isprintable()

    def test_what_stands_before_and_behind_stays_readable(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        screen, clock = Screen(), Clock()
        screen.write("  Applying shop.0002...")
        with Display(screen, wall_clock=lambda: NOON, clock=clock) as shown:
            assert shown.is_live
            shown.standing(RUNNING)
            shown.line("an index is built")
            clock.now += 1
            shown.standing(Standing("a", "t", ended="proven complete, 5 rows changed"))
            screen.write(" OK\n")
        text = screen.getvalue()
        assert text.startswith("  Applying shop.0002...\n")
        assert "12:00:05 an index is built" in text
        assert text.endswith("    12:00:05 t: proven complete, 5 rows changed OK\n")
        # The cursor is shown again.
        assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")

    def test_it_is_drawn_a_few_times_a_second_only(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TERM", "xterm")
        screen, clock = Screen(), Clock()
        with Display(screen, clock=clock) as shown:
            for _ in range(1_000):
                shown.standing(RUNNING)
                clock.now += 0.001
        assert screen.getvalue().count("filling") <= display.FRAMES_A_SECOND + 2

    def test_colors_are_left_out_where_nobody_wants_them(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm-256color")
        for wanted, no_color in ((True, None), (False, "1")):
            if no_color:
                monkeypatch.setenv("NO_COLOR", no_color)
            else:
                monkeypatch.delenv("NO_COLOR", raising=False)
            screen = Screen()
            with Display(screen, clock=Clock()) as shown:
                shown.standing(RUNNING)
            assert ("\x1b[36m" in screen.getvalue()) is wanted

    def test_a_look_at_the_ledger_shows_what_it_found_and_no_more(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TERM", "xterm")
        with Display(Screen(), clock=Clock()) as shown:
            shown.show_all([RUNNING, Standing("b", "other")])
            assert set(shown.running) == {"a", "b"}
            shown.show_all([Standing("b", "other")])
            assert set(shown.running) == {"b"}


PROGRAM = """
import sys
from django_safemigrations.backfill.report import Standing
from django_safemigrations.management.display import Display
with Display(sys.stdout) as shown:
    print("live" if shown.is_live else "lines", end="", flush=True)
    for seen in range(3):
        shown.standing(Standing("a", "filling slug", seen, total=3, waiting="paused: by Ada"))
        shown._drawn = 0
    shown.standing(Standing("a", "filling slug", ended="proven complete, 3 rows changed"))
print(" OK")
"""


def in_a_terminal(program: str, columns: int, **environment: str) -> str:
    """Run a program in a pseudo-terminal and return what it wrote to it."""
    leader, follower = pty.openpty()
    ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm", "PYTHONPATH": str(Path.cwd()), **environment}
    env.pop("COLUMNS", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=follower, stdout=follower, stderr=follower, env=env
    )
    os.close(follower)
    found = b""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ready, _, _ = select.select([leader], [], [], 1.0)
        if not ready:
            continue
        try:
            read = os.read(leader, 65536)
        except OSError:
            # Linux's way of saying that the other end is closed.
            break
        if not read:
            break
        found += read
    os.close(leader)
    assert process.wait(timeout=30) == 0, found.decode()
    return found.decode()


def played(text: str) -> list[str]:
    """Return the lines that a terminal shows in the end, of the few commands that are used."""
    lines, row, column, index = [""], 0, 0, 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "\r":
            column = 0
        elif character == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif character == "\x1b":
            end = index + 1
            while not text[end].isalpha():
                end += 1
            argument, command = text[index + 1 : end], text[end]
            index = end + 1
            if command == "A":
                row -= int(argument or 1)
            elif command == "K":
                lines[row] = "" if argument == "2" else lines[row][:column]
        else:
            lines[row] = lines[row].ljust(column)[:column] + character + lines[row][column + 1 :]
            column += 1
    return [line.rstrip() for line in lines]


class TestInATerminal:
    @pytest.mark.parametrize("columns", [80, 30])
    def test_it_draws_and_leaves_one_line(self, columns: int) -> None:
        text = in_a_terminal(PROGRAM, columns)
        assert "waiting: paused: by Ada" in " ".join(text.split())
        shown = [line for line in played(text) if line]
        assert shown[0] == "live"
        assert len(shown) == 2, shown
        assert shown[1].endswith("filling slug: proven complete, 3 rows changed OK")

    def test_a_dumb_terminal_gets_lines(self) -> None:
        text = in_a_terminal(PROGRAM, 80, TERM="dumb")
        assert text.startswith("lines")
        assert "\x1b" not in text


def test_the_layers_below_never_import_rich() -> None:
    code = (
        "import sys, django\n"
        "from django.conf import settings\n"
        "settings.configure(INSTALLED_APPS=['django_safemigrations'])\n"
        "django.setup()\n"
        "import django_safemigrations.management.display\n"
        "sys.exit('rich' in sys.modules)"
    )
    environment: dict[str, Any] = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
