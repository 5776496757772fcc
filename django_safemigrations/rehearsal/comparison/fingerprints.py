"""The whole catalog of a database as comparable text."""

from __future__ import annotations

from typing import TypeAlias

from django_safemigrations.rehearsal.comparison.code_parts import CODE_PARTS
from django_safemigrations.rehearsal.comparison.sessions import Session, fixed_settings
from django_safemigrations.rehearsal.comparison.table_parts import OBJECTS, TABLE_PARTS

EXCLUDED = (
    "the order of columns",
    "the names of PostgreSQL 18's NOT NULL constraints",
    "the names, and before PostgreSQL 18 the validity, that a foreign key of or to a"
    " partitioned table has on its partitions",
    "the tables of django_safemigrations (its ledger) and django_migrations",
    "objects of extensions; the extensions themselves are compared by version",
    "what a sequence has counted to",
    "settings that were given to a database or a role, subscriptions, security labels",
)
"""Everything that a comparison of schemas leaves out; nothing else may differ."""

Fingerprint: TypeAlias = dict[str, str]
"""Definition by identity: `index public.order_idx` -> a JSON object of its parts."""


def fingerprint(session: Session) -> Fingerprint:
    """Return every object of the session's database with its full definition.

    The same objects give the same text in every database of a server, whatever the
    session's search_path and formats.

    Args:
        session: a Django or psycopg connection.

    Locks: ACCESS SHARE on system catalogs, for one statement.
    """
    union = "\nUNION ALL ".join(
        f"SELECT '{part}', o.name, o.parts FROM ({query}) AS o(name, parts)"
        for part, query in {**TABLE_PARTS, **CODE_PARTS}.items()
    )
    with fixed_settings(session) as cursor:
        cursor.execute(
            "SELECT kind, name, jsonb_strip_nulls(parts)::text"
            f" FROM (WITH {OBJECTS} {union}) AS f(kind, name, parts) ORDER BY 1, 2, 3"
        )
        objects = cursor.fetchall()
    found: Fingerprint = {}
    for kind, name, definition in objects:
        identity, number = f"{kind} {name}", 1
        while identity in found:
            # Foreign keys of partitions go by what they say, and may say the same.
            number += 1
            identity = f"{kind} {name} ({number})"
        found[identity] = definition
    return found
