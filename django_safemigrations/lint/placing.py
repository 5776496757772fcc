"""Puts what was seen in a file at its line, and gives it the severity that is in force."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from django.db.migrations import Migration

from django_safemigrations.lint.context import Key
from django_safemigrations.lint.finding import Finding, Hidden, HiddenBy, Observation
from django_safemigrations.lint.fingerprints import fingerprint
from django_safemigrations.lint.loader import LoadProblem, migration_path
from django_safemigrations.lint.rulebook import Rulebook
from django_safemigrations.lint.source import EMPTY, has_suppressions, read_source
from django_safemigrations.lint.stats import Scale
from django_safemigrations.lint.suppressions import Placed, Seen, suppress

UNREAD = "DSM904"


@dataclass(frozen=True)
class Placing:
    """How what was seen becomes findings.

    Attributes:
        book: hazards and severities.
        scale: sizes of tables; None without `--stats`.
        details: whether hidden findings are wanted, too.
        fingerprints: whether findings get the fingerprints of their operations.
    """

    book: Rulebook
    scale: Scale | None = None
    details: bool = False
    fingerprints: bool = False

    def of_file(self, key: Key, migration: Migration, seen: list[Seen]) -> Iterator[Finding]:
        """Yield the findings of a migration that could be read."""
        path = migration_path(migration)
        if not seen and not has_suppressions(path):
            return
        source = read_source(path)
        if source is EMPTY and not seen:
            return
        for placed in suppress(source, seen, self.book.hazards.keys()):
            if placed.reason is not None and not self.details:
                continue
            mark = fingerprint(source, placed.position) if self.fingerprints else ""
            yield from self._finding(key, path, placed, mark)

    def of_problem(self, key: Key, problem: LoadProblem) -> Iterator[Finding]:
        """Yield the finding on a file that can't be read, or not be put in its place."""
        observation = Observation(UNREAD, problem.message, problem.hint)
        yield from self._finding(key, problem.path, Placed(None, observation, problem.line), "")

    def _finding(self, key: Key, path: str, placed: Placed, mark: str) -> Iterator[Finding]:
        observation = placed.observation
        severity = self.book.severity(observation.code)
        if severity is None:
            return
        hazard = self.book.hazards[observation.code]
        hidden = Hidden(HiddenBy.COMMENT, placed.reason) if placed.reason is not None else None
        finding = Finding(
            code=hazard.code,
            name=hazard.name,
            severity=severity,
            app_label=key[0],
            migration=key[1],
            operation=placed.position,
            path=path,
            line=placed.line,
            message=observation.message,
            hint=observation.hint,
            url=hazard.url,
            table=observation.table,
            fingerprint=mark,
            hidden=hidden,
        )
        yield self.scale.weigh(finding, hazard) if self.scale else finding
