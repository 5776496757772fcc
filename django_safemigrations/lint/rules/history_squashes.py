"""Rules for squashed migrations: what they lose of the files that they replace, and who still needs them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any

from django.db.migrations import Migration, RunPython, RunSQL
from django.db.migrations.operations.base import Operation

from django_safemigrations.lint.context import Context, flattened
from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.loader import Unread, replaced_by

MAKERS = frozenset({"create", "bulk_create", "get_or_create", "update_or_create"})


def judge_file(context: Context) -> Iterator[tuple[None, Observation]]:
    """Compare a squash with the files that it replaces, and look whom a file depends on."""
    migration = context.migration
    if migration.replaces:
        replaced = [
            found
            for key in replaced_by(migration)
            if (found := context.files.get(key)) is not None and not isinstance(found, Unread)
        ]
        yield from _lost_atomic(migration, replaced)
        yield from _lost_order(migration, replaced)
        yield from _lost_code(migration, replaced)
    yield from _gone(context)


def _lost_atomic(
    migration: Migration, replaced: Iterable[Migration]
) -> Iterator[tuple[None, Observation]]:
    """Code that ran without a transaction and now runs in one."""
    if not migration.atomic:
        return
    kept = {name for operation in flattened(migration.operations) if (name := _code(operation))}
    for old in replaced:
        if old.atomic:
            continue
        for operation in flattened(old.operations):
            name = _code(operation)
            if name in kept:
                yield (
                    None,
                    Observation(
                        "DSM411",
                        f"{old.name} has atomic = False, and its {name} now runs inside the one "
                        "transaction of this squash: what can't run in a transaction fails, and "
                        "its rows stay locked until all the tables are built.",
                        "Set `atomic = False` on the squash, or keep the operation in a migration "
                        "of its own that the squash doesn't replace.",
                    ),
                )
                return


def _lost_order(
    migration: Migration, replaced: Iterable[Migration]
) -> Iterator[tuple[None, Observation]]:
    inside = set(replaced_by(migration))
    kept = {(label, name) for label, name in migration.run_before}
    for old in replaced:
        lost = sorted({(label, name) for label, name in old.run_before} - kept - inside)
        if lost:
            yield (
                None,
                Observation(
                    "DSM411",
                    f"{old.name} has run_before = {lost!r}, and this squash doesn't: on a new "
                    "database that migration may come first.",
                    f"Set run_before = {lost!r} on the squash.",
                ),
            )
            return


def _lost_code(
    migration: Migration, replaced: Iterable[Migration]
) -> Iterator[tuple[None, Observation]]:
    kept = {name for operation in flattened(migration.operations) if (name := _code(operation))}
    lost = [
        f"{name} of {old.name}"
        for old in replaced
        if not old.replaces
        for operation in flattened(old.operations)
        if isinstance(operation, RunPython)
        and not operation.elidable
        and (name := _code(operation))
        and name not in kept
        and _makes_rows(getattr(operation.code, "__code__", None))
    ]
    if lost:
        yield (
            None,
            Observation(
                "DSM411",
                f"The squash leaves out {', '.join(lost)}, which makes rows and is not marked "
                "elidable: a new database doesn't get them.",
                "Put it into the squash. If a new database needs none of it, mark the old "
                "operation elidable=True.",
            ),
        )


def _makes_rows(code: CodeType | None) -> bool:
    """Return whether a function calls what inserts rows; on a new database only that matters."""
    if code is None:
        return False
    inside = (part for part in code.co_consts if isinstance(part, CodeType))
    return not MAKERS.isdisjoint(code.co_names) or any(map(_makes_rows, inside))


def _code(operation: Operation) -> str:
    """Return what an operation runs, by its name; empty if it runs nothing of the user's."""
    if isinstance(operation, RunPython):
        code: Any = operation.code
        return "" if code is RunPython.noop else f"{getattr(code, '__name__', 'function')}()"
    if isinstance(operation, RunSQL):
        words = " ".join(str(operation.sql).split())
        return f"SQL ({words if len(words) <= 60 else words[:57] + '…'})"
    return ""


def _gone(context: Context) -> Iterator[tuple[None, Observation]]:
    """A dependency on a file that is gone and that only `replaces` of a squash still resolves."""
    for label, name in context.migration.dependencies:
        if (label, name) in context.files or name in ("__first__", "__latest__"):
            continue
        heir = next(
            (
                key
                for key, other in context.files.items()
                if other.replaces and (label, name) in replaced_by(other)
            ),
            None,
        )
        if heir is not None and heir != context.key:
            yield (
                None,
                Observation(
                    "DSM413",
                    f"It depends on {label}.{name}, whose file is gone: {'.'.join(heir)} stands in "
                    "its place only as long as it lists it in `replaces`.",
                    f"dependencies = [{heir!r}, …]",
                ),
            )
