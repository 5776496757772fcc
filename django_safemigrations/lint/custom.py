"""Rules of a project's own: what one is made of, what it may look at, and how it is run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.hazards import Example, Hazard, Severity, Work
from django_safemigrations.lint.columns import Column, column
from django_safemigrations.lint.context import Context
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.states import move
from django_safemigrations.lint.stats import Stats
from django_safemigrations.lint.tables import table_name

FAILED = "DSM905"
RESERVED = "DSM"


@dataclass(frozen=True)
class OwnHazard(Hazard):
    """A hazard of a project's own rule.

    Attributes:
        page: address of a page about it; empty if there is none.
    """

    page: str = ""

    @property
    def url(self) -> str:
        """Address of the hazard's documentation page; empty if there is none."""
        return self.page


def own_hazard(
    code: str,
    name: str,
    title: str,
    *,
    why: str,
    way_out: str,
    severity: Severity = Severity.ERROR,
    lock: str = "-",
    who_waits: str = "-",
    bad: str = "",
    good: str = "",
    work: Work = Work.NONE,
    page: str = "",
) -> Hazard:
    """Return a hazard for a rule of your own.

    Args:
        code: capital letters and then digits, such as ``"SHOP001"``; not beginning with DSM.
        name: the same in words, such as ``"text-without-limit"``.
        title: one line that says what goes wrong, without a full stop.
        why: what PostgreSQL, or the application, does then.
        way_out: what to write instead.
        severity: how a finding counts; `LINT_SEVERITIES` overrides it.
        lock: PostgreSQL's name of the lock, if a lock is the point.
        who_waits: which statements wait or fail.
        bad, good: source of a migration for `--explain`.
        work: what is done with every row; then `--stats` decides by the table's size.
        page: address of a page about it.
    """
    return OwnHazard(
        code=code,
        name=name,
        title=title,
        severity=severity,
        why=why,
        lock=lock,
        who_waits=who_waits,
        way_out=way_out,
        bad=Example(bad, whole_file=True),
        good=Example(good, whole_file=True),
        work=work,
        page=page,
    )


@dataclass(frozen=True)
class Table:
    """What is known of a table without asking a database.

    Attributes:
        name: of the table.
        is_new: whether this very migration creates it, so that nobody uses it yet.
        rows: from `--stats`; None without it, or if the file doesn't have the table.
        bytes: of the table without its indexes; None like `rows`.
    """

    name: str
    is_new: bool
    rows: int | None
    bytes: int | None


@dataclass(frozen=True)
class RuleContext:
    """What a rule of your own may look at besides the operation.

    Attributes:
        app_label, migration: of the migration; its name is the file's.
        is_atomic: whether the migration runs in one transaction.
        before: the project's state before the operation, while the rule looks. Read it only: a
            change would reach all migrations that come after, and ``before.apps`` costs seconds.
        is_state_only: whether the operation does nothing in the database.
    """

    app_label: str
    migration: str
    is_atomic: bool
    before: ProjectState
    is_state_only: bool
    _operation: Operation = field(repr=False)
    _created: frozenset[tuple[str, str]] = field(repr=False)
    _stats: Stats | None = field(repr=False, default=None)

    @cached_property
    def after(self) -> ProjectState:
        """The project's state after the operation."""
        state = self.before.clone()
        move(self._operation, self.app_label, state)
        return state

    def model(
        self, name: str, app_label: str | None = None, *, after: bool = False
    ) -> ModelState | None:
        """Return a model of the state before the operation, or after it; None if there is none."""
        state = self.after if after else self.before
        return state.models.get((app_label or self.app_label, name.lower()))

    def table(self, name: str, app_label: str | None = None) -> Table | None:
        """Return the table of a model; None if there is no such model, before and after."""
        model = self.model(name, app_label) or self.model(name, app_label, after=True)
        if model is None:
            return None
        table = table_name(model)
        size = self._stats.find(table) if self._stats else None
        return Table(
            name=table,
            is_new=(model.app_label, model.name_lower) in self._created,
            rows=size.rows if size else None,
            bytes=size.bytes if size else None,
        )

    def column(self, model_name: str, field_name: str, *, after: bool = False) -> Column | None:
        """Return a field's column with its PostgreSQL type; None if there is no such column."""
        model = self.model(model_name, after=after)
        found = model.fields.get(field_name) if model else None
        if model is None or found is None:
            return None
        return column(self.after if after else self.before, model, field_name, found)


Function = Callable[[Any, RuleContext], Iterator[Observation]]


@dataclass(frozen=True)
class CustomRule:
    """A rule of a project's own, as `lint_rule` makes it.

    Attributes:
        function: yields what it sees in an operation.
        hazards: that it can report.
        operations: classes of the operations that it is called with.
        state_operations: whether it is also called with those that change the state only.
        name: dotted path, for messages.
    """

    function: Function
    hazards: tuple[Hazard, ...]
    operations: tuple[type, ...]
    state_operations: bool
    name: str

    def __call__(self, operation: Any, context: RuleContext) -> Iterator[Observation]:
        """Run the rule, as a test of it would."""
        return self.function(operation, context)


def lint_rule(
    *hazards: Hazard,
    operations: Sequence[type] = (Operation,),
    state_operations: bool = False,
) -> Callable[[Function], CustomRule]:
    """Make a function a rule: ``(operation, context)`` to an iterator of observations.

    Args:
        hazards: the hazards that it may report, made by `own_hazard`.
        operations: classes of the operations that it wants to see; subclasses are included.
            Containers such as SeparateDatabaseAndState are looked into and not passed.
        state_operations: pass also operations that change Django's state only, such as the
            ones inside of Expand and ``SeparateDatabaseAndState(state_operations=…)``.
    """

    def decorate(function: Function) -> CustomRule:
        name = f"{function.__module__}.{function.__qualname__}"
        return CustomRule(function, hazards, tuple(operations), state_operations, name)

    return decorate


Judged = tuple[str, Observation]


class Judges:
    """A project's rules at work: each failure is remembered, so that it is said once an app.

    Args:
        rules: the rules.
        stats: sizes of tables; None if there are none.
    """

    def __init__(self, rules: Sequence[CustomRule], stats: Stats | None = None) -> None:
        self.rules = rules
        self.stats = stats
        self.failed: set[tuple[CustomRule, str]] = set()

    def judge(self, operation: Operation, position: str, context: Context) -> Iterator[Judged]:
        """Run the rules on an operation and on what is inside of it, at any depth."""
        if not self.rules:
            return
        for state, inside, where, state_only in _flat(operation, position, context):
            seen_by = RuleContext(
                app_label=context.app_label,
                migration=context.migration.name,
                is_atomic=bool(context.migration.atomic),
                before=state,
                is_state_only=state_only,
                _operation=inside,
                _created=frozenset(context.created),
                _stats=self.stats,
            )
            for rule in self.rules:
                if isinstance(inside, rule.operations) and (
                    rule.state_operations or not state_only
                ):
                    for observation in self._run(rule, inside, seen_by):
                        yield where, observation

    def _run(
        self, rule: CustomRule, operation: Operation, context: RuleContext
    ) -> Iterator[Observation]:
        try:
            seen = list(rule.function(operation, context))
            for observation in seen:
                _check(rule, observation)
        except Exception as error:  # noqa: BLE001 - a rule is code of the project's own
            # By app: a package's findings don't fail, and must not stand for those that do.
            if (rule, context.app_label) not in self.failed:
                self.failed.add((rule, context.app_label))
                yield _failure(rule, operation, error)
            return
        yield from seen


def _flat(
    operation: Operation, position: str, context: Context, *, state_only: bool = False
) -> Iterator[tuple[ProjectState, Operation, str, bool]]:
    """Yield the operations of a container, each with the state before it."""
    nested = getattr(operation, "database_operations", None)
    if nested is None:
        yield context.state, operation, position, state_only
        return
    parts = [
        *((part, f"{position}.{number}", state_only) for number, part in enumerate(nested)),
        # Those that are in the file have no position of their own.
        *((part, position, True) for part in getattr(operation, "state_operations", ())),
    ]
    before = context.state
    try:
        for kind in (False, True):
            context.state = before
            for part, where, part_state_only in parts:
                if part_state_only is not (kind or state_only):
                    continue
                yield from _flat(part, where, context, state_only=part_state_only)
                context.state = context.state.clone()
                try:
                    move(part, context.app_label, context.state)
                except Exception:  # noqa: BLE001 - operations run code of their own
                    # That it doesn't fit is said of the operation; what comes after it can't
                    # be judged.
                    return
            if state_only:
                break
    finally:
        context.state = before


def _failure(rule: CustomRule, operation: Operation, error: Exception) -> Observation:
    what = type(operation).__name__
    return Observation(
        FAILED,
        f"The rule {rule.name} did not judge {what}: {type(error).__name__}: {error}",
        f"Mend {rule.name}, or take it out of LINT_RULES. It may fail elsewhere in the app, "
        "too; that is said only here.",
    )


def _check(rule: CustomRule, observation: Any) -> None:
    if not isinstance(observation, Observation):
        raise TypeError(f"it yielded {observation!r}, which is not an Observation")
    codes = [hazard.code for hazard in rule.hazards]
    if observation.code not in codes:
        raise ValueError(f"it reported {observation.code}, and declares {', '.join(codes) or '-'}")
