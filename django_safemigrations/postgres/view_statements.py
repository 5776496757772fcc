"""The statements that rename a table and create the view under its old name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from django_safemigrations.postgres.catalog import literal, quote

MARK = "django_safemigrations: the old name of"
"""How the comment on a view begins that stands for a renamed table."""


def rename_statements(
    table: str, old: str, new: str, renames: Mapping[str, str], to_schema: str | None = None
) -> list[str]:
    """Return the statements that rename a table and some of its columns.

    Args:
        table: its name, qualified and quoted.
        old: its name, bare.
        new: the name it gets, bare.
        renames: the columns' names, before and after.
        to_schema: the schema it moves to, if it moves.
    """
    statements = [
        f"ALTER TABLE {table} RENAME COLUMN {quote(before)} TO {quote(after)}"
        for before, after in renames.items()
    ]
    if to_schema is not None:
        # Its indexes, constraints and sequences go along.
        statements.append(f"ALTER TABLE {table} SET SCHEMA {quote(to_schema)}")
        table = qualified(to_schema, old)
    if old != new:
        statements.append(f"ALTER TABLE {table} RENAME TO {quote(new)}")
    return statements


def view_statements(
    view: str, table: str, columns: Sequence[str], renames: Mapping[str, str], *, invoker: bool
) -> list[str]:
    """Return the statements that create the view under a table's old name.

    Args:
        view: the old name, qualified and quoted.
        table: the new one.
        columns: the columns, by their old names.
        renames: the names that the table has for them, where they differ.
        invoker: whether the view checks the rights of whoever uses it.
    """
    listed = ", ".join(
        f"{quote(renames[name])} AS {quote(name)}" if name in renames else quote(name)
        for name in columns
    )
    option = " WITH (security_invoker = true)" if invoker else ""
    comment = f"{MARK} {table}\n{json.dumps(dict(renames))}"
    return [
        f"CREATE VIEW {view}{option} AS SELECT {listed} FROM {table}",
        f"COMMENT ON VIEW {view} IS {literal(comment)}",
    ]


def qualified(schema: str, name: str) -> str:
    """Return a schema and a name, quoted."""
    return f"{quote(schema)}.{quote(name)}"
