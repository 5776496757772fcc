"""A worker that helps with whatever backfills are under way: from machine to machine, until told to end.

It goes from backfill to backfill and takes free ranges. What somebody else holds it waits
for, since that may die; what can't be worked on here it leaves, and says why.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.backfill.keyset import Backfill
from django_safemigrations.backfill.leases import LedgerProgress, worker_name
from django_safemigrations.backfill.listing import Listed, list_backfills
from django_safemigrations.backfill.report import report
from django_safemigrations.backfill.store import WORKING
from django_safemigrations.backfill.surroundings import Throttle, surrounded_by, surroundings
from django_safemigrations.backfill.tasks import work_of
from django_safemigrations.backfill.walk import Walk
from django_safemigrations.exceptions import (
    BackfillCancelled,
    BackfillFailed,
    BackfillStopped,
    SafeMigrationsError,
    SettingsError,
)
from django_safemigrations.postgres.errors import sqlstate
from django_safemigrations.postgres.runner import runner

POLL = 1.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
RECONNECT_FOR = 600.0
TRY_AGAIN = 60.0

# Classes and states that say nothing of the work: the session or the server went away.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
CONNECTION_LOST = ("08", "57P0", "53300")


class NothingFree(Exception):
    """All ranges of a backfill are somebody else's, or it is not to be worked on now."""


class Helping(Backfill):
    """A worker's part in a backfill that goes elsewhere rather than wait for others."""

    walk: Walk | None = None

    def _walk(self, throttle: Throttle) -> Walk:
        self.walk = super()._walk(throttle)
        return self.walk

    def _wait(self, walk: Walk, throttle: Throttle, why: str) -> None:
        self._tell(walk, throttle, why)
        raise NothingFree(why)

    @property
    def rows(self) -> int:
        """Rows that this worker has changed, however its part ended."""
        return 0 if self.walk is None else self.walk.changed


@dataclass
class Help:
    """What a worker did.

    Attributes:
        rows: rows that it has changed.
        failed: why a backfill failed, by key.
        beyond: why a backfill can't be worked on by this process, by key.
    """

    rows: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    beyond: dict[str, str] = field(default_factory=dict)


@dataclass
class Helper:
    """One worker.

    Args:
        connection: the database; nobody else uses it.
        keys: the backfills to work on; all if there are none.
        once: end when nothing is free, rather than wait for what others hold.
        forever: stay when nothing is left, and take on what comes.
        stop: asked between two batches; when it says so the worker ends.
        clock, sleep: injected by tests.
    """

    connection: BaseDatabaseWrapper
    keys: Sequence[str] = ()
    once: bool = False
    forever: bool = False
    stop: Callable[[], bool] = bool
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    name: str = field(default_factory=worker_name)
    help: Help = field(default_factory=Help)
    _not_before: dict[str, float] = field(default_factory=dict)
    _lost_since: float | None = None
    _rows_before: int = 0
    _pause: float = FIRST_PAUSE

    def run(self) -> Help:
        """Work until there is nothing left to do, or until told to end.

        Raises:
            OperationalError, InterfaceError: the database was out of reach for RECONNECT_FOR
                seconds.
            SettingsError: SAFE_MIGRATIONS can't be used.
        """
        with surrounded_by(stop=self.stop, clock=self.clock, sleep=self.sleep, leave=False):
            while not self.stop():
                try:
                    worked, left = self._round()
                except (OperationalError, InterfaceError) as error:
                    self._reconnect(error)
                    continue
                self._lost_since, self._pause = None, FIRST_PAUSE
                if worked:
                    continue
                if (self.once or not left) and not self.forever:
                    break
                self.sleep(POLL)
        return self.help

    def _round(self) -> tuple[bool, bool]:
        """Work on everything once; return whether a range was free, and whether waiting helps."""
        worked = left = False
        for each in self.open():
            if self.stop():
                break
            did = self._work_on(each)
            worked = worked or did
            left = left or each.key not in self._not_before
        return worked, left

    def open(self) -> list[Listed]:
        """Return the backfills that this worker may work on now."""
        now = self.clock()
        return [
            each
            for each in list_backfills(self.connection)
            if each.state in WORKING
            and (not self.keys or each.key in self.keys)
            and (each.key not in self._not_before or self._may_try_again(each.key, now))
        ]

    def _may_try_again(self, key: str, now: float) -> bool:
        return self.forever and now >= self._not_before[key]

    def _work_on(self, each: Listed) -> bool:
        store = LedgerProgress(self.connection, each.key, each.table, worker=self.name)
        self._not_before.pop(each.key, None)
        backfill: Helping | None = None
        try:
            # Without a transaction of the editor's: each batch has its own.
            with self.connection.schema_editor(atomic=False) as editor, runner(editor) as means:
                work = work_of(self.connection, each.task)
                backfill = Helping(means, work, store, surroundings())
                backfill.run()
        except NothingFree:
            return backfill is not None and backfill.rows > 0
        except SettingsError:
            raise
        except BackfillCancelled as error:
            report(str(error))
        except BackfillFailed as error:
            self._give_up(each, str(error), self.help.failed)
        except BackfillStopped as error:
            self._give_up(each, str(error), self.help.beyond)
        except SafeMigrationsError as error:
            self._give_up(each, str(error), self.help.failed)
        except DatabaseError as error:
            if self._is_lost(error):
                raise
            self._give_up(each, str(error).strip(), self.help.failed)
        finally:
            self.help.rows += backfill.rows if backfill is not None else 0
        return True

    def _give_up(self, each: Listed, why: str, where: dict[str, str]) -> None:
        report(why)
        where[each.key] = why
        self._not_before[each.key] = self.clock() + TRY_AGAIN

    # -- connections that are lost ---------------------------------------------------------

    def _is_lost(self, error: Exception) -> bool:
        if not isinstance(error, OperationalError | InterfaceError):
            return False
        # Not by asking the connection: what was closed on the way here may be open anew.
        state = sqlstate(error)
        return state is None or state.startswith(CONNECTION_LOST)

    def _reconnect(self, error: Exception) -> None:
        """Forget the connection and wait a growing while; the lease is taken up again after that."""
        now = self.clock()
        if self._lost_since is None or self.help.rows > self._rows_before:
            # It was there in between, and batches were committed.
            self._lost_since, self._pause = now, FIRST_PAUSE
        self._rows_before = self.help.rows
        if now - self._lost_since >= RECONNECT_FOR:
            raise error
        first = str(error).strip().split("\n")[0]
        report(f"The database is out of reach, next try in {self._pause:g} s: {first}")
        with contextlib.suppress(Exception):
            self.connection.close()
        self.connection.connection = None
        self.sleep(self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
