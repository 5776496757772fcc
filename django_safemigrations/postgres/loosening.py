"""Foreign keys of fields and models that new code does not know any more.

New code deletes a row without a thought for those that refer to it from a column it has
never heard of. The key as Django made it would refuse that. Without a key, old code would
find references to nothing, and the way back could not restore it. So it is made loose:
under the same name, with ON DELETE SET NULL (or CASCADE where the row itself is only known
to old code, and goes with what it refers to, as old code would have it). It is never
validated, for the strict one was; by that a loose key is known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from django_safemigrations.postgres.catalog import ForeignKey, Table, quote
from django_safemigrations.postgres.definitions import foreign_key_definition
from django_safemigrations.postgres.dropping import is_loose
from django_safemigrations.postgres.foreign_keys import (
    drop_key,
    drop_keys,
    replace_keys,
    statement_of,
    wanted_key,
)
from django_safemigrations.postgres.runner import Runner

SET_NULL, CASCADE = "n", "c"


def loosen(runner: Runner, table: Table, key: ForeignKey, action: str) -> None:
    """Let rows that a foreign key refers to be deleted; does nothing if they can be.

    Args:
        runner: the means to work with.
        table: the table that refers.
        key: its foreign key.
        action: SET_NULL or CASCADE; the column must be able to hold NULL for the former.

    Locks: ACCESS EXCLUSIVE on both tables for an instant, no scan.
    """
    if is_loose(key) and key.on_delete == action:
        return
    if table.kind == "p":
        # No NOT VALID there before PostgreSQL 18.
        drop_keys(runner, table, [key])
        return

    def replace() -> None:
        drop_key(runner, table, key)
        runner.execute(loose_statement(table.qualified, key, action))

    runner.transaction(replace, f"foreign key {quote(key.name)} of {table.qualified}")


def loose_statement(table: str, key: ForeignKey, action: str) -> str:
    """Return the statement that adds a loose key."""
    loose = dataclasses.replace(key, on_delete=action, on_delete_columns=())
    return (
        f"ALTER TABLE {table} ADD CONSTRAINT {quote(key.name)} "
        f"{foreign_key_definition(loose)} NOT VALID"
    )


def tighten(runner: Runner, model: Any, name: str, keys: list[ForeignKey]) -> None:
    """Put the foreign key of a field back as Django has it, under the name that it had.

    Args:
        runner: the means to work with.
        model: the model.
        name: the field.
        keys: the foreign keys of its column.

    Raises:
        ViolatingRows: rows refer to nothing; counts them and names some.

    Locks: ACCESS EXCLUSIVE on both tables for an instant, no scan; SHARE UPDATE EXCLUSIVE
    while validating.
    """
    wanted = wanted_key(runner, model, name)
    if wanted is None:
        return
    own = [key for key in keys if key.to_table_oid == wanted.to_table.oid]
    loose = [key for key in own if is_loose(key)]
    if loose:
        # An older Django may have given it another name.
        wanted = dataclasses.replace(wanted, name=loose[0].name)
    kept = [key for key in own if key.name != wanted.temporary_name]
    if not loose and any(wanted.is_like(key) and key.validated for key in kept):
        return
    replace_keys(runner, wanted)


def printed_key(editor: Any, model: Any, field: Any) -> ForeignKey:
    """Return a field's foreign key as far as the models tell it, for sqlmigrate."""
    target = field.target_field
    name, _ = statement_of(editor, model, field)
    return ForeignKey(
        name=name,
        table_oid=0,
        table=editor.quote_name(model._meta.db_table),
        columns=(field.column,),
        to_table_oid=0,
        to_table=editor.quote_name(target.model._meta.db_table),
        to_columns=(target.column,),
        on_update="a",
        on_delete="a",
        on_delete_columns=(),
        match="s",
        deferrable=True,
        deferred=True,
        validated=True,
        comment=None,
    )
