"""Finds what a change left in a database although its contract is recorded as applied."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from django.db import NotSupportedError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState

from django_safemigrations.exceptions import SafeMigrationsError
from django_safemigrations.hazards import CATALOGUE
from django_safemigrations.lint.columns import column_name
from django_safemigrations.lint.context import Key, flattened, our_name
from django_safemigrations.lint.finding import Finding
from django_safemigrations.lint.loader import LintLoader, migration_path
from django_safemigrations.lint.tables import many_to_many_table, table_name
from django_safemigrations.postgres.catalog import Catalog, quote
from django_safemigrations.postgres.remains import Kind, Remain, remains

CODE = "DSM418"

ENDS = {
    Kind.TRIGGER: (
        "DropSyncedColumns",
        "StopFillingNulls",
        "DropReplacedColumn",
        "DropKeyColumns",
    ),
    Kind.COLUMN: ("DropReplacedColumn", "DropKeyColumns", "DropSyncedColumns"),
    Kind.VIEW: ("DropOldNameView",),
    Kind.INDEX: (),
    Kind.CONSTRAINT: ("ValidateCheck", "ValidateFieldCheck", "ValidateForeignKey"),
}
"""The stages that remove each kind of thing."""

WIDE = "DropKeyColumns"
"""The stage that works on tables of other models, too: all that refer to a key."""


def leftovers(
    connection: BaseDatabaseWrapper,
    pending: Collection[Key] = (),
    loader: MigrationLoader | None = None,
) -> list[Finding]:
    """Return what is left in a database of changes that are over, by the migrations' record.

    Second columns, triggers, views under old names, helper defaults, INVALID indexes and
    constraints that nobody validated are looked for. What an unapplied migration or a pending
    contract will still see to is not reported. Reads the catalog; changes nothing.

    Args:
        connection: of the database; it has to be PostgreSQL.
        pending: contracts that the ledger holds as pending: recorded as applied, not run.
        loader: of that database; one is made if none is given.

    Raises:
        NotSupportedError: the database is not PostgreSQL.
        SafeMigrationsError: the migrations' states can't be built.
    """
    if connection.vendor != "postgresql":
        raise NotSupportedError(f"{connection.alias} is not a PostgreSQL database.")
    loader = loader or LintLoader(connection, ignore_no_migrations=True)
    return list(_Search(connection, frozenset(pending), loader).findings())


@dataclass(frozen=True)
class _Stage:
    """One of our stages in a file."""

    key: Key
    name: str
    operation: Any
    table: str
    outstanding: bool


class _Search:
    def __init__(
        self, connection: BaseDatabaseWrapper, pending: frozenset[Key], loader: MigrationLoader
    ) -> None:
        self.connection = connection
        self.catalog = Catalog(connection)
        self.loader = loader
        self.applied = frozenset(loader.applied_migrations or ())
        self.pending = pending
        try:
            self.state = loader.project_state()
        except Exception as error:  # migrations run code of their own
            raise SafeMigrationsError(
                f"The migrations don't fit together: {type(error).__name__}: {error}. "
                "lintmigrations says where."
            ) from error
        self.models = {bare(table_name(model)): model for model in self.state.models.values()}
        self.stages = list(self._stages())
        self.touched = {
            table
            for key, migration in self._outstanding()
            for table in tables_of(migration, self.state)
        }

    def findings(self) -> Iterator[Finding]:
        """Yield all findings."""
        for remain in remains(self.catalog):
            yield from self._remain(remain)
        for stage in self.stages:
            if stage.outstanding:
                continue
            if stage.name == "DropColumn":
                yield from self._column(stage)
            elif stage.name == "DropTable":
                yield from self._table(stage)
            elif stage.name == "DropColumnDefault":
                yield from self._default(stage)

    def _outstanding(self) -> Iterator[tuple[Key, Migration]]:
        replaced = {
            other
            for key, migration in self.loader.disk_migrations.items()
            if key in self.applied
            for other in migration.replaces
        }
        for key, migration in self.loader.disk_migrations.items():
            if key in self.pending or (key not in self.applied and key not in replaced):
                if migration.replaces and all(
                    other in self.applied for other in migration.replaces
                ):
                    continue
                yield key, migration

    def _stages(self) -> Iterator[_Stage]:
        outstanding = {key for key, _ in self._outstanding()}
        for key, migration in self.loader.disk_migrations.items():
            for operation in flattened(migration.operations):
                name = our_name(operation)
                if name is not None:
                    table = stage_table(operation, key[0], self.state)
                    yield _Stage(key, name, operation, table, key in outstanding)

    def _remain(self, remain: Remain) -> Iterator[Finding]:
        if remain.table in self.touched and remain.kind is not Kind.VIEW:
            return
        ends = [
            stage
            for stage in self.stages
            if stage.name in ENDS[remain.kind]
            and (
                stage.table == remain.table
                or stage.name == WIDE
                or self._is_old_name(stage, remain)
            )
        ]
        if any(stage.outstanding for stage in ends):
            return
        done = next(
            (s for s in ends if s.table == remain.table or self._is_old_name(s, remain)), None
        )
        what = _told(remain)
        if done is not None:
            yield self._finding(
                done.key,
                f"{what} is still there, although {'.'.join(done.key)} ({done.name}), which removes "
                "it, is recorded as applied: it was faked, or its end was rolled back by hand.",
                self._run_again(done.key),
                remain.table,
            )
        elif remain.kind is Kind.INDEX:
            yield self._finding(
                None,
                f"{what} is INVALID: a build of it failed. No query uses it, every write keeps it up "
                "to date, and a unique one still refuses duplicates.",
                f"{remain.removal}; build it again by the migration that holds it, or REINDEX "
                "INDEX CONCURRENTLY.",
                remain.table,
            )
        elif remain.kind is Kind.CONSTRAINT:
            yield self._finding(
                None,
                f"{what} is NOT VALID, and no migration that is still to run validates it: old rows "
                "may violate it, and the planner does not rely on it.",
                f"{remain.removal}; -- it reads the whole table and blocks no reads or writes",
                remain.table,
            )
        else:
            yield self._finding(
                None,
                f"{what} is still there, and no migration on disk accounts for it: the file of its "
                "contract was deleted or squashed before it ran here.",
                f"If no old code is left: {remain.removal};",
                remain.table,
            )

    def _is_old_name(self, stage: _Stage, remain: Remain) -> bool:
        old = getattr(stage.operation, "old_table", None)
        return remain.kind is Kind.VIEW and old is not None and bare(old) == remain.name

    def _column(self, stage: _Stage) -> Iterator[Finding]:
        name = column_name(stage.operation.name, stage.operation.field)
        model = self.models.get(stage.table)
        if name is None or stage.table in self.touched:
            return
        if model is not None and name in columns_of(model):
            return
        table = self.catalog.find_table(quote(stage.table))
        if table is None or self.catalog.column(table, name) is None:
            return
        yield self._finding(
            stage.key,
            f"Column {stage.table}.{name}, which no model has any more, is still there, although "
            f"{'.'.join(stage.key)} is recorded as applied.",
            self._run_again(stage.key),
            stage.table,
        )

    def _table(self, stage: _Stage) -> Iterator[Finding]:
        if stage.table in self.models or stage.table in self.touched:
            return
        if stage.table in {
            bare(many_to_many_table(model, name, field))
            for model in self.state.models.values()
            for name, field in model.fields.items()
            if field.many_to_many
        }:
            return
        if self.catalog.find_table(quote(stage.table)) is None:
            return
        yield self._finding(
            stage.key,
            f"Table {stage.table}, which no model has any more, is still there, although "
            f"{'.'.join(stage.key)} is recorded as applied.",
            self._run_again(stage.key),
            stage.table,
        )

    def _default(self, stage: _Stage) -> Iterator[Finding]:
        model = self.models.get(stage.table)
        field: Any = model.fields.get(stage.operation.name) if model is not None else None
        if field is None or field.has_db_default() or stage.table in self.touched:
            return
        name = column_name(stage.operation.name, field)
        table = self.catalog.find_table(quote(stage.table))
        column = self.catalog.column(table, name) if table is not None and name else None
        if column is None or column.default is None or column.identity:
            return
        yield self._finding(
            stage.key,
            f"The default of {stage.table}.{name}, which only old code needed, is still there, "
            f"although {'.'.join(stage.key)} is recorded as applied.",
            self._run_again(stage.key),
            stage.table,
        )

    def _run_again(self, key: Key) -> str:
        """Return what to type to run a contract that was faked."""
        app_label, name = key
        sql = (
            f"Look at its SQL (manage.py sqlmigrate {app_label} {name}) and run it: "
            f"manage.py sqlmigrate {app_label} {name} | manage.py dbshell"
        )
        node = self.loader.graph.node_map.get(key)
        if node is None or any(child.key in self.applied for child in node.children):
            return sql
        before = next((p.key[1] for p in sorted(node.parents) if p.key[0] == app_label), None)
        if before is None:
            return sql
        return (
            "Take it back in the record alone and run it, when no old code is left: "
            f"manage.py migrate {app_label} {before} --fake, then "
            f"manage.py safemigrate {app_label} {name} --phase contract"
        )

    def _finding(self, key: Key | None, message: str, hint: str, table: str) -> Finding:
        hazard = CATALOGUE[CODE]
        migration = self.loader.disk_migrations.get(key) if key is not None else None
        model = self.models.get(table)
        return Finding(
            code=hazard.code,
            name=hazard.name,
            severity=hazard.severity,
            app_label=key[0] if key else (model.app_label if model is not None else ""),
            migration=key[1] if key else "",
            operation=None,
            path=migration_path(migration)
            if migration is not None
            else f"database {self.connection.alias}",
            line=0,
            message=message,
            hint=hint,
            url=hazard.url,
            table=table,
        )


def _told(remain: Remain) -> str:
    if remain.kind is Kind.TRIGGER:
        where = f" on {remain.table}" if remain.table else ""
        return f"Trigger function {remain.name}(){where}"
    if remain.kind is Kind.VIEW:
        return f"The view under the old name {remain.name}"
    if remain.kind is Kind.COLUMN:
        return f"Column {remain.table}.{remain.name}"
    if remain.kind is Kind.INDEX:
        return f"Index {remain.name} on {remain.table}"
    return f"Constraint {remain.name} of {remain.table}"


def bare(db_table: str) -> str:
    """Return a table's own name of a ``Meta.db_table``, without quotes and schema."""
    return db_table.strip('"').rpartition('"."')[2]


def columns_of(model: ModelState) -> set[str]:
    """Return the columns that a model has in the last state."""
    found = {column_name(name, field) for name, field in model.fields.items()}
    return {name for name in found if name is not None}


def stage_table(stage: Any, app_label: str, state: ProjectState) -> str:
    """Return the table that a stage works on, by the names of the last state."""
    for attribute in ("new_table", "table"):
        explicit = getattr(stage, attribute, None)
        if isinstance(explicit, str) and explicit:
            return bare(explicit)
    model_name = getattr(stage, "model_name", None)
    if not isinstance(model_name, str):
        return ""
    if our_name(stage) == "DropTable":
        return bare(str(stage.options["db_table"]))
    model = state.models.get((app_label, model_name.lower()))
    return bare(table_name(model or ModelState(app_label, model_name, [], {})))


def tables_of(migration: Migration, state: ProjectState) -> Iterator[str]:
    """Yield the tables that a migration works on, by the names of the last state."""
    for operation in flattened(migration.operations):
        if our_name(operation) is not None:
            yield stage_table(operation, migration.app_label, state)
            continue
        for attribute in ("model_name", "name"):
            name = getattr(operation, attribute, None)
            model = (
                state.models.get((migration.app_label, name.lower()))
                if isinstance(name, str)
                else None
            )
            if model is not None:
                yield bare(table_name(model))
                break
