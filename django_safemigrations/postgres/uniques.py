"""Unique constraints and unique indexes: built concurrently, then made constraints in an instant.

CREATE UNIQUE INDEX CONCURRENTLY reads the table while everybody works; ADD CONSTRAINT …
USING INDEX takes the finished index over without reading anything. What Django makes a
constraint of (plain, deferrable, NULLS NOT DISTINCT) becomes one; what has a condition,
expressions, opclasses or included columns stays an index, for PostgreSQL has no such
constraints.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-DESC-ADD-TABLE-CONSTRAINT-USING-INDEX
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.backends.ddl_references import Statement

from django_safemigrations.exceptions import InvalidIndex, UnsupportedChange
from django_safemigrations.postgres.builds import (
    build_index,
    build_on_partitions,
    drop_index,
    drop_invalid,
)
from django_safemigrations.postgres.catalog import Index, Table, quote
from django_safemigrations.postgres.duplicates import (
    Definition,
    read_definition,
    refuse_duplicates,
)
from django_safemigrations.postgres.names import cut, short_hash
from django_safemigrations.postgres.runner import Runner


@dataclass(frozen=True)
class WantedUnique:
    """A unique constraint or index that a model stands for.

    Attributes:
        table: the quoted table, as Django writes it.
        name: its whole name; PostgreSQL cuts it to 63 bytes.
        statement: Django's statement: ADD CONSTRAINT … UNIQUE or CREATE UNIQUE INDEX.
        template: Django's template of CREATE UNIQUE INDEX.
    """

    table: str
    name: str
    statement: Statement
    template: str

    @property
    def catalog_name(self) -> str:
        """Its name as the catalog has it."""
        return cut(self.name)

    @property
    def is_constraint(self) -> bool:
        """Whether Django makes a constraint of it, and not just an index."""
        return "ADD CONSTRAINT" in self.statement.template

    @property
    def deferrable(self) -> str:
        """`` DEFERRABLE INITIALLY …`` or an empty text."""
        return str(self.statement.parts["deferrable"]) if self.is_constraint else ""

    @property
    def temporary_name(self) -> str:
        """The index's name while another one still has the final name."""
        return f"dsm_new_{short_hash(self.table, self.name)}"

    def index_sql(self, *, concurrently: bool, name: str = "", table: str = "") -> str:
        """Return the statement that builds its index, for another name or table if given."""
        template = self.template
        if concurrently:
            template = template.replace(
                "CREATE UNIQUE INDEX ", "CREATE UNIQUE INDEX CONCURRENTLY ", 1
            )
        parts = {**self.statement.parts, "name": quote(name or self.name)}
        if table:
            parts["table"] = table
        return str(Statement(template, **parts))

    def definition(self, runner: Runner, table: Table) -> Definition:
        """Return its index as PostgreSQL reads it."""
        return read_definition(
            runner,
            table,
            lambda clone, name: self.index_sql(concurrently=False, name=name, table=clone),
        )

    def refuse_duplicates(self, runner: Runner, table: Table, definition: Definition) -> None:
        """Raise if values occur more than once.

        Raises:
            ViolatingRows: how many, in how many rows, and a few of them.
        """
        distinct = "NULLS NOT DISTINCT" not in str(self.statement.parts["nulls_distinct"])
        refuse_duplicates(runner, table, self.catalog_name, definition, nulls_distinct=distinct)

    def constraint_sql(self, index: str = "") -> str:
        """Return the statement that makes a constraint of a finished index, which is renamed."""
        return (
            f"ALTER TABLE {self.table} ADD CONSTRAINT {quote(self.name)} UNIQUE "
            f"USING INDEX {quote(index or self.name)}{self.deferrable}"
        )

    def steps(self) -> list[str]:
        """Return the statements that make it, for sqlmigrate."""
        build = self.index_sql(concurrently=True)
        return [build, self.constraint_sql()] if self.is_constraint else [build]


def wanted_unique(editor: Any, model: Any, statement: Statement, name: str = "") -> WantedUnique:
    """Return what a statement of Django's makes.

    Args:
        editor: the schema editor that made it.
        model: the model it is for.
        statement: ADD CONSTRAINT … UNIQUE or CREATE UNIQUE INDEX.
        name: another name than the statement's.
    """
    if not name:
        name = unquoted(str(statement.parts["name"]))
    return WantedUnique(
        table=editor.quote_name(model._meta.db_table),
        name=name,
        statement=statement,
        template=editor.sql_create_unique_index,
    )


def unquoted(name: str) -> str:
    """Return an identifier without its quotes."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def add_unique(runner: Runner, table: Table, wanted: WantedUnique) -> None:
    """Make a unique constraint or index, or go on with one that was begun.

    Raises:
        ViolatingRows: values occur more than once; counts and names some.
        InvalidIndex: another index has the name, or the build did not end well.
        UnsupportedChange: another constraint has the name, or a transaction is open.

    Locks: ACCESS SHARE while duplicates are counted, SHARE UPDATE EXCLUSIVE for the build,
    ACCESS EXCLUSIVE for an instant to make it a constraint.
    """
    name = wanted.catalog_name
    definition = wanted.definition(runner, table)
    existing = runner.catalog.index(table, name)
    if existing is None:
        refuse_taken_name(runner, table, name)
    if existing is None or not existing.valid:
        runner.refuse_in_transaction(table, f"Building {quote(name)} concurrently")
        wanted.refuse_duplicates(runner, table, definition)
        if table.kind == "p":
            # There PostgreSQL makes no constraint of an index, so it is one from the beginning.
            build_on_partitions(runner, table, name, str(wanted.statement))
            return
        _build(runner, table, wanted, name)
        existing = runner.catalog.index(table, name)
    assert existing is not None
    _refuse_another(table, wanted, existing, definition)
    if wanted.is_constraint and existing.constraint is None:
        runner.execute(wanted.constraint_sql())


def _build(runner: Runner, table: Table, wanted: WantedUnique, name: str) -> None:
    def build(*, concurrently: bool) -> None:
        runner.execute(wanted.index_sql(concurrently=concurrently, name=name))

    build_index(runner, table, name, build)


def _is_made(wanted: WantedUnique, existing: Index, definition: Definition) -> bool:
    """Whether a valid index is the one that is wanted, its constraint included."""
    if not existing.valid or not existing.unique or existing.tail != definition.tail:
        return False
    if not wanted.is_constraint:
        return existing.constraint is None
    deferrable = "DEFERRABLE" in wanted.deferrable
    deferred = "INITIALLY DEFERRED" in wanted.deferrable
    return (
        existing.constraint_type == "u"
        and existing.deferrable == deferrable
        and existing.deferred == deferred
    )


def _refuse_another(
    table: Table, wanted: WantedUnique, existing: Index, definition: Definition
) -> None:
    """Raise if an index of the name is not the one that is wanted.

    Raises:
        InvalidIndex: both definitions.
    """
    unfinished = wanted.is_constraint and existing.constraint is None
    same = existing.unique and existing.tail == definition.tail
    if _is_made(wanted, existing, definition) or (unfinished and same):
        return
    kind = f" as a constraint of type {existing.constraint_type}" if existing.constraint else ""
    kind += " DEFERRABLE" if existing.deferrable else ""
    unique = "" if existing.unique else "not unique, "
    raise InvalidIndex(
        f"Index {quote(existing.name)} on {table.qualified} is there with another definition: "
        f"{unique}{existing.tail}{kind} instead of unique, {definition.tail}{wanted.deferrable}. "
        "Nothing was changed. Rename or drop it and run the command again."
    )


def refuse_taken_name(runner: Runner, table: Table, name: str) -> None:
    """Raise if a constraint of the table has a name already.

    Raises:
        UnsupportedChange: names it.
    """
    if runner.catalog.constraint_exists(table.oid, name)[0]:
        raise UnsupportedChange(
            f"{table.qualified} has another constraint named {quote(name)}. Nothing was changed. "
            f"Rename or drop it (ALTER TABLE {table.qualified} RENAME CONSTRAINT {quote(name)} TO "
            "…) and run the command again."
        )


def drop_unique(runner: Runner, table: Table, name: str) -> None:
    """Drop a unique constraint, or a unique index that is none, in whichever schema it is.

    Raises:
        UnsupportedChange: foreign keys depend on it.

    Locks: ACCESS EXCLUSIVE for an instant; an index that is no constraint is dropped
    concurrently.
    """
    existing = runner.catalog.index(table, cut(name))
    if existing is None:
        return
    if existing.constraint is None:
        drop_index(runner, existing)
        return
    refuse_dependents(runner, table, existing)
    runner.execute(f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(existing.constraint)}")


def refuse_dependents(runner: Runner, table: Table, index: Index) -> None:
    """Raise if foreign keys refer to what a unique index keeps unique.

    Raises:
        UnsupportedChange: names them.
    """
    keys = [
        f"{name} of {owner}"
        for name, owner in runner.catalog.rows(
            "SELECT quote_ident(conname), conrelid::regclass::text FROM pg_constraint "
            "WHERE contype = 'f' AND conindid = %s AND conparentid = 0 ORDER BY 2, 1",
            [index.oid],
        )
    ]
    if keys:
        raise UnsupportedChange(
            f"{', '.join(keys)} refer to {quote(index.name)} of {table.qualified}, so PostgreSQL does "
            "not drop it, and it was left as it is. Point these foreign keys at another unique field, or "
            "remove them, in a release before this one; then run the command again."
        )


def replace_unique(runner: Runner, table: Table, wanted: WantedUnique, old: Sequence[str]) -> None:
    """Put a unique constraint or index in the place of others, one of which has its name.

    It is built under another name while the old ones stand; one short transaction drops
    them and gives it its name.

    Args:
        runner: the means to work with.
        table: the table.
        wanted: the new one.
        old: the names of those that go.

    Raises:
        ViolatingRows, InvalidIndex, UnsupportedChange: as in `add_unique`, `drop_unique`.

    Locks: those of `add_unique`.
    """
    name, temporary = wanted.catalog_name, wanted.temporary_name
    definition = wanted.definition(runner, table)
    existing = runner.catalog.index(table, name)
    if existing is not None and _is_made(wanted, existing, definition):
        if runner.catalog.index(table, temporary) is not None and drop_invalid(
            runner, table, temporary
        ):
            drop_unique(runner, table, temporary)
        return
    if table.kind == "p":
        raise UnsupportedChange(
            f"{table.qualified} is partitioned, where PostgreSQL renames no constraint's index in "
            f"place. Give the new constraint another name than {quote(name)}."
        )
    for other in old:
        there = runner.catalog.index(table, cut(other))
        if there is not None:
            refuse_dependents(runner, table, there)
    built = runner.catalog.index(table, temporary)
    if built is not None and built.valid and built.tail != definition.tail:
        # Left by a change that was given up for this one.
        drop_index(runner, built)
        built = None
    if built is None or not built.valid:
        runner.refuse_in_transaction(table, f"Building {quote(name)} concurrently")
        wanted.refuse_duplicates(runner, table, definition)
        _build(runner, table, wanted, temporary)

    def change_hands() -> None:
        for other in old:
            there = runner.catalog.index(table, cut(other))
            if there is None:
                continue
            if there.constraint is None:
                runner.execute(f"DROP INDEX {there.qualified}")
            else:
                refuse_dependents(runner, table, there)
                runner.execute(
                    f"ALTER TABLE {table.qualified} DROP CONSTRAINT {quote(there.constraint)}"
                )
        if wanted.is_constraint:
            runner.execute(wanted.constraint_sql(temporary))
        else:
            runner.execute(
                f"ALTER INDEX {quote(table.schema)}.{quote(temporary)} RENAME TO {quote(name)}"
            )

    runner.transaction(change_hands, f"{quote(name)} of {table.qualified}")


def unique_names(
    runner: Runner, table: Table, columns: Sequence[str], exclude: Collection[str] = ()
) -> list[str]:
    """Return the unique constraints over exactly these columns in this order, oldest first.

    Args:
        runner: the means to work with.
        table: the table.
        columns: the columns.
        exclude: names to leave out.
    """
    rows = runner.catalog.rows(
        """
        SELECT k.conname FROM pg_constraint k
        WHERE k.conrelid = %s AND k.contype = 'u'
          AND ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (n, i)
                    JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n
                    ORDER BY i) = %s
        ORDER BY k.oid
        """,
        [table.oid, list(columns)],
    )
    left_out = {cut(name) for name in exclude}
    return [name for (name,) in rows if name not in left_out]
