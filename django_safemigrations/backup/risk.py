"""Which tables and columns a plan takes data from, and how much of it there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from django_safemigrations.backup.losses import Effect, Loss, losses, may_lose
from django_safemigrations.postgres.catalog import Catalog

SIZE = """
WITH parts AS (
  SELECT %s::oid::regclass AS part UNION
  SELECT relid FROM pg_partition_tree(%s::oid::regclass)
)
SELECT sum(CASE WHEN c.relkind = 'p' THEN 0 WHEN c.reltuples >= 0 THEN c.reltuples END)::bigint,
       sum(pg_table_size(c.oid))::bigint
FROM parts JOIN pg_class c ON c.oid = parts.part
"""


@dataclass(frozen=True)
class AtRisk:
    """Data that an operation takes away.

    Attributes:
        app_label: app of the migration.
        migration: its name.
        operation: its index in ``operations``, nested as ``"3.0"``.
        effect: "dropped", "overwritten" or "may be overwritten".
        table: schema and name, quoted, as the database has it; as the file has it if there is
            none yet; empty if nobody can tell which.
        columns: names of columns; empty for the whole table, or where nobody can tell.
        why: the operation, in words.
        elsewhere: where the same values are afterwards, in words; empty if nowhere.
        rows: about how many rows the table has; None if unknown.
        bytes: its size without indexes; None if unknown.
    """

    app_label: str
    migration: str
    operation: str
    effect: str
    table: str
    columns: tuple[str, ...]
    why: str
    elsewhere: str = ""
    rows: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        what = self.table or "something that only running it would tell"
        if self.columns:
            plural = "s" if len(self.columns) > 1 else ""
            what = f"column{plural} {', '.join(self.columns)} of {what}"
        elif self.table:
            what = f"{'table' if self.effect == Effect.DROPPED else 'rows of'} {what}"
        size = f", about {self.rows:,} rows" if self.rows is not None else ""
        there = f"; its values stay in {self.elsewhere}" if self.elsewhere else ""
        return f"{self.app_label}.{self.migration}: {what} {self.effect}{size} ({self.why}){there}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON types."""
        return {**asdict(self), "columns": list(self.columns)}


def at_risk(
    migrations: Iterable[Migration],
    state_before: Callable[[Migration], ProjectState],
    connection: BaseDatabaseWrapper,
) -> tuple[AtRisk, ...]:
    """Return what a plan takes away, in the order in which it does.

    Reads the catalog only.

    Args:
        migrations: those about to run.
        state_before: returns the state before one of them; not called where nothing can be lost.
        connection: the database.
    """
    catalog = Catalog(connection)
    found: list[AtRisk] = []
    for migration in migrations:
        if may_lose(migration):
            state = state_before(migration)
            found += [_measured(catalog, loss) for loss in losses(migration, state, connection)]
    return tuple(found)


def is_destructive(found: Iterable[AtRisk]) -> bool:
    """Whether a plan takes anything away."""
    return any(True for _ in found)


def tables_at_risk(found: Iterable[AtRisk]) -> tuple[str, ...] | None:
    """Return the tables, schema and name quoted; None if one of them is not known."""
    tables = [each.table for each in found]
    return None if not all(tables) else tuple(dict.fromkeys(tables))


def _measured(catalog: Catalog, loss: Loss) -> AtRisk:
    table = catalog.find_table(loss.table) if loss.table else None
    if table is None and "." in loss.table:
        # SQL says schema.name where Meta.db_table would say schema"."name.
        table = catalog.find_table(loss.table.replace(".", '"."'))
    rows = size = None
    if table is not None and table.kind in ("r", "p", "m"):
        ((rows, size),) = catalog.rows(SIZE, [table.oid, table.oid])
    return AtRisk(
        app_label=loss.app_label,
        migration=loss.migration,
        operation=loss.index,
        effect=str(loss.effect),
        table=table.qualified if table is not None else loss.table,
        columns=loss.columns,
        why=loss.why,
        elsewhere=loss.elsewhere,
        rows=rows,
        bytes=size,
    )
