"""Compares what the linter says of a case with what PostgreSQL did, code by code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from django.db import migrations
from django.db.migrations.loader import MigrationLoader

from django_safemigrations.conf import get_settings
from django_safemigrations.hazards import CATALOGUE, Severity
from django_safemigrations.lint import Finding, lint_migrations
from django_safemigrations.lint.rulebook import Rulebook, read_rulebook
from tests.lint.truth.cases import APP, Case, make_migration
from tests.lint.truth.labels import TRACED, UNEXPLAINED

NAME = "0002_case"


class CaseLoader(MigrationLoader):
    """The graph of a case: its models, made by earlier migrations, and its own migration."""

    def __init__(self, case: Case) -> None:
        self.case = case
        super().__init__(None, ignore_no_migrations=True)

    def load_disk(self) -> None:
        """Put the case where files would be."""
        models = self.case.build_state().models
        labels = sorted({label for label, _ in models})
        self.disk_migrations = {}
        self.unmigrated_apps = set()
        self.migrated_apps = {*labels, APP}
        for label in labels:
            created = [
                migrations.CreateModel(m.name, list(m.fields.items()), m.options, m.bases)
                for m in models.values()
                if m.app_label == label
            ]
            self.disk_migrations[label, "0001_initial"] = make_migration(
                {"operations": created}, "0001_initial", label
            )
        own = {
            "operations": self.case.build_operations(),
            "atomic": self.case.atomic,
            "dependencies": [(label, "0001_initial") for label in labels],
        }
        self.disk_migrations[APP, NAME] = make_migration(own, NAME, APP)


def findings(case: Case) -> list[Finding]:
    """Return what the linter finds in a case's own migration."""
    return lint_migrations(CaseLoader(case), {(APP, NAME)}, book=_book())


@cache
def _book() -> Rulebook:
    return read_rulebook(get_settings())


def said(case: Case) -> list[set[str]]:
    """Return the codes that the linter gives to each operation."""
    codes: list[set[str]] = [set() for _ in case.operations]
    for finding in findings(case):
        if finding.operation is not None:
            codes[int(finding.operation.partition(".")[0])].add(finding.code)
    return codes


@dataclass
class Score:
    """How often a hazard was there and was said to be."""

    right: int = 0
    false_alarms: int = 0
    missed: int = 0

    @property
    def cases(self) -> int:
        """How often it was there."""
        return self.right + self.missed

    @property
    def precision(self) -> float:
        """The share of what was said that was so."""
        said = self.right + self.false_alarms
        return self.right / said if said else 1.0

    @property
    def recall(self) -> float:
        """The share of what was so that was said."""
        return self.right / self.cases if self.cases else 1.0

    @property
    def f1(self) -> float:
        """Their harmonic mean."""
        return 2 * self.precision * self.recall / ((self.precision + self.recall) or 1)

    def add(self, *, there: bool, found: bool, times: int = 1) -> None:
        """Count one operation."""
        self.right += times * (there and found)
        self.false_alarms += times * (found and not there)
        self.missed += times * (there and not found)


@dataclass
class Scores:
    """All that was compared.

    Attributes:
        by_code: per hazard that a trace can show.
        unsafe: whether an operation has any hazard, without asking which.
        operations: how many operations were compared.
        safe: how many of them have no hazard.
        disagreements: the case, the operation's index, what was missed, what was a false alarm.
    """

    by_code: dict[str, Score] = field(default_factory=dict)
    unsafe: Score = field(default_factory=Score)
    operations: int = 0
    safe: int = 0
    disagreements: list[tuple[Case, int, set[str], set[str]]] = field(default_factory=list)

    @property
    def alarms_per_100_safe(self) -> float:
        """False alarms in a hundred operations that do no harm."""
        return 100 * self.unsafe.false_alarms / self.safe if self.safe else 0.0

    def table(self) -> str:
        """Return the figures as a Markdown table."""
        lines = [
            "| Hazard | Operations that have it | Precision | Recall |",
            "|---|---:|---:|---:|",
        ]
        for code, score in sorted(self.by_code.items()):
            lines.append(
                f"| {code} {CATALOGUE[code].name} | {score.cases} | {score.precision:.3f} "
                f"| {score.recall:.3f} |"
            )
        lines.append(
            f"| **any** | {self.unsafe.cases} | {self.unsafe.precision:.3f} "
            f"| {self.unsafe.recall:.3f} |"
        )
        return "\n".join(lines)


def compare(cases: Iterable[Case], *, each: bool = False) -> Scores:
    """Lint cases and compare with their labels.

    Args:
        cases: labelled.
        each: count a shape as often as projects have it, instead of once.
    """
    scores = Scores()
    totals: Counter[str] = Counter()
    for case in cases:
        times = case.count if each else 1
        for index, (labels, codes) in enumerate(zip(case.labels, said(case), strict=True)):
            there, found = set(labels) - {UNEXPLAINED}, codes & set(TRACED)
            for code in there | found:
                score = scores.by_code.setdefault(code, Score())
                score.add(there=code in there, found=code in found, times=times)
            scores.unsafe.add(there=bool(there), found=bool(found | errors(codes)), times=times)
            totals["operations"] += times
            totals["safe"] += times * (not there)
            false = found - there
            if not there:
                # Errors of other kinds would fail the run as well.
                false |= errors(codes)
            if there - found or false:
                scores.disagreements.append((case, index, there - found, false))
    scores.operations, scores.safe = totals["operations"], totals["safe"]
    return scores


def errors(codes: Iterable[str]) -> set[str]:
    """Return the codes that make a run fail."""
    return {code for code in codes if CATALOGUE[code].severity is Severity.ERROR}


def described(disagreements: Sequence[tuple[Case, int, set[str], set[str]]]) -> str:
    """Return disagreements as lines for people."""
    return "\n".join(
        f"{case.source} operation {index}: missed {sorted(missed)}, false {sorted(false)}: "
        f"{case.operations[index]}"
        for case, index, missed, false in disagreements
    )
