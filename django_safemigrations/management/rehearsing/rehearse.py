"""The whole of a rehearsal: copy, forwards, backwards, forwards again, verdict."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import psycopg
from django.db import DatabaseError, InterfaceError
from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations import __version__, ledger
from django_safemigrations.conf import Settings
from django_safemigrations.exceptions import CopyFailed, ProgramFailed
from django_safemigrations.lint import Finding
from django_safemigrations.management.rehearsing.judging import problems_of
from django_safemigrations.management.rehearsing.on_copy import run_on_copy
from django_safemigrations.management.rehearsing.passes import (
    Course,
    legs_backwards,
    legs_forwards,
)
from django_safemigrations.management.rehearsing.planned import Planned
from django_safemigrations.phases import Phase
from django_safemigrations.rehearsal.comparison.beginnings import against_start
from django_safemigrations.rehearsal.comparison.data import DataWatch
from django_safemigrations.rehearsal.comparison.differing import differences
from django_safemigrations.rehearsal.comparison.fingerprints import Fingerprint, fingerprint
from django_safemigrations.rehearsal.comparison.plainly import PlainSchema, plain_fingerprint
from django_safemigrations.rehearsal.copies.opening import open_copy
from django_safemigrations.rehearsal.copies.schemas import schema_only
from django_safemigrations.rehearsal.estimates import estimates
from django_safemigrations.rehearsal.generations import Generations
from django_safemigrations.rehearsal.results import (
    Direction,
    PassTrace,
    Rehearsal,
    RoundTrip,
)
from django_safemigrations.rehearsal.stand_in import standing_in
from django_safemigrations.rehearsal.trace import TraceLost
from django_safemigrations.rehearsal.trace.undeclared import notes, undeclared
from django_safemigrations.schedule import is_reversible


@dataclass(frozen=True)
class Means:
    """What a rehearsal works with.

    Attributes:
        settings: those in force.
        findings: what lintmigrations says of the plan, hidden findings too.
        progress: told what is going on.
        clock: the time.
    """

    settings: Settings
    findings: Sequence[Finding]
    progress: Callable[[str], None]
    clock: Callable[[], datetime]


def rehearse(connection: BaseDatabaseWrapper, planned: Planned, means: Means) -> Rehearsal:
    """Try a plan on a copy of a database and return what was seen.

    Production is only read. The copy is dropped at the end.

    Args:
        connection: to production.
        planned: what to try.
        means: what to work with.

    Raises:
        CopyRefused, CopyFailed: there is no copy to try it on, or it went away.
    """
    started = means.clock()
    with (
        open_copy(
            connection, means.settings.rehearsal, progress=means.progress, clock=means.clock
        ) as copy,
        standing_in(planned.alias, copy.database) as stand_in,
    ):
        try:
            passes, round_trip = _Run(stand_in, planned, means, started).all()
        except (DatabaseError, InterfaceError, psycopg.Error, ProgramFailed, TraceLost) as error:
            raise CopyFailed(
                f"The plan could not be tried to its end, for the copy failed: {str(error).strip()}\n"
                "Production was only read. Run the command again."
            ) from error
    steps = [step for one in passes[:1] for step in one.steps]
    unsaid = undeclared(steps, _expected(means.findings), rows=copy.rows)
    return Rehearsal(
        plan_hash=planned.hashes[0],
        database=planned.alias,
        migrations=tuple(".".join(key) for key in planned.keys),
        started_at=started,
        finished_at=means.clock(),
        copy=copy.facts,
        passes=passes,
        round_trip=round_trip,
        estimates=estimates(passes, copy.rows),
        problems=problems_of(passes, round_trip, unsaid),
        notes=notes(steps, rows=copy.rows),
        package_version=__version__,
    )


def _expected(findings: Sequence[Finding]) -> Mapping[tuple[str, str, str], set[str]]:
    """Return the codes that lintmigrations gives each operation."""
    found: dict[tuple[str, str, str], set[str]] = {}
    for finding in findings:
        place = (finding.app_label, finding.migration, finding.operation or "")
        found.setdefault(place, set()).add(finding.code)
    return found


class _Run:
    """The passes over one copy, with what is compared between them."""

    def __init__(
        self,
        connection: BaseDatabaseWrapper,
        planned: Planned,
        means: Means,
        started: datetime,
    ) -> None:
        self.connection = connection
        self.planned = planned
        self.means = means
        self.started = started
        self.passes: list[PassTrace] = []
        self.not_compared: list[str] = []
        self.parts: dict[str, tuple[str, ...]] = {}
        self.data: list[str] = []

    def all(self) -> tuple[tuple[PassTrace, ...], RoundTrip]:
        """Forwards, backwards and forwards again, as far as it goes."""
        progress = self.means.progress
        phases = [phase for phase in Phase if self.planned.has(phase)]
        forwards = legs_forwards(phases, self.planned.words)
        backwards = legs_backwards(phases)
        progress("Looking at the copy as it is.")
        # The ledger, and what receivers of post_migrate add for models that are there already.
        ran = run_on_copy(self.planned.alias, (ledger.APP_LABEL,), lambda text: None)
        if ran.code:
            raise CopyFailed(f"The ledger's tables could not be made on the copy: {ran.error}")
        start = fingerprint(self.connection)
        plain = self._plain()
        watch = DataWatch(
            self.connection,
            self.planned.old,
            self.planned.new,
            self.planned.migrations,
            stepped_over=self.planned.pending,
        )
        watch.start()
        code = Generations(self.planned.old, self.planned.new, self.planned.migrations)
        course = Course(
            self.connection,
            self.planned.migrations,
            {key: str(phase) for key, phase in self.planned.phases.items()},
            code,
            watch,
            progress,
            self.means.settings.rehearsal.load,
        )
        course.begin()
        if self._pass(course.run(Direction.FORWARDS, forwards), watch):
            end = fingerprint(self.connection)
            self._against_plain(plain, end)
            if self._can_go_back() and self._pass(
                course.run(Direction.BACKWARDS, backwards), watch
            ):
                self.parts["schema_after_back"], told = against_start(
                    start, fingerprint(self.connection), self.planned.migrations
                )
                self.not_compared += told
                if self._pass(course.run(Direction.FORWARDS_AGAIN, forwards), watch):
                    self.parts["schema_after_again"] = differences(
                        end, fingerprint(self.connection)
                    )
        return tuple(self.passes), RoundTrip(
            data=tuple(self.data),
            not_compared=(*self.not_compared, *watch.not_compared),
            **self.parts,
        )

    def _can_go_back(self) -> bool:
        stuck = [m for m in self.planned.migrations if not all(map(is_reversible, m.operations))]
        if stuck:
            names = ", ".join(f"{m.app_label}.{m.name}" for m in stuck)
            self.not_compared.append(f"the way back: {names} can't be taken back")
        return not stuck

    def _pass(self, one: PassTrace, watch: DataWatch) -> bool:
        """Keep what was seen in a pass, and say whether the next one makes sense."""
        self.passes.append(one)
        if one.error:
            return False
        self.data += [f"{one.direction}: {line}" for line in watch.compare(one.direction)]
        return True

    def _against_plain(self, plain: PlainSchema, end: Fingerprint) -> None:
        self.parts["schema_after_forwards"], doubtful = plain.against(end)
        self.not_compared += doubtful

    def _plain(self) -> PlainSchema:
        """Let plain Django run the plan on an empty copy beside the copy."""
        self.means.progress("Running the plan as plain Django would, on an empty copy.")
        with (
            schema_only(
                self.connection,
                self.means.settings.rehearsal,
                started=self.started,
                progress=self.means.progress,
            ) as entry,
            standing_in(self.planned.alias, entry) as empty,
        ):
            return plain_fingerprint(
                empty,
                self.planned.migrations,
                self.planned.old,
                stepped_over=self.planned.pending,
            )
