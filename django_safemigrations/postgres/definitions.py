"""Definitions of indexes and CHECKs as they would read with a column renamed, from PostgreSQL itself.

Expressions and predicates are not rewritten as text, for `year` may be a column, a
function and a keyword in one expression. A temporary clone gets the same indexes and
constraints, its column is renamed, and the definitions are read back; the transaction is
rolled back, the table itself is only read from the catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from django.db import transaction

from django_safemigrations.postgres.catalog import (
    Check,
    ForeignKey,
    Index,
    Table,
    literal,
    quote,
)
from django_safemigrations.postgres.runner import Runner

CLONE = "dsm_clone"
# pg_constraint.confupdtype and confdeltype.
ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}


def definition_on_clone(runner: Runner, table: Table, create: Callable[[str, str], str]) -> str:
    """Return how PostgreSQL reads the definition of an index that was not built yet.

    Args:
        runner: the means to work with.
        table: the table it is for.
        create: makes the CREATE INDEX statement for a quoted table and index name.

    Locks: ACCESS SHARE on the table.
    """
    found = ""
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TEMP TABLE {CLONE} (LIKE {table.qualified})", None)
            cursor.execute(create(f"pg_temp.{CLONE}", "dsm_i0"), None)
            found = runner.catalog.value("SELECT pg_get_indexdef('pg_temp.dsm_i0'::regclass)")
            raise _Undo
    except _Undo:
        return found.partition(f".{CLONE} USING ")[2]


class _Undo(Exception):
    """Rolls the clone back."""


def renamed_definitions(
    runner: Runner,
    table: Table,
    columns: Mapping[str, str],
    indexes: Sequence[Index],
    checks: Sequence[Check],
) -> tuple[list[str], list[str]]:
    """Return index tails (from USING on) and CHECK definitions with columns renamed.

    Args:
        runner: the means to work with.
        table: the table the indexes and checks belong to.
        columns: the columns they use, and the ones they shall use.
        indexes: indexes of the table.
        checks: CHECK constraints of the table.

    Locks: ACCESS SHARE on the table.
    """
    tails: list[str] = []
    definitions: list[str] = []
    if not indexes and not checks:
        return tails, definitions
    clone = f"pg_temp.{CLONE}"
    # Not through the schema editor: this is a question, no step of the migration.
    query = runner.catalog.rows
    try:
        with (
            transaction.atomic(using=runner.connection.alias),
            runner.connection.cursor() as cursor,
        ):
            cursor.execute(f"CREATE TEMP TABLE {CLONE} (LIKE {table.qualified})", None)
            for new in columns.values():
                cursor.execute(f"ALTER TABLE {clone} DROP COLUMN IF EXISTS {quote(new)}", None)
            for number, index in enumerate(indexes):
                unique = "UNIQUE " if index.unique else ""
                cursor.execute(
                    f"CREATE {unique}INDEX dsm_i{number} ON {clone} USING {index.tail}", None
                )
            for number, check in enumerate(checks):
                cursor.execute(
                    f"ALTER TABLE {clone} ADD CONSTRAINT dsm_c{number} {check.definition}", None
                )
            for old, new in columns.items():
                cursor.execute(
                    f"ALTER TABLE {clone} RENAME COLUMN {quote(old)} TO {quote(new)}", None
                )
            for number in range(len(indexes)):
                definition = query(
                    f"SELECT pg_get_indexdef({literal(f'pg_temp.dsm_i{number}')}::regclass)"
                )[0][0]
                # "… ON pg_temp_7.dsm_clone USING btree (…)": the name is ours, and comes first.
                tails.append(definition.partition(f".{CLONE} USING ")[2])
            for number in range(len(checks)):
                definitions.append(
                    query(
                        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = "
                        f"{literal(clone)}::regclass AND conname = 'dsm_c{number}'"
                    )[0][0]
                )
            raise _Undo
    except _Undo:
        return tails, definitions


def foreign_key_definition(key: ForeignKey) -> str:
    """Return the definition of a foreign key, as ADD CONSTRAINT takes it."""

    def listed(columns: tuple[str, ...]) -> str:
        return f"({', '.join(map(quote, columns))})"

    definition = f"FOREIGN KEY {listed(key.columns)} REFERENCES {key.to_table} "
    definition += listed(key.to_columns)
    if key.match == "f":
        definition += " MATCH FULL"
    if key.on_update != "a":
        definition += f" ON UPDATE {ACTIONS[key.on_update]}"
    if key.on_delete != "a":
        definition += f" ON DELETE {ACTIONS[key.on_delete]}"
        if key.on_delete_columns:
            definition += f" {listed(key.on_delete_columns)}"
    if key.deferrable:
        definition += " DEFERRABLE" + (" INITIALLY DEFERRED" if key.deferred else "")
    return definition
