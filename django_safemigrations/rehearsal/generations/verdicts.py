"""Tells a call that the plan has broken from one that could never have worked as it was made up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import InterfaceError, OperationalError, models

from django_safemigrations.rehearsal.generations.rows import constraint_columns
from django_safemigrations.rehearsal.generations.session import Session, driver_error
from django_safemigrations.rehearsal.generations.sides import AnyModel, Side, key_of, unique_sets
from django_safemigrations.rehearsal.generations.values import NoValue, is_djangos
from django_safemigrations.rehearsal.generations.work import Call, LostWrite, Work

# https://www.postgresql.org/docs/current/errcodes-appendix.html
TOO_SLOW = "57014"
LOCKED = ("55P03", "40P01", "40001")
NO_ROOM = ("53", "58")
GONE = ("08", "57P")
CONSTRAINTS = ("23514", "23P01", "23505", "23503")
RAISED = "P0001"
NAMES = "42"
MAX_NAME = 63
"""https://www.postgresql.org/docs/current/limits.html"""

Known = frozenset[tuple[str, str, str]]
"""Schema, table and name of constraints and unique indexes."""


@dataclass(frozen=True)
class Error:
    """What became of a call.

    Attributes:
        state: SQLSTATE, or the name of the error's class.
        text: what to tell: never a row of the copy.
        group: errors with the same one are told once.
    """

    state: str
    text: str
    group: tuple[str, ...]


def known_constraints(session: Session) -> Known:
    """Return the constraints and unique indexes that are there."""
    with session.connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT n.nspname, r.relname, k.conname FROM pg_constraint k
            JOIN pg_class r ON r.oid = k.conrelid JOIN pg_namespace n ON n.oid = r.relnamespace
            UNION
            SELECT n.nspname, r.relname, x.relname FROM pg_index i
            JOIN pg_class r ON r.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
            JOIN pg_namespace n ON n.oid = r.relnamespace WHERE i.indisunique
            """
        )
        return frozenset(cursor.fetchall())


def read_error(error: BaseException, *, real: bool = False) -> Error:
    """Return what an error says, without the values of its DETAIL.

    Args:
        error: what a call raised.
        real: whether values of the copy may stand in its message.
    """
    found = driver_error(error)
    if isinstance(error, LostWrite):
        return Error("lost write", str(error), ("lost write", error.about))
    if found is None or found.sqlstate is None:
        name = type(error).__name__
        return Error(name, name if real else f"{name}: {error}".splitlines()[0], (name,))
    diag = found.diag
    name, told = type(found).__name__, diag.message_primary
    if real and not found.sqlstate.startswith((NAMES, "23")):
        told = None
    text = f"{told or name} (SQLSTATE {found.sqlstate})"
    about = [diag.table_name, diag.column_name, diag.constraint_name]
    group = [found.sqlstate, *(part or "" for part in about)]
    if found.sqlstate.startswith(NAMES):
        group.append(diag.message_primary or "")
    return Error(found.sqlstate, text, tuple(group))


def is_real(work: Work, call: Call) -> bool:
    """Whether values of the copy may stand in what is told of a call."""
    return call.real or bool(work.rows.copied.get(key_of(work.model)))


def is_gone(error: BaseException) -> bool:
    """Whether the session or its server is gone: nothing can be said then."""
    found = driver_error(error)
    if found is not None and found.sqlstate is not None:
        return found.sqlstate.startswith(GONE)
    return isinstance(error, OperationalError | InterfaceError)


def why_not(
    work: Work, call: Call, error: BaseException, statement: str, known: Known
) -> str | None:
    """Return why an error says nothing about the plan, None if it does."""
    found = read_error(error, real=is_real(work, call))
    state = found.state
    if isinstance(error, NoValue):
        return str(error)
    if state == TOO_SLOW:
        return "it took too long"
    if state in LOCKED:
        return "another session held a lock"
    if state.startswith(NO_ROOM) and driver_error(error) is not None:
        return found.text
    if driver_error(error) is None and not isinstance(error, LostWrite) and not statement:
        return f"no value could be made for it: {found.text}"
    if state in CONSTRAINTS and is_of_values(work, error, known):
        return f"made-up values do not satisfy a constraint that the code knows: {found.text}"
    if call.key and work.side.name == "old" and _key_ends(work, call):
        return "the plan removes this unique key, and upserts need it"
    if call.extreme and state.startswith("22") and _is_computed_from(work):
        return f"a column that is computed has less room: {found.text}"
    if _is_own_type(work) and (state.startswith("22") or state in (*CONSTRAINTS, RAISED)):
        return f"what values it takes is not known: {found.text}"
    return None


def is_of_values(work: Work, error: BaseException, known: Known) -> bool:
    """Whether a constraint is one that code which keeps its own rules would not violate."""
    found = driver_error(error)
    if found is None or found.sqlstate not in CONSTRAINTS or not found.diag.constraint_name:
        return False
    diag = found.diag
    name = str(diag.constraint_name)
    if (diag.schema_name, diag.table_name, name) in known:
        return True
    columns = set(constraint_columns(work.rows.session, error))
    declaring = [work.side]
    if found.sqlstate == "23505":
        # Old code may write twice what new code declares unique: that is the one stated
        # exception to its being left alone, and the duplicates are counted before.
        declaring = [work.side, work.side.other]
    return any(_declares(side, diag.table_name, name, columns) for side in declaring)


def _declares(side: Side, table: str | None, name: str, columns: set[str]) -> bool:
    for model in side.apps.get_models(include_auto_created=True):
        options = model._meta
        constraints = {
            _as_stored(constraint.name): constraint for constraint in options.constraints
        }
        if name in constraints:
            return True
        if not columns or not _has_columns(model, columns):
            continue
        if any(_columns_of(model, key) == columns for key in unique_sets(model)):
            return True
        checks = (c for c in constraints.values() if isinstance(c, models.CheckConstraint))
        if any(_columns_of(model, _names_in(check.condition)) == columns for check in checks):
            return True
    return False


def _as_stored(name: str) -> str:
    """Return a name as PostgreSQL cuts it."""
    return name.encode()[:MAX_NAME].decode(errors="ignore")


def _has_columns(model: AnyModel, columns: set[str]) -> bool:
    return columns <= {f.column for f in model._meta.concrete_fields}


def _columns_of(model: AnyModel, names: Any) -> set[str]:
    return {
        str(f.column) for f in model._meta.concrete_fields if f.name in names or f.attname in names
    }


def _names_in(condition: Any) -> set[str]:
    """Return the names of the fields that a check's condition is about."""
    if isinstance(condition, models.F):
        name: str = condition.name  # type: ignore[attr-defined]
        return {name.split("__")[0]}
    if isinstance(condition, models.Q):
        return {name for child in condition.children for name in _names_in(child)}
    if isinstance(condition, tuple):
        return {condition[0].split("__")[0]} | _names_in(condition[1])
    parts = getattr(condition, "get_source_expressions", lambda: ())()
    return {name for part in parts for name in _names_in(part)}


def _key_ends(work: Work, call: Call) -> bool:
    """Whether new code has no unique key any more that an upsert of old code is about."""
    other = work.side.partner(work.model)
    if other is None:
        return False
    names = set()
    for name in call.fields:
        field: Any = work.model._meta.get_field(name)
        partner = work.side.partner_field(field)
        if partner is None:
            return True
        names.add(partner.name)
    keys = [set(key) for key in unique_sets(other, nameable=True)]
    keys.append({f.name for f in other._meta.pk_fields})
    return names not in keys


def _is_computed_from(work: Work) -> bool:
    """Whether either generation has a column that is computed from others."""
    models_of_both = [work.model, work.side.partner(work.model)]
    fields = (f for model in models_of_both if model for f in model._meta.concrete_fields)
    return any(getattr(f, "generated", False) for f in fields)


def _is_own_type(work: Work) -> bool:
    """Whether a model is new, or has new fields, of which only the project knows what they take."""
    if work.side.partner(work.model) is None:
        return work.side.name == "new"
    return any(
        not is_djangos(f) and work.side.partner_field(f) is None
        for f in work.model._meta.concrete_fields
    )
