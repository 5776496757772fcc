"""Keeps what a migration is about to drop, and puts it back when the migration is taken back.

Values are copied while the column is still there, in batches that block nobody; a table that is
dropped in a contract is put aside as it is. See docs/how-to/keep-dropped-columns.md.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations import Migration
from django.db.migrations.state import ProjectState

from django_safemigrations.backfill.report import report
from django_safemigrations.backup.aside import may_put_aside, put_aside, take_out
from django_safemigrations.backup.copies import Keep, fill_here
from django_safemigrations.backup.kept import (
    Kept,
    Way,
    comment_statement,
    expire,
    find_kept,
    kept_name,
    list_kept,
    place_for,
    remember,
)
from django_safemigrations.backup.losses import Effect, Loss, column_of, losses, may_lose
from django_safemigrations.backup.returning import put_back
from django_safemigrations.exceptions import UnsupportedChange
from django_safemigrations.operations.removals import DropColumn
from django_safemigrations.operations.table_removals import DropTable
from django_safemigrations.operations.types import DropReplacedColumn
from django_safemigrations.postgres.catalog import Catalog, Column, Table, quote
from django_safemigrations.postgres.fresh import is_fresh
from django_safemigrations.postgres.runner import Runner, runner
from django_safemigrations.postgres.swaps import aside_name
from django_safemigrations.postgres.type_changes import is_narrowing, keeps_every_value

Key = tuple[str, str]
"""App label and name of a migration."""

# Keys by which rows are found again: of what makes a key of the whole table, without the column.
KEYS = """
SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey[0:i.indnkeyatts - 1])
             WITH ORDINALITY AS k (attnum, n)
             JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum ORDER BY k.n)
FROM pg_index i
WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
  AND i.indpred IS NULL AND i.indexprs IS NULL
  AND NOT EXISTS (SELECT FROM pg_attribute k
                  WHERE k.attrelid = i.indrelid AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                    AND (NOT k.attnotnull OR k.attname = %s))
ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1
"""


@dataclass
class Keeper:
    """Keeps what migrations drop on one database.

    Attributes:
        connection: the database.
        span: how long it is kept; None keeps nothing, but puts back what was kept before.
        now: the time.
        say: told what was kept and put back, in lines.
        release: the release that runs.
    """

    connection: BaseDatabaseWrapper
    span: timedelta | None
    now: Callable[[], datetime]
    say: Callable[[str], None] = report
    release: str = ""

    def begin_run(self, undone: Callable[[Key], bool]) -> None:
        """Finish what was cut short, and drop what need not be kept any longer.

        Args:
            undone: whether a migration is taken back, or has not run to its end: what it drops
                is there, or has to be there again.
        """
        found = list_kept(self.connection)
        if not found:
            return
        moved = [kept for kept in found if kept.way is Way.MOVED and undone(_key(kept))]
        if moved:
            # It was put aside by a migration that then failed or was killed.
            with self._runner() as means:
                for kept in moved:
                    take_out(means, kept)
        self.after_undo({_key(kept) for kept in found if kept.restoring and undone(_key(kept))})
        expire(self.connection, self.now(), self.say)

    # -- forwards --------------------------------------------------------------------

    def before(self, migration: Migration, state: ProjectState) -> None:
        """Keep what a migration is about to drop. Goes on where it was killed.

        Raises:
            UnsupportedChange: it can't be kept; says why and what to do. Nothing was dropped.
            DataDiffers: rows change faster than they are kept.

        Locks: ACCESS SHARE while it is copied; for a table that is put aside ACCESS EXCLUSIVE
        for an instant, and on the tables at the other end of its foreign keys.
        """
        if self.span is None or is_fresh(self.connection.alias) or not may_lose(migration):
            return
        found = [
            loss
            for loss in losses(migration, state, self.connection)
            if loss.effect is Effect.DROPPED and _is_kept(loss)
        ]
        if not found:
            return
        with self._runner() as means:
            for loss in found:
                self._keep(means, loss, state)

    def _keep(self, runner: Runner, loss: Loss, state: ProjectState) -> None:
        table = runner.catalog.find_table(loss.table)
        if table is None or table.kind not in ("r", "p"):
            if table is None and not isinstance(loss.operation, DropTable | DropColumn):
                self._say_not_found(loss)
            return
        if runner.catalog.value("SELECT row_security_active(%s::oid)", [table.oid]):
            raise UnsupportedChange(
                f"KEEP_DROPPED is set, but row security hides rows of {table.qualified} from this "
                "role, and what it can't see it can't keep; nothing was dropped. Type: ALTER TABLE "
                f"{table.qualified} NO FORCE ROW LEVEL SECURITY (as its owner), or let a role with "
                "BYPASSRLS migrate."
            )
        if table.kind == "r" and runner.catalog.is_empty(table):
            return
        if not loss.columns:
            self._keep_table(runner, table, loss)
            return
        column, witness = self._columns(table, loss, state)
        found = runner.catalog.column(table, column)
        if found is None:
            if not isinstance(loss.operation, DropColumn | DropReplacedColumn):
                self._say_not_found(loss)
            return
        if witness:
            beside = runner.catalog.column(table, witness)
            if beside is None or _holds_all(found.type, beside.type):
                # The way back converts the same values out of the column that stays.
                return
        self._keep_column(runner, table, found, witness, loss)

    def _say_not_found(self, loss: Loss) -> None:
        what = f"{loss.table}.{loss.columns[0]}" if loss.columns else loss.table
        self.say(
            f"Not kept: {loss.app_label}.{loss.migration} drops {what}, which has no such name "
            "before this migration. If the same file renames it, move the removal into a "
            "migration of its own."
        )

    def _columns(self, table: Table, loss: Loss, state: ProjectState) -> tuple[str, str]:
        """Return the column that goes and the one that stays beside it, if there is one."""
        operation = loss.operation
        if not isinstance(operation, DropReplacedColumn):
            return loss.columns[0], ""
        for old, new in operation.columns.items():
            return old, new
        model = state.models[loss.app_label, operation.model_name.lower()]
        column = column_of(model.fields[operation.name], operation.name)
        return aside_name(table.name, column), column

    def _keep_column(
        self, runner: Runner, table: Table, column: Column, witness: str, loss: Loss
    ) -> None:
        rows = runner.catalog.rows(KEYS, [table.oid, column.name])
        if not rows:
            raise UnsupportedChange(
                f"KEEP_DROPPED is set, but {table.qualified} has no primary key or other NOT NULL "
                f"unique columns besides {quote(column.name)}, so its values could not find their "
                "rows again; nothing was dropped. Set KEEP_DROPPED to None for this run, and have "
                "a backup."
            )
        key = tuple(rows[0][0])
        columns = [(name, f"dsm_key{number}") for number, name in enumerate(key, start=1)]
        columns.append((column.name, "dsm_value"))
        if witness:
            columns.append((witness, "dsm_witness"))
        kept = replace(
            self._described(runner, table, kept_name(table, column.attnum, column.name), loss),
            column=column.name,
            key=key,
            type=column.type,
            collation=column.collation or "",
            default=column.default or "",
            witness=witness,
        )
        self._copy(runner, table, kept, tuple(columns), key)

    def _keep_table(self, runner: Runner, table: Table, loss: Loss) -> None:
        kept = self._described(runner, table, kept_name(table, 0, table.name), loss)
        if isinstance(loss.operation, DropTable) and may_put_aside(runner, table, kept):
            self._tell(put_aside(runner, table, kept))
            return
        rows = runner.catalog.rows(
            "SELECT attname FROM pg_attribute WHERE attrelid = %s AND attnum > 0 "
            "AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
            [table.oid],
        )
        columns = tuple(name for (name,) in rows)
        keys = runner.catalog.rows(KEYS, [table.oid, None])
        if not keys:
            raise UnsupportedChange(
                f"KEEP_DROPPED is set, but {table.qualified} has no primary key or other NOT NULL "
                "unique columns to copy it by; nothing was dropped. Set KEEP_DROPPED to None for "
                "this run, and have a backup."
            )
        key = tuple(keys[0][0])
        kept = replace(kept, columns=columns, key=key)
        self._copy(runner, table, kept, tuple((name, name) for name in columns), key)

    def _described(self, runner: Runner, table: Table, name: str, loss: Loss) -> Kept:
        assert self.span is not None
        now = self.now()
        return Kept(
            schema=place_for(runner, table),
            name=name,
            way=Way.COPIED,
            from_schema=table.schema,
            from_table=table.name,
            migration=f"{loss.app_label}.{loss.migration}",
            release=self.release,
            kept_at=now.isoformat(timespec="seconds"),
            until=(now + self.span).isoformat(timespec="seconds"),
        )

    def _copy(
        self,
        runner: Runner,
        table: Table,
        kept: Kept,
        columns: tuple[tuple[str, str], ...],
        key: tuple[str, ...],
    ) -> None:
        known = find_kept(runner.catalog, kept.schema, kept.name)
        if known is not None and (known.column, known.witness, known.key) != (
            kept.column,
            kept.witness,
            kept.key,
        ):
            # The same column, found by another key meanwhile: what is there is of no use.
            runner.execute(f"DROP TABLE IF EXISTS {known.qualified}")
            known = None
        if known is None:
            listed = ", ".join(f"{quote(source)} AS {quote(target)}" for source, target in columns)
            keys = ", ".join(quote(target) for source, target in columns if source in key)

            def create() -> None:
                runner.execute(
                    f"CREATE TABLE {kept.qualified} AS SELECT {listed} FROM {table.qualified} "
                    "WITH NO DATA"
                )
                runner.execute(f"ALTER TABLE {kept.qualified} ADD PRIMARY KEY ({keys})")
                runner.execute(comment_statement(kept))

            runner.transaction(create, f"creating {kept.qualified}")
        else:
            kept = remember(runner, replace(known, until=kept.until), complete=False)
        since = runner.catalog.value("SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text")
        title = f"keeping {kept.title}"
        work = Keep(table, kept.qualified, columns, key, title, str(since))
        try:
            fill_here(runner, work, kept.name)
            work.catch_up(runner)
            if not kept.column:
                self._forget_deleted(runner, table, kept)
        except Exception:
            # A half of it is of no use, and takes space: perhaps the space that there was not.
            with contextlib.suppress(Exception):
                runner.execute(f"DROP TABLE IF EXISTS {kept.qualified}")
            raise
        with runner.guard.as_long_as_it_takes():
            rows = int(runner.catalog.value(f"SELECT count(*) FROM {kept.qualified}"))
        self._tell(remember(runner, kept, complete=True, rows=rows))

    def _forget_deleted(self, runner: Runner, table: Table, kept: Kept) -> None:
        """Delete the copies of rows that were deleted while they were copied."""
        matched = " AND ".join(f"there.{quote(name)} = kept.{quote(name)}" for name in kept.key)
        with runner.guard.as_long_as_it_takes():
            runner.execute(
                f"DELETE FROM {kept.qualified} kept "
                f"WHERE NOT EXISTS (SELECT FROM {table.qualified} there WHERE {matched})"
            )

    def _tell(self, kept: Kept) -> None:
        self.say(f"Kept: {kept}")

    # -- backwards -------------------------------------------------------------------

    def before_undo(self, migration: Migration) -> None:
        """Put tables that were put aside where they were, and note what has to be put back."""
        found = [
            kept
            for kept in self._of(migration)
            if kept.complete and not kept.restored_at and not kept.restoring
        ]
        if not found:
            return
        with self._runner() as means:
            for kept in found:
                if kept.way is Way.MOVED:
                    if take_out(means, kept):
                        self.say(f"Put back: {kept.title}, as it was when it was dropped")
                elif not _is_there(means.catalog, kept):
                    remember(means, kept, restoring=True)

    def after_undo(self, keys: Collection[Key]) -> None:
        """Put back what was kept of some migrations that were taken back.

        Goes on where it was killed. Rows that can't take their value are named, and no error.

        Locks: ROW EXCLUSIVE; the rows of a batch for about BATCH_TIME milliseconds.
        """
        found = [
            kept
            for kept in list_kept(self.connection)
            if _key(kept) in keys and kept.restoring and not kept.restored_at
        ]
        if not found:
            return
        with self._runner() as means:
            for kept in found:
                if _is_there(means.catalog, kept):
                    put_back(means, kept, self.say)
                    now = self.now().isoformat(timespec="seconds")
                    remember(means, kept, restoring=False, restored_at=now)

    def _of(self, migration: Migration) -> list[Kept]:
        key = migration.app_label, migration.name
        return [kept for kept in list_kept(self.connection) if _key(kept) == key]

    @contextlib.contextmanager
    def _runner(self) -> Iterator[Runner]:
        with self.connection.schema_editor(atomic=False) as editor, runner(editor) as means:
            yield means


def _key(kept: Kept) -> Key:
    app_label, _, name = kept.migration.partition(".")
    return app_label, name


def _is_kept(loss: Loss) -> bool:
    """Whether its data is gone with it, and can be put back by an operation's way back."""
    return isinstance(
        loss.operation,
        DropTable
        | DropColumn
        | DropReplacedColumn
        | migrations.DeleteModel
        | migrations.RemoveField,
    )


def _holds_all(old: str, new: str) -> bool:
    # What a narrower type of the same kind can't hold was refused before the drop.
    return keeps_every_value(old, new) or is_narrowing(old, new)


def _is_there(catalog: Catalog, kept: Kept) -> bool:
    table = catalog.find_table(kept.source)
    if table is None:
        return False
    return not kept.column or catalog.column(table, kept.column) is not None
