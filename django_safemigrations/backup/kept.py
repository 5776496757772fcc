"""Tables with what was dropped: what they are called, what they say of themselves, when they go.

Each is found by its name and by the JSON in its comment, so that it outlives the ledger, the
migration files and this package: whoever looks at it reads what it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from enum import StrEnum
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.postgres.catalog import Catalog, Table, literal, quote
from django_safemigrations.postgres.names import cut, short_hash
from django_safemigrations.postgres.runner import Runner, runner

SCHEMA = "safemigrations_kept"
"""Nobody but the role that migrates has rights in it."""
PREFIX = "dsm_kept_"
MARK = "django_safemigrations"

KEPT = """
SELECT n.nspname, c.relname, obj_description(c.oid, 'pg_class'), pg_total_relation_size(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relname LIKE 'dsm\\_kept\\_%'
ORDER BY c.oid
"""


class Way(StrEnum):
    """How data was kept."""

    COPIED = "copied"
    """Into a table of its own, before it was dropped."""
    MOVED = "moved"
    """The table itself was put aside instead of being dropped."""


@dataclass(frozen=True)
class Kept:
    """What a kept table says of itself.

    Attributes:
        schema: where it is.
        name: what it is called.
        way: how it came to be.
        from_schema: schema of the table that its data is from.
        from_table: name of that table.
        column: the column; empty for a whole table.
        key: the columns by which values find their rows again.
        type: of the column, as PostgreSQL prints it.
        collation: of the column, quoted, if it is not its type's own.
        default: of the column, as PostgreSQL prints it.
        witness: the column beside it whose value shows that a row was not changed since.
        columns: of a whole table, those that are put back.
        migration: what dropped it, as ``app.name``.
        release: the release that ran then; empty if it had no name.
        kept_at: when it was begun, ISO 8601.
        until: when it may be dropped.
        complete: whether it was proven to hold everything.
        rows: how many rows it has, when it is complete.
        restoring: whether it is on its way back.
        restored_at: when it was put back; empty if it was not.
        comment: that of the table before it was put aside.
        size: its size in bytes; not stored.
    """

    schema: str
    name: str
    way: Way
    from_schema: str
    from_table: str
    column: str = ""
    key: tuple[str, ...] = ()
    type: str = ""
    collation: str = ""
    default: str = ""
    witness: str = ""
    columns: tuple[str, ...] = ()
    migration: str = ""
    release: str = ""
    kept_at: str = ""
    until: str = ""
    complete: bool = False
    rows: int | None = None
    restoring: bool = False
    restored_at: str = ""
    comment: str | None = None
    size: int = 0

    @property
    def qualified(self) -> str:
        """Schema and name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    @property
    def source(self) -> str:
        """The table that it is from, quoted."""
        return f"{quote(self.from_schema)}.{quote(self.from_table)}"

    @property
    def title(self) -> str:
        """What was kept, in words."""
        if self.column:
            return f"column {quote(self.column)} of {self.source}"
        return f"table {self.source}"

    def __str__(self) -> str:
        rows = f"{self.rows:,} rows" if self.rows is not None else "not complete"
        back = f", put back {self.restored_at[:16]}" if self.restored_at else ""
        return (
            f"{self.title} in {self.qualified} ({rows}, dropped by {self.migration}), "
            f"until {self.until[:16]}{back}"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {
            **asdict(self),
            "way": str(self.way),
            "key": list(self.key),
            "columns": list(self.columns),
        }


def kept_name(table: Table, attnum: int, name: str) -> str:
    """Return what a kept table is called.

    The same for the same column of the same table, so that it is found again after a crash; a
    column that was dropped and added again is another one.
    """
    hashed = short_hash(table.schema, table.name, str(table.oid), str(attnum))
    return cut(f"{PREFIX}{hashed}_{name}")


def comment_statement(kept: Kept) -> str:
    """Return the statement that makes a kept table say what it is.

    Locks: SHARE UPDATE EXCLUSIVE on the kept table.
    """
    told = {
        key: value
        for key, value in kept.as_dict().items()
        if key not in ("schema", "name", "size") and value not in ("", None, [], False)
    }
    text = json.dumps({MARK: "kept", **told}, sort_keys=True)
    return f"COMMENT ON TABLE {kept.qualified} IS {literal(text)}"


def list_kept(connection: BaseDatabaseWrapper) -> list[Kept]:
    """Return what is kept in a database, the oldest first."""
    found = []
    for schema, name, comment, size in Catalog(connection).rows(KEPT):
        kept = _read(schema, name, comment, size)
        if kept is not None:
            found.append(kept)
    return found


def find_kept(catalog: Catalog, schema: str, name: str) -> Kept | None:
    """Return the kept table of that name; None if there is none."""
    wanted = (schema, name)
    found = list_kept(catalog.connection)
    return next((each for each in found if (each.schema, each.name) == wanted), None)


def _read(schema: str, name: str, comment: str | None, size: int) -> Kept | None:
    try:
        told = json.loads(comment or "")
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get(MARK) != "kept":
        return None
    known = {option.name for option in fields(Kept)} - {"schema", "name", "size"}
    values = {key: value for key, value in told.items() if key in known}
    try:
        values["way"] = Way(values["way"])
        for key in ("key", "columns"):
            values[key] = tuple(values.get(key, ()))
        return Kept(schema=schema, name=name, size=size, **values)
    except (KeyError, TypeError, ValueError):
        # Somebody's own comment; what is not known to be ours is never dropped.
        return None


def place_for(runner: Runner, table: Table) -> str:
    """Return the schema in which what is kept of a table goes; it is created if it can be.

    Where the role may not create a schema, it is the table's own.

    Raises:
        UnsupportedChange: neither is allowed; says what to grant.
    """
    ((role, database, exists, usable, may_create, at_home),) = runner.catalog.rows(
        """
        SELECT current_user, current_database(), to_regnamespace(%s) IS NOT NULL,
               CASE WHEN to_regnamespace(%s) IS NULL THEN false ELSE
                 has_schema_privilege(%s, 'CREATE') AND has_schema_privilege(%s, 'USAGE') END,
               has_database_privilege(current_database(), 'CREATE'),
               has_schema_privilege(%s::oid, 'CREATE')
        """,
        [SCHEMA, SCHEMA, SCHEMA, SCHEMA, _schema_oid(runner, table)],
    )
    if usable:
        return SCHEMA
    if not exists and may_create:
        runner.transaction(
            lambda: runner.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(SCHEMA)}"),
            f"schema {SCHEMA}",
        )
        return SCHEMA
    if at_home:
        return table.schema
    grant = f"CREATE ON DATABASE {quote(database)}"
    if exists:
        grant = f"USAGE, CREATE ON SCHEMA {quote(SCHEMA)}"
    raise UnsupportedChange(
        f"KEEP_DROPPED is set, but role {quote(role)} may create no table to keep what is dropped "
        f"from {table.qualified}; nothing was dropped. As the owner, type: GRANT {grant} TO "
        f"{quote(role)}; or: GRANT CREATE ON SCHEMA {quote(table.schema)} TO {quote(role)}"
    )


def _schema_oid(runner: Runner, table: Table) -> int:
    sql = "SELECT relnamespace::bigint FROM pg_class WHERE oid = %s"
    return int(runner.catalog.value(sql, [table.oid]))


def expire(
    connection: BaseDatabaseWrapper,
    now: datetime,
    say: Callable[[str], None] = lambda line: None,
) -> list[Kept]:
    """Drop what need not be kept any longer, and return it.

    Locks: ACCESS EXCLUSIVE for an instant on each, which nobody else uses.
    """
    gone = [
        kept
        for kept in list_kept(connection)
        if kept.until and datetime.fromisoformat(kept.until) <= now
    ]
    if gone:
        with connection.schema_editor(atomic=False) as editor, runner(editor) as means:
            for kept in gone:
                statement = f"DROP TABLE IF EXISTS {kept.qualified}"
                means.transaction(partial(means.execute, statement), f"dropping {kept.qualified}")
                say(f"No longer kept: {kept.title}, dropped by {kept.migration}")
    return gone


def remember(runner: Runner, kept: Kept, **changed: Any) -> Kept:
    """Let a kept table say something new of itself, and return that."""
    after = replace(kept, **changed)
    statement = comment_statement(after)
    runner.transaction(lambda: runner.execute(statement), f"comment on {after.qualified}")
    return after
