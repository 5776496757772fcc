"""Kills a migrator after its n-th change, so that a test can run it again from every such point."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from django.db import connection

from tests.kit.databases import admin, sessions_in
from tests.kit.forks import fork, kill_me, wait_for
from tests.kit.statements import watch_changes

PATIENCE = 30.0
"""Seconds that anything waited for here may take before the test fails."""


@dataclass(frozen=True)
class Killed:
    """What a killed run got to.

    Attributes:
        finished: the callable ended before the n-th change: there is nothing left to kill.
        at: the statement around which it was killed, "" if it finished.
    """

    finished: bool
    at: str


def run_killed(
    work: Callable[[], None], n: int, when: Literal["before", "after"] = "after"
) -> Killed:
    """Run `work` in a forked child that is SIGKILLed at its n-th change.

    Changes are statements that change schema or rows on the `default` connection, and (for
    "after") the COMMIT of a transaction that holds some.

    Args:
        work: what to run; it must use `django.db.connection`.
        n: which change, counted from 1.
        when: right before the statement is sent, or right after it has succeeded.

    Raises:
        AssertionError: the callable raised.
    """
    mark = _Mark()

    def child() -> None:
        count = 0

        def hit(sql: str) -> None:
            nonlocal count
            count += 1
            if count == n:
                mark.write(sql)
                kill_me()

        before, after = (hit, None) if when == "before" else (None, hit)
        with watch_changes(connection, before=before, after=after):
            work()

    return _killed(child, mark)


def run_killed_after_something_new(work: Callable[[], None], known: set[str]) -> Killed:
    """Run `work` in a forked child that is SIGKILLed when it has done what no run did before it.

    What a transaction does counts when it commits.

    Args:
        work: what to run; it must use `django.db.connection`.
        known: the statements after which runs have died already; this one's is added.

    Raises:
        AssertionError: the callable raised.
    """
    mark = _Mark()

    def child() -> None:
        def hit(sql: str) -> None:
            if _marked(sql) not in known:
                mark.write(_marked(sql))
                kill_me()

        with watch_changes(connection, durable=hit):
            work()

    killed = _killed(child, mark)
    known.add(killed.at)
    return killed


def _marked(sql: str) -> str:
    return " ".join(sql.split())[:1000]


def _killed(child: Callable[[], None], mark: _Mark) -> Killed:
    ended = wait_for(*fork(child))
    at = mark.read()
    if ended.error:
        raise AssertionError(f"the killed run failed by itself:\n{ended.error}")
    if ended.signal not in (0, signal.SIGKILL):
        raise AssertionError(f"the killed run died of signal {ended.signal}")
    wait_until_alone(str(connection.settings_dict["NAME"]))
    return Killed(finished=ended.signal == 0, at=at)


def wait_until_alone(name: str) -> None:
    """Wait until no session but this process's is left in a database.

    The server notices a killed client when it next reads from it: soon, but not at once.
    """
    connection.close()
    wait_until(lambda: not sessions_in(name), lambda: f"sessions left: {sessions_in(name)}")


def wait_until(condition: Callable[[], bool], why: Callable[[], str]) -> None:
    """Ask again and again until a condition holds.

    Raises:
        AssertionError: it does not hold after PATIENCE seconds; `why` says what is missing.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:.0f} s in vain: {why()}")
        select.select([], [], [], 0.002)


def cancel_when_waiting(name: str, word: str) -> str:
    """Cancel the statement in a database that starts with `word` once it waits for a lock.

    Returns:
        The statement that was ended.
    """
    found: list[str] = []

    def ended() -> bool:
        rows = admin().execute(
            "SELECT pid, query FROM pg_stat_activity WHERE datname = %s"
            " AND wait_event_type = 'Lock' AND query ILIKE %s",
            [name, f"{word}%"],
        )
        for pid, query in rows.fetchall():
            admin().execute("SELECT pg_terminate_backend(%s)", [pid])
            found.append(query)
        return bool(found)

    wait_until(ended, lambda: f"no statement {word} waits for a lock: {sessions_in(name)}")
    return found[0]


class _Mark:
    """A pipe on which the child writes the statement it dies at."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def write(self, text: str) -> None:
        os.write(self.writing, text.encode()[:4000])

    def read(self) -> str:
        os.close(self.writing)
        with os.fdopen(self.reading, "rb") as stream:
            return stream.read().decode(errors="replace")
