"""Foreign keys in stages: added NOT VALID, validated without blocking, dropped in an instant.

ADD CONSTRAINT … NOT VALID reads no rows and holds SHARE ROW EXCLUSIVE on both tables for
an instant; VALIDATE CONSTRAINT takes SHARE UPDATE EXCLUSIVE on the table and ROW SHARE on
the referenced one, which blocks no reads or writes. Keys are found by the catalog, for
older Djangos gave them other names.
https://www.postgresql.org/docs/current/sql-altertable.html
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django.db import Error
from django.db.backends.ddl_references import Statement

from django_safemigrations.exceptions import UnsupportedChange, ViolatingRows
from django_safemigrations.postgres.catalog import ForeignKey, Table, quote
from django_safemigrations.postgres.errors import FOREIGN_KEY_VIOLATION, sqlstate
from django_safemigrations.postgres.names import cut, short_hash
from django_safemigrations.postgres.partitions import partitions
from django_safemigrations.postgres.runner import Runner

SUFFIX = "_fk_%(to_table)s_%(to_column)s"
ACTIONS = {" ON DELETE CASCADE": "c", " ON DELETE SET NULL": "n", " ON DELETE SET DEFAULT": "d"}
"""What Django 6.1 writes for a database-level ``on_delete``, and pg_constraint.confdeltype."""
NO_ACTION = "a"
NOT_VALID_ON_PARTITIONED_SINCE = 18


@dataclass(frozen=True)
class WantedKey:
    """The foreign key that a model's field stands for.

    Attributes:
        table: the table that refers.
        column: the column that refers.
        name: Django's name for the constraint, as the catalog has it.
        to_table: the table that is referred to.
        to_column: the column that is referred to.
        on_delete: what PostgreSQL does with the rows, as in pg_constraint.confdeltype.
        statement: Django's statement, which would validate it.
    """

    table: Table
    column: str
    name: str
    to_table: Table
    to_column: str
    on_delete: str
    statement: Statement

    @property
    def orphaned(self) -> str:
        """A condition, true for rows that refer to nothing; names the table, not an alias."""
        column = f"{self.table.qualified}.{quote(self.column)}"
        return (
            f"{column} IS NOT NULL AND NOT EXISTS (SELECT FROM {self.to_table.qualified} AS dsm_to "
            f"WHERE dsm_to.{quote(self.to_column)} = {column})"
        )

    @property
    def temporary_name(self) -> str:
        """The constraint's name while another one still has the final name."""
        return f"dsm_fk_{short_hash(self.table.name, self.column, self.name)}"

    def is_like(self, key: ForeignKey) -> bool:
        """Whether a constraint of the table says the same."""
        return (
            key.to_table_oid == self.to_table.oid
            and key.to_columns == (self.to_column,)
            and key.on_delete == self.on_delete
        )


def has_constraint(field: Any) -> bool:
    """Whether Django gives the field a foreign key constraint."""
    return bool(field.remote_field and not field.many_to_many and field.db_constraint)


def statement_of(editor: Any, model: Any, field: Any) -> tuple[str, Statement]:
    """Return Django's name of a field's foreign key, and its statement; asks nothing."""
    made = editor._create_fk_sql(model, field, SUFFIX)
    name = str(made.parts["name"])
    if name.startswith('"'):
        name = name[1:-1].replace('""', '"')
    return cut(name), made


def not_valid(statement: Statement, name: str) -> str:
    """Return Django's statement as one that reads no rows, under a name."""
    parts = {**statement.parts, "name": quote(name)}
    return str(Statement(f"{statement.template} NOT VALID", **parts))


def on_delete_action(editor: Any, model: Any, field: Any) -> str:
    """Return what PostgreSQL does with the field's rows, as in pg_constraint.confdeltype."""
    # Database-level actions came with Django 6.1.
    write = getattr(editor, "_create_on_delete_sql", None)
    text = write(model, field) if write is not None else ""
    return ACTIONS[f" {text.strip()}"] if text.strip() else NO_ACTION


def wanted_key(runner: Runner, model: Any, name: str) -> WantedKey | None:
    """Return the foreign key of a model's field, None if it is to have none.

    Raises:
        UnsupportedChange: one of the tables does not exist.
    """
    field = model._meta.get_field(name)
    if not has_constraint(field):
        return None
    editor: Any = runner.editor
    target = field.target_field
    constraint, statement = statement_of(editor, model, field)
    return WantedKey(
        table=runner.catalog.table(model._meta.db_table),
        column=field.column,
        name=constraint,
        to_table=runner.catalog.table(target.model._meta.db_table),
        to_column=target.column,
        on_delete=on_delete_action(editor, model, field),
        statement=statement,
    )


def keys_of(runner: Runner, table: Table, column: str) -> list[ForeignKey]:
    """Return the foreign keys of one column alone, as Django looks for them."""
    return [
        key
        for key in runner.catalog.foreign_keys(table, column)
        if key.table_oid == table.oid and key.columns == (column,)
    ]


def add_key(runner: Runner, wanted: WantedKey, name: str | None = None) -> None:
    """Add a foreign key NOT VALID; does nothing if it is there.

    Args:
        runner: the means to work with.
        wanted: the key.
        name: another name than Django's.

    Raises:
        UnsupportedChange: another constraint has the name.

    Locks: SHARE ROW EXCLUSIVE on both tables for an instant.
    """
    name = name or wanted.name
    if runner.catalog.constraint_exists(wanted.table.oid, name)[0]:
        there = [key for key in keys_of(runner, wanted.table, wanted.column) if key.name == name]
        if there and wanted.is_like(there[0]):
            return
        raise UnsupportedChange(
            f"{wanted.table.qualified} has another constraint named {quote(name)}, so the foreign "
            f"key of {quote(wanted.column)} can't be added. Nothing was changed. Rename or drop it "
            f"(ALTER TABLE {wanted.table.qualified} RENAME CONSTRAINT {quote(name)} TO …) and run "
            "the command again."
        )
    if wanted.table.kind == "p" and _major(runner) < NOT_VALID_ON_PARTITIONED_SINCE:
        _add_to_partitions(runner, wanted, name)
        return
    runner.execute(not_valid(wanted.statement, name))


def _major(runner: Runner) -> int:
    connection: Any = runner.connection
    return int(connection.pg_version // 10000)


def _add_to_partitions(runner: Runner, wanted: WantedKey, name: str) -> None:
    """Add and validate a foreign key partition by partition, then on the table as a whole.

    The statement on the whole finds valid ones of the same definition and makes them parts
    of its own, so that it reads nothing.
    """
    refuse_orphans(runner, wanted)
    for partition in _below(runner, wanted.table):
        if partition.kind == "p":
            # Its own partitions have all that it is to have.
            continue
        part = replace(
            wanted, table=partition, statement=_on_partition(wanted.statement, partition)
        )
        alike = [key for key in keys_of(runner, partition, wanted.column) if part.is_like(key)]
        if not alike:
            runner.execute(not_valid(part.statement, name))
            alike = [key for key in keys_of(runner, partition, wanted.column) if part.is_like(key)]
        for key in alike:
            validate_key(runner, part, key)
    parts = {**wanted.statement.parts, "name": quote(name)}
    runner.execute(str(Statement(wanted.statement.template, **parts)))


def _on_partition(statement: Statement, partition: Table) -> Statement:
    return Statement(statement.template, **{**statement.parts, "table": partition.qualified})


def _below(runner: Runner, table: Table) -> Iterator[Table]:
    """Yield the partitions of a table, and theirs."""
    for partition in partitions(runner, table):
        yield partition
        yield from _below(runner, partition)


def validate_key(runner: Runner, wanted: WantedKey, key: ForeignKey) -> None:
    """Validate a foreign key unless it is valid.

    Raises:
        ViolatingRows: rows refer to nothing; counts them and names some.

    Locks: SHARE UPDATE EXCLUSIVE on the table, ROW SHARE on the referenced one: reads and
    writes go on during the scan.
    """
    if key.validated:
        return
    refuse_orphans(runner, wanted)
    try:
        runner.execute(
            f"ALTER TABLE {wanted.table.qualified} VALIDATE CONSTRAINT {quote(key.name)}"
        )
    except Error as error:
        if sqlstate(error) == FOREIGN_KEY_VIOLATION:
            refuse_orphans(runner, wanted)
        raise


def refuse_orphans(runner: Runner, wanted: WantedKey) -> None:
    """Raise if rows refer to nothing.

    Raises:
        ViolatingRows: how many, and the keys of a few.
    """
    found = orphans(runner, wanted)
    if found:
        raise ViolatingRows(
            f"{found}, so the foreign key {quote(wanted.name)} can't be validated; it stays NOT "
            "VALID, which already keeps new rows right. Correct or delete these rows, then run the "
            "command again."
        )


def orphans(runner: Runner, wanted: WantedKey) -> str:
    """Say how many rows refer to nothing, and name a few; an empty text if none do.

    Locks: ACCESS SHARE on both tables for the scan.
    """
    where = f"FROM {wanted.table.qualified} WHERE {wanted.orphaned}"
    with runner.guard.as_long_as_it_takes():
        if not runner.catalog.value(f"SELECT EXISTS (SELECT {where})"):
            return ""
        count = runner.catalog.value(f"SELECT count(*) {where}")
        named = runner.catalog.some_keys(wanted.table, wanted.orphaned)
    rows, have = ("row", "has") if count == 1 else ("rows", "have")
    return (
        f"{count} {rows} of {wanted.table.qualified} {have} a value in {quote(wanted.column)} that "
        f"{wanted.to_table.qualified} ({quote(wanted.to_column)}) does not have{named}"
    )


def drop_keys(runner: Runner, table: Table, keys: Sequence[ForeignKey]) -> None:
    """Drop foreign keys, each in a transaction of its own.

    Locks: ACCESS EXCLUSIVE on the table and on the referenced one for an instant.
    """
    for key in keys:
        runner.transaction(
            lambda key=key: drop_key(runner, table, key),  # type: ignore[misc]
            f"foreign key {quote(key.name)} of {table.qualified}",
        )


def drop_key(runner: Runner, table: Table, key: ForeignKey) -> None:
    """Drop one foreign key as a part of a transaction."""
    if runner.in_transaction and key.deferrable:
        # Checks that wait for the end of somebody's transaction would forbid the ALTER TABLE.
        name = f"{quote(table.schema)}.{quote(key.name)}"
        runner.execute(f"SET CONSTRAINTS {name} IMMEDIATE")
    runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(key.name)}")


def replace_keys(runner: Runner, wanted: WantedKey) -> None:
    """Put a foreign key with another ON DELETE in the place of the one that is there.

    The new one is added under another name and validated while the old one stands, so
    that at no time rows are unchecked; the names change hands in one transaction.

    Raises:
        ViolatingRows: rows refer to nothing; counts them and names some.

    Locks: SHARE ROW EXCLUSIVE, then ACCESS EXCLUSIVE on both tables for an instant each,
    without a scan; SHARE UPDATE EXCLUSIVE while validating.
    """
    table = wanted.table
    keys = keys_of(runner, table, wanted.column)
    if len(keys) == 1 and keys[0].name == wanted.name and wanted.is_like(keys[0]):
        validate_key(runner, wanted, keys[0])
        return
    temporary = wanted.temporary_name
    add_key(runner, wanted, temporary)
    keys = keys_of(runner, table, wanted.column)
    validate_key(runner, wanted, next(key for key in keys if key.name == temporary))

    def change_hands() -> None:
        for key in keys_of(runner, table, wanted.column):
            if key.name != temporary:
                drop_key(runner, table, key)
        for each in (table, *_below(runner, table)):
            if runner.catalog.constraint_exists(each.oid, temporary)[0]:
                runner.execute(
                    f"ALTER TABLE {each.qualified} RENAME CONSTRAINT {quote(temporary)} TO "
                    f"{quote(wanted.name)}"
                )

    runner.transaction(change_hands, f"foreign key {quote(wanted.name)} of {table.qualified}")
