"""A renamed model's content type and its permissions, for code of both names.

`django.contrib.contenttypes` and `django.contrib.auth` look for RenameModel at the top
level of migrations only, so what they do there is done here, in a way that old code
survives. https://docs.djangoproject.com/en/stable/ref/contrib/contenttypes/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.apps import apps
from django.db import router

from django_safemigrations.postgres.catalog import ForeignKey, Table, quote
from django_safemigrations.postgres.runner import Runner


@dataclass(frozen=True)
class Names:
    """What a model is called on either side of its rename.

    Attributes:
        app_label: its app.
        old: its name in lower case, in old code.
        new: the same in new code.
        actions: its default permissions, such as "add".
        verbose: what its permissions call it.
    """

    app_label: str
    old: str
    new: str
    actions: Sequence[str] = ()
    verbose: str = ""

    @property
    def backwards(self) -> Names:
        """The names on the way back."""
        return Names(self.app_label, self.new, self.old, self.actions, self.old)


def find_table(runner: Runner, app_label: str, name: str) -> Table | None:
    """Return the table of a model that may not be installed, or not on this database."""
    try:
        model = apps.get_model(app_label, name)
    except LookupError:
        return None
    if not router.allow_migrate_model(runner.connection.alias, model):
        return None
    return runner.catalog.find_table(model._meta.db_table)


def content_type_id(runner: Runner, table: Table, app_label: str, model: str) -> int | None:
    """Return the key of a content type, or None."""
    found = runner.catalog.value(
        f"SELECT id FROM {table.qualified} WHERE app_label = %s AND model = %s", [app_label, model]
    )
    return None if found is None else int(found)


def rename_content_type(runner: Runner, table: Table, names: Names) -> None:
    """Give a content type its new name, unless there is one of that name.

    Locks: ROW EXCLUSIVE on the table, and the row.
    """
    if content_type_id(runner, table, names.app_label, names.new) is None:
        runner.execute_with_params(
            f"UPDATE {table.qualified} SET model = %s WHERE app_label = %s AND model = %s",
            [names.new, names.app_label, names.old],
        )
    apps.get_model("contenttypes", "ContentType").objects.clear_cache()


def copy_permissions(runner: Runner, kind: int, names: Names) -> None:
    """Add the permissions of the new name, and grant them to whoever has those of the old name.

    Locks: ROW EXCLUSIVE on the permissions and on the tables that grant them.
    """
    table = find_table(runner, "auth", "Permission")
    if table is None:
        return
    for action in names.actions:
        old = _permission(runner, table, kind, f"{action}_{names.old}")
        if old is None:
            continue
        codename = f"{action}_{names.new}"
        if _permission(runner, table, kind, codename) is None:
            runner.execute_with_params(
                f"INSERT INTO {table.qualified} (name, content_type_id, codename) "
                "VALUES (%s, %s, %s)",
                [f"Can {action} {names.verbose}"[:255], kind, codename],
            )
        new = _permission(runner, table, kind, codename)
        for key in references(runner, table):
            _copy_grants(runner, key, old, int(new or 0))


def delete_permissions(runner: Runner, kind: int, names: Names) -> None:
    """Delete the permissions of the old name and their grants; `copy_permissions` comes first.

    Locks: ROW EXCLUSIVE on the permissions and on the tables that grant them.
    """
    table = find_table(runner, "auth", "Permission")
    if table is None:
        return
    for action in names.actions:
        old = _permission(runner, table, kind, f"{action}_{names.old}")
        if old is None or _permission(runner, table, kind, f"{action}_{names.new}") is None:
            continue
        for key in references(runner, table):
            runner.execute_with_params(
                f"DELETE FROM {key.table} WHERE {quote(key.columns[0])} = %s", [old]
            )
        runner.execute_with_params(f"DELETE FROM {table.qualified} WHERE id = %s", [old])


def move_permissions(runner: Runner, second: int, kept: int) -> None:
    """Move the permissions of a second content type to the first, where they are not there yet.

    Locks: ROW EXCLUSIVE on the permissions and on the tables that grant them.
    """
    table = find_table(runner, "auth", "Permission")
    if table is None:
        return
    for old, codename in runner.catalog.rows(
        f"SELECT id, codename FROM {table.qualified} WHERE content_type_id = %s", [second]
    ):
        new = _permission(runner, table, kept, codename)
        if new is None:
            runner.execute_with_params(
                f"UPDATE {table.qualified} SET content_type_id = %s WHERE id = %s", [kept, old]
            )
            continue
        for key in references(runner, table):
            _copy_grants(runner, key, old, new)
            runner.execute_with_params(
                f"DELETE FROM {key.table} WHERE {quote(key.columns[0])} = %s", [old]
            )
        runner.execute_with_params(f"DELETE FROM {table.qualified} WHERE id = %s", [old])


def references(runner: Runner, table: Table) -> list[ForeignKey]:
    """Return the foreign keys of one column that point to a table's id."""
    return [
        key
        for key in runner.catalog.foreign_keys(table, "id")
        if key.to_table_oid == table.oid and len(key.columns) == 1
    ]


def _permission(runner: Runner, table: Table, kind: int, codename: str) -> int | None:
    found = runner.catalog.value(
        f"SELECT id FROM {table.qualified} WHERE content_type_id = %s AND codename = %s",
        [kind, codename],
    )
    return None if found is None else int(found)


def _copy_grants(runner: Runner, key: ForeignKey, old: int, new: int) -> None:
    column = key.columns[0]
    others = [
        quote(name)
        for (name,) in runner.catalog.rows(
            """
            SELECT a.attname::text FROM pg_attribute a
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> %s
              AND a.attidentity = '' AND a.attgenerated = ''
              AND coalesce(pg_get_expr(d.adbin, d.adrelid), '') NOT LIKE 'nextval(%%'
            ORDER BY a.attnum
            """,
            [key.table_oid, column],
        )
    ]
    listed = ", ".join([quote(column), *others])
    values = ", ".join(["%s", *others])
    # A grant is unique, so one that is there already is left alone.
    runner.execute_with_params(
        f"INSERT INTO {key.table} ({listed}) SELECT {values} FROM {key.table} "
        f"WHERE {quote(column)} = %s ON CONFLICT DO NOTHING",
        [new, old],
    )
