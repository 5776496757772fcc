"""The second columns of a key take the places of the first, table by table, and the first go.

Integer types compare with each other, also in foreign keys, so tables need not change in
one transaction: in any state between, every foreign key is enforced.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import (
    Check,
    Column,
    ForeignKey,
    Index,
    Table,
    literal,
    quote,
)
from django_safemigrations.postgres.key_copies import (
    copied_key,
    copy_all_constraints,
    copy_all_indexes,
    drop_orphans,
    key_trigger,
    refuse_differences,
)
from django_safemigrations.postgres.keys import (
    RANGES,
    Family,
    KeyColumn,
    KeyTable,
)
from django_safemigrations.postgres.runner import Runner
from django_safemigrations.postgres.trigger_functions import compile_anew


@dataclass(frozen=True)
class Sequence:
    """A sequence that gives a column its values: that of an identity, or of a serial."""

    oid: int
    qualified: str
    identity: bool
    start: int
    increment: int
    least: int
    most: int
    cache: int
    cycle: bool
    comment: str | None

    @property
    def options(self) -> str:
        """How ADD GENERATED AS IDENTITY makes it again."""
        cycle = "CYCLE" if self.cycle else "NO CYCLE"
        return (
            f"(SEQUENCE NAME {self.qualified} START WITH {self.start} INCREMENT BY "
            f"{self.increment} MINVALUE {self.least} MAXVALUE {self.most} CACHE {self.cache} {cycle})"
        )


def swap(runner: Runner, family: Family, *, key_first: bool) -> None:
    """Put the second columns in the places of the first.

    Missing copies are made first. Foreign keys go one by one, for dropping one locks both
    tables; then each table is swapped in a short transaction of its own.

    Args:
        runner: the means to work with.
        family: the columns; all second columns exist.
        key_first: whether the key's own table comes first. It does when the types get
            narrower, so that no table holds what another can't.

    Raises:
        DataDiffers: the columns are not equal; nothing was swapped.
        UnsupportedChange: the sequence has passed what the type can hold.

    Locks: ACCESS EXCLUSIVE for an instant, on one table at a time; while a foreign key
    changes over, on its two tables.
    """
    refuse_sequences(runner, family)
    for table in family.open:
        refuse_differences(runner, table)
    copy_all_indexes(runner, family)
    copy_all_constraints(runner, family)
    for table in family.open:
        drop_orphans(runner, table)
    for key, copy in family.foreign_keys(runner.catalog):
        runner.transaction(
            partial(_swap_foreign_key, runner, key, copied_key(key, copy), family.final_name(key)),
            f"foreign key {quote(key.name)} on {key.table}",
        )
    tables = family.open
    for table in tables if key_first else reversed(tables):
        runner.transaction(partial(_swap_table, runner, table), f"swapping {table.title}")


def _swap_foreign_key(runner: Runner, key: ForeignKey, copied: str, final: str) -> None:
    alter = f"ALTER TABLE {key.table}"
    runner.execute(f"{alter} DROP CONSTRAINT {quote(key.name)}")
    if runner.catalog.constraint_exists(key.table_oid, final)[0]:
        final = key.name
    runner.execute(f"{alter} RENAME CONSTRAINT {quote(copied)} TO {quote(final)}")
    if key.comment is not None:
        comment = literal(key.comment)
        runner.execute(f"COMMENT ON CONSTRAINT {quote(final)} ON {key.table} IS {comment}")


def _swap_table(runner: Runner, table: KeyTable) -> None:
    catalog, pairs = runner.catalog, table.pairs
    indexes, checks = pairs.indexes(catalog), pairs.checks(catalog)
    runner.execute(f"LOCK TABLE {table.table.qualified} IN ACCESS EXCLUSIVE MODE")
    for sql in drop_statements(table.table, indexes, checks):
        runner.execute(sql)
    for column in table.open:
        _swap_column(runner, table.table, column)
    for index in indexes:
        for sql in final_index(table.table, index, pairs.copied(index.name)):
            runner.execute(sql)
    for check in checks:
        for sql in final_check(table.table, check, pairs.copied(check.name)):
            runner.execute(sql)
    for sql in key_trigger(table.table, table.open, []).create():
        runner.execute(sql)
    compile_anew(runner, table.table)


def drop_statements(table: Table, indexes: list[Index], checks: list[Check]) -> list[str]:
    """Return the statements that drop what is over the first columns."""
    alter = f"ALTER TABLE {table.qualified}"
    statements = [
        f"{alter} DROP CONSTRAINT {quote(index.constraint)}"
        if index.constraint is not None
        else f"DROP INDEX {index.qualified}"
        for index in indexes
    ]
    return [*statements, *(f"{alter} DROP CONSTRAINT {quote(check.name)}" for check in checks)]


def _swap_column(runner: Runner, table: Table, column: KeyColumn) -> None:
    sequences = find_sequences(runner, table, column.live)
    for sequence in sequences:
        # Waits for those who draw from it, and lets nobody draw until the end.
        runner.execute(f"ALTER SEQUENCE {sequence.qualified} AS {column.wanted}")
    sequences = find_sequences(runner, table, column.live)
    reached = {s.qualified: _reached(runner, s) for s in sequences}
    grants = {s.qualified: _grants(runner, s) for s in sequences}
    for sql in leave_statements(table, column.live):
        runner.execute(sql)
    for sql in rename_statements(table, column.live.name, column.beside):
        runner.execute(sql)
    alter = f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(column.live.name)}"
    for sequence in sequences:
        if not sequence.identity:
            owner = f"{table.qualified}.{quote(column.live.name)}"
            runner.execute(f"ALTER SEQUENCE {sequence.qualified} OWNED BY {owner}")
            continue
        always = "ALWAYS" if column.live.identity == "a" else "BY DEFAULT"
        runner.execute(f"{alter} ADD GENERATED {always} AS IDENTITY {sequence.options}")
        last, called = reached[sequence.qualified]
        runner.execute(f"SELECT setval({literal(sequence.qualified)}, {last}, {called})")
        for sql in grants[sequence.qualified]:
            runner.execute(sql)
        if sequence.comment is not None:
            comment = literal(sequence.comment)
            runner.execute(f"COMMENT ON SEQUENCE {sequence.qualified} IS {comment}")
    if column.live.default is not None:
        runner.execute(f"{alter} SET DEFAULT {column.live.default}")


def leave_statements(table: Table, live: Column) -> list[str]:
    """Return the statements that free the first column of what only one column can have."""
    alter = f"ALTER TABLE {table.qualified} ALTER COLUMN {quote(live.name)}"
    statements = []
    if live.identity:
        statements.append(f"{alter} DROP IDENTITY")
    if live.default is not None:
        statements.append(f"{alter} DROP DEFAULT")
    if live.not_null:
        # It holds NULL from now on for what is too large for it.
        statements.append(f"{alter} DROP NOT NULL")
    return statements


def rename_statements(table: Table, live: str, beside: str) -> list[str]:
    """Return the statements that exchange the names of two columns."""
    between = quote(f"{beside}_")
    rename = f"ALTER TABLE {table.qualified} RENAME COLUMN"
    return [
        f"{rename} {quote(live)} TO {between}",
        f"{rename} {quote(beside)} TO {quote(live)}",
        f"{rename} {between} TO {quote(beside)}",
    ]


def final_index(table: Table, index: Index, copied: str) -> list[str]:
    """Return the statements that put the copy of an index in the place of the original."""
    alter = f"ALTER TABLE {table.qualified}"
    name = quote(index.name)
    if index.constraint_type is not None:
        kind = "PRIMARY KEY" if index.primary else "UNIQUE"
        deferrable = ""
        if index.deferrable:
            deferrable = " DEFERRABLE" + (" INITIALLY DEFERRED" if index.deferred else "")
        statements = [
            f"{alter} ADD CONSTRAINT {name} {kind} USING INDEX {quote(copied)}{deferrable}"
        ]
    else:
        statements = [f"ALTER INDEX {quote(table.schema)}.{quote(copied)} RENAME TO {name}"]
    if index.comment is not None:
        statements.append(f"COMMENT ON INDEX {index.qualified} IS {literal(index.comment)}")
    if index.constraint_comment is not None:
        comment = literal(index.constraint_comment)
        statements.append(f"COMMENT ON CONSTRAINT {name} ON {table.qualified} IS {comment}")
    if index.clustered:
        statements.append(f"{alter} CLUSTER ON {name}")
    if index.replica_identity:
        statements.append(f"{alter} REPLICA IDENTITY USING INDEX {name}")
    return statements


def final_check(table: Table, check: Check, copied: str) -> list[str]:
    """Return the statements that put the copy of a CHECK in the place of the original."""
    alter = f"ALTER TABLE {table.qualified}"
    statements = [f"{alter} RENAME CONSTRAINT {quote(copied)} TO {quote(check.name)}"]
    if check.comment is not None:
        comment = literal(check.comment)
        on = f"{quote(check.name)} ON {table.qualified}"
        statements.append(f"COMMENT ON CONSTRAINT {on} IS {comment}")
    return statements


def find_sequences(runner: Runner, table: Table, column: Column) -> list[Sequence]:
    """Return the sequences that belong to a column."""
    rows = runner.catalog.rows(
        """
        SELECT c.oid::bigint, format('%%I.%%I', n.nspname, c.relname), d.deptype = 'i',
               s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle,
               obj_description(c.oid, 'pg_class')
        FROM pg_depend d
        JOIN pg_sequence s ON s.seqrelid = d.objid
        JOIN pg_class c ON c.oid = s.seqrelid
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
          AND d.refobjid = %s AND d.refobjsubid = %s AND d.deptype IN ('a', 'i')
        ORDER BY c.oid
        """,
        [table.oid, column.attnum],
    )
    return [Sequence(*row) for row in rows]


def _reached(runner: Runner, sequence: Sequence) -> tuple[int, str]:
    rows = runner.catalog.rows(f"SELECT last_value, is_called FROM {sequence.qualified}")
    last, called = rows[0]
    return int(last), "true" if called else "false"


def _grants(runner: Runner, sequence: Sequence) -> list[str]:
    """Return the statements that give a sequence made anew the owner's and others' rights."""
    rows = runner.catalog.rows(
        """
        SELECT x.privilege_type,
               CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
               x.is_grantable
        FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
        WHERE c.oid = %s AND x.grantee <> c.relowner ORDER BY 1, 2
        """,
        [sequence.oid],
    )
    return [
        f"GRANT {privilege} ON SEQUENCE {sequence.qualified} TO {grantee}"
        + (" WITH GRANT OPTION" if option else "")
        for privilege, grantee, option in rows
    ]


def refuse_sequences(runner: Runner, family: Family) -> None:
    """Raise if a sequence has gone past what the type that is wanted can hold.

    Raises:
        UnsupportedChange: names the sequence.
    """
    for table in family.open:
        for column in table.open:
            for sequence in find_sequences(runner, table.table, column.live):
                last, _ = _reached(runner, sequence)
                low, high = RANGES[column.wanted]
                if not low <= last <= high:
                    raise UnsupportedChange(
                        f"Sequence {sequence.qualified} has reached {last}, which {column.wanted} "
                        f"can't hold, so {table.table.qualified}.{quote(column.live.name)} stays "
                        f"{column.live.type}; nothing was changed. Set it back below {high} with "
                        "setval() if the keys in the table allow it, and run the command again."
                    )


def drop_seconds(runner: Runner, family: Family) -> None:
    """Drop the second columns with their triggers, one short transaction a table.

    Locks: ACCESS EXCLUSIVE for an instant on each table; for a foreign key that a way back
    has left, on its two tables.
    """
    for table in family.tables:
        there = tuple(column for column in table.columns if column.second is not None)
        if not there:
            continue
        for column in there:
            for key in runner.catalog.foreign_keys(table.table, column.beside):
                runner.execute(
                    f"ALTER TABLE {key.table} DROP CONSTRAINT IF EXISTS {quote(key.name)}"
                )
        statements = second_statements(table.table, there)
        runner.transaction(
            partial(_execute, runner, statements), f"dropping second columns of {table.title}"
        )


def second_statements(table: Table, columns: tuple[KeyColumn, ...]) -> list[str]:
    """Return the statements that drop second columns and their trigger."""
    return [
        *key_trigger(table, columns, []).drop(),
        *(f"ALTER TABLE {table.qualified} DROP COLUMN {quote(c.beside)}" for c in columns),
    ]


def _execute(runner: Runner, statements: list[str]) -> None:
    for sql in statements:
        runner.execute(sql)
