"""Copies the schema and some rows of each table, and every row that a foreign key of theirs leads to.

Production runs nothing but SELECTs, in one snapshot. What refers to what is found out in the copy,
where constraints are added last: so they prove that the sample is whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from psycopg import sql

from django_safemigrations.rehearsal.copies.dumping import Copying
from django_safemigrations.rehearsal.copies.keys import (
    SEQUENCES,
    Reference,
    Table,
    batches,
    references_of,
    roots_of,
    tables_of,
)
from django_safemigrations.rehearsal.copies.sessions import (
    Parameters,
    Session,
    connect,
    identifier,
    value,
)
from django_safemigrations.rehearsal_settings import RehearsalSettings

# Without these rows Django would not know what was migrated, or what is what.
ALWAYS_WHOLE = ("django_migrations", "django_content_type", "auth_permission")
OUR_TABLES = "django_safemigrations_"
KEYS_AT_ONCE = 5_000
# Values travel as text: both sides have to write and read it in one way.
WRITTEN_ALIKE = (
    "client_encoding = 'UTF8'",
    "DateStyle = 'ISO, YMD'",
    "IntervalStyle = 'postgres'",
    "extra_float_digits = 3",
)
LARGE_OBJECTS = "SELECT count(*) FROM pg_largeobject_metadata"


@dataclass
class Sample:
    """Rows on their way from production to the copy.

    Attributes:
        source: a session in a snapshot of production.
        target: a session in the copy.
        copied: rows that were copied, by oid of the table.
        totals: rows that there are, about.
    """

    source: Session
    target: Session
    copied: dict[int, int] = field(default_factory=dict)
    totals: dict[int, int] = field(default_factory=dict)

    def copy(self, table: Table, query: sql.Composable) -> int:
        """Copy the rows of a query, whose columns are the table's; return how many there were."""
        read = sql.SQL("COPY ({}) TO STDOUT").format(query)
        write = sql.SQL("COPY {} ({}) FROM STDIN").format(table.quoted, table.listed())
        if not table.columns:
            return 0
        with self.source.cursor() as cursor, self.target.cursor() as into:
            with cursor.copy(read) as rows, into.copy(write) as stream:
                for chunk in rows:
                    stream.write(chunk)
            self.copied[table.oid] = self.copied.get(table.oid, 0) + into.rowcount
            return into.rowcount

    def begin(self, table: Table, rows: int | None) -> None:
        """Copy the rows that a sample begins with; every row if the number is None."""
        select = sql.SQL("SELECT {} FROM {}").format(table.listed(), table.rows)
        if rows is None:
            self.totals[table.oid] = self.copy(table, select)
            return
        total = table.estimate
        if not table.analyzed:
            counted = sql.SQL("SELECT count(*) FROM {}").format(table.rows)
            total = int(value(self.source, counted))
        limit = sql.SQL(" LIMIT {}").format(sql.Literal(rows))
        copied = 0
        if total > rows:
            # Pages from all over the table; a fifth more, since some hold fewer rows.
            share = min(100.0, 120.0 * rows / total)
            pages = sql.SQL(" TABLESAMPLE SYSTEM ({}) REPEATABLE (0)").format(sql.Literal(share))
            copied = self.copy(table, select + pages + limit)
        if copied == 0:  # a small table, or the planner is wrong about it
            copied = self.copy(table, select + limit)
        self.totals[table.oid] = copied if copied < rows and total <= rows else max(total, copied)

    def complete(self, reference: Reference, parent: Table) -> int:
        """Copy the rows that copied rows refer to and that are missing; return how many."""
        child_columns = [identifier("c", name) for name in reference.child_columns]
        matches = sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(identifier("p", there), here)
            for there, here in zip(reference.parent_columns, child_columns, strict=True)
        )
        given = sql.SQL(" AND ").join(
            sql.SQL("{} IS NOT NULL").format(column) for column in child_columns
        )
        missing = self.target.execute(
            sql.SQL(
                "SELECT {} FROM (SELECT DISTINCT {} FROM {} c WHERE {}"
                " AND NOT EXISTS (SELECT FROM {} p WHERE {})) c"
            ).format(
                sql.SQL(", ").join(sql.SQL("{}::text").format(c) for c in child_columns),
                sql.SQL(", ").join(child_columns),
                identifier(*reference.child),
                given,
                identifier(*reference.parent),
                matches,
            )
        ).fetchall()
        found = 0
        for keys in batches(missing, KEYS_AT_ONCE):
            found += self.copy(parent, _by_key(reference, parent, keys))
        return found


def copy_sample(
    source: Parameters, target: Parameters, copying: Copying, settings: RehearsalSettings
) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Fill an empty database with the schema and a sample.

    Args:
        source: libpq's parameters for production.
        target: libpq's parameters for the empty database.
        copying: runs pg_dump and pg_restore.
        settings: how many rows, and of which tables all.

    Returns:
        rows copied and rows that there are, by table; and notes.

    Raises:
        ProgramFailed, psycopg.Error: something went wrong.
    """
    with connect(source, autocommit=False) as reading, connect(target) as writing:
        for session in (reading, writing):
            for setting in WRITTEN_ALIKE:
                session.execute(f"SET {setting}")
        reading.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        reading.execute("SET LOCAL row_security = off")  # hidden rows are an error, not a gap
        reading.execute("SET LOCAL statement_timeout = 0")
        reading.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        snapshot = value(reading, "SELECT pg_export_snapshot()")
        copying.dump(source, "--schema-only", f"--snapshot={snapshot}")
        copying.restore(target, "--section=pre-data")
        tables = tables_of(reading)
        sample = Sample(reading, writing)
        _copy_rows(sample, tables, copying, settings)
        _set_sequences(reading, writing)
        large_objects = value(reading, LARGE_OBJECTS)
        reading.rollback()
    copying.restore(target, "--section=post-data")
    rows = {
        table.key: (sample.copied.get(oid, 0), sample.totals.get(oid, 0))
        for oid, table in tables.items()
    }
    notes = ("large objects were not copied",) if large_objects else ()
    return rows, notes


def _copy_rows(
    sample: Sample, tables: dict[int, Table], copying: Copying, settings: RehearsalSettings
) -> None:
    whole = {*ALWAYS_WHOLE, *settings.sample_whole}
    for table in tables.values():
        every = (
            table.name in whole
            or f"{table.schema}.{table.name}" in whole
            or table.name.startswith(OUR_TABLES)
        )
        sample.begin(table, None if every else settings.sample_rows)
    roots = roots_of(sample.source)
    references = references_of(sample.source)
    copying.progress(f"Following {len(references)} foreign keys to the rows they refer to.")
    # A cycle or a tree takes as many rounds as its longest path; each round copies new rows only,
    # so that it ends.
    while sum(
        sample.complete(reference, tables[oid])
        for reference in references
        if (oid := roots.get(reference.parent_oid, reference.parent_oid)) in tables
    ):
        pass
    for oid, copied in sample.copied.items():
        sample.totals[oid] = max(sample.totals.get(oid, 0), copied)


def _by_key(reference: Reference, parent: Table, keys: list[tuple[str, ...]]) -> sql.Composable:
    """Return the query for a parent's rows by their keys, which are texts."""
    arrays = [
        sql.SQL("{}::text[]::{}[]").format(sql.Literal(list(values)), sql.SQL(type_name))
        for type_name, values in zip(reference.types, zip(*keys, strict=True), strict=True)
    ]
    columns = [identifier("p", name) for name in reference.parent_columns]
    # Through the referenced table itself: a parent may be a partition's own key.
    select = sql.SQL("SELECT {} FROM {} p WHERE ").format(
        parent.listed("p"), identifier(*reference.parent)
    )
    if len(arrays) == 1:
        return select + sql.SQL("{} = ANY ({})").format(columns[0], arrays[0])
    return select + sql.SQL("({}) IN (SELECT * FROM unnest({}))").format(
        sql.SQL(", ").join(columns), sql.SQL(", ").join(arrays)
    )


def _set_sequences(reading: Session, writing: Session) -> None:
    for schema, name in reading.execute(SEQUENCES).fetchall():
        sequence = identifier(schema, name)
        row = reading.execute(
            sql.SQL("SELECT last_value, is_called FROM {}").format(sequence)
        ).fetchone()
        assert row is not None
        writing.execute("SELECT setval(%s::regclass, %s, %s)", [sequence.as_string(writing), *row])
