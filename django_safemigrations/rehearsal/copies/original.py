"""What has to be known of the database that is copied, asked without touching it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django_safemigrations.exceptions import CopyRefused
from django_safemigrations.postgres.catalog import quote
from django_safemigrations.rehearsal.copies.scratch_server import AS_IN_PRODUCTION
from django_safemigrations.rehearsal.copies.sessions import Parameters, Session, column, place_of

DATABASE = """
SELECT d.datname, current_setting('server_version'),
       current_setting('server_version_num')::int / 10000, pg_database_size(d.oid),
       pg_encoding_to_char(d.encoding), d.datcollate, d.datctype,
       coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'),
       to_jsonb(d) ->> CASE WHEN to_jsonb(d) ? 'datlocale' THEN 'datlocale' ELSE 'daticulocale' END,
       current_user::text
FROM pg_database d WHERE d.datname = current_database()
"""
EXTENSIONS = "SELECT extname, extversion FROM pg_extension WHERE extname <> 'plpgsql' ORDER BY 1"
AVAILABLE = "SELECT name, default_version FROM pg_available_extensions"
SETTINGS = "SELECT name, reset_val FROM pg_settings WHERE name = ANY (%s)"
# Those of the database, and of the user who migrates in it: search_path above all.
OWN_SETTINGS = """
SELECT unnest(s.setconfig) FROM pg_db_role_setting s
WHERE (s.setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())
       AND s.setrole IN (0, (SELECT oid FROM pg_roles WHERE rolname = current_user)))
   OR (s.setdatabase = 0 AND s.setrole = (SELECT oid FROM pg_roles WHERE rolname = current_user))
ORDER BY s.setdatabase <> 0, s.setrole <> 0
"""
ROLES = "SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1"
# What is not ours to read: everything that pg_dump would lock or read.
UNREADABLE = """
SELECT n.nspname, c.relname, c.relkind = 'S',
       NOT has_schema_privilege(n.oid, 'USAGE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
  AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND (NOT has_schema_privilege(n.oid, 'USAGE')
       OR NOT CASE WHEN c.relkind = 'S' THEN has_sequence_privilege(c.oid, 'SELECT')
                   ELSE has_table_privilege(c.oid, 'SELECT') END)
ORDER BY 1, 2
"""
FILTERED = """
SELECT format('%I.%I', n.nspname, c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relrowsecurity AND n.nspname !~ '^pg_'
  AND row_security_active(c.oid)
ORDER BY 1
"""
LISTED = 10


@dataclass(frozen=True)
class Original:
    """The database that is copied.

    Attributes:
        name: its name.
        place: its host, for people.
        version: its server's, as that names itself.
        major: its major version.
        size: in bytes.
        encoding: such as "UTF8".
        collate: LC_COLLATE.
        ctype: LC_CTYPE.
        provider: of its locale: "c", "i" (ICU) or "b" (built in).
        locale: of that provider, if it is not "c".
        user: who connects.
        extensions: installed ones and their versions.
        settings: of its server, where they matter.
        own_settings: of the database and of the user, as "name=value".
        roles: names of roles.
    """

    name: str
    place: str
    version: str
    major: int
    size: int
    encoding: str
    collate: str
    ctype: str
    provider: str
    locale: str | None
    user: str
    extensions: dict[str, str]
    settings: dict[str, str]
    own_settings: tuple[str, ...]
    roles: tuple[str, ...]

    @property
    def described(self) -> str:
        """Name and host."""
        return f"{self.name} on {self.place}"


def look_at(session: Session, parameters: Parameters) -> Original:
    """Return what is known of a session's database."""
    row = session.execute(DATABASE).fetchone()
    assert row is not None
    name, version, major, size, encoding, collate, ctype, provider, locale, user = row
    return Original(
        name,
        place_of(parameters),
        version,
        major,
        size,
        encoding,
        collate,
        ctype,
        provider,
        locale,
        user,
        dict(_pairs(session, EXTENSIONS)),
        dict(_pairs(session, SETTINGS, [list(AS_IN_PRODUCTION)])),
        tuple(column(session, OWN_SETTINGS)),
        tuple(column(session, ROLES)),
    )


def require_readable(session: Session, original: Original) -> None:
    """Raise unless every row can be read.

    Raises:
        CopyRefused: a privilege is missing, or row-level security hides rows; says what to type.
    """
    unreadable = session.execute(UNREADABLE).fetchall()
    user = quote(original.user)
    if unreadable:
        names = [f"{quote(schema)}.{quote(name)}" for schema, name, _, _ in unreadable]
        grants = [
            f"GRANT USAGE ON SCHEMA {quote(schema)} TO {user};"
            for schema in dict.fromkeys(s for s, _, _, closed in unreadable if closed)
        ]
        for kind, sequences in (("TABLES", False), ("SEQUENCES", True)):
            grants += [
                f"GRANT SELECT ON ALL {kind} IN SCHEMA {quote(schema)} TO {user};"
                for schema in dict.fromkeys(
                    s for s, _, is_seq, _ in unreadable if is_seq is sequences
                )
            ]
        raise CopyRefused(
            f"{original.user} may not read {_some(names)} in {original.described}, so it can't "
            "be copied. Let their owner type:\n"
            + "\n".join(f"  {grant}" for grant in grants)
            + f"\nor, for everything there is: GRANT pg_read_all_data TO {user};"
        )
    filtered = column(session, FILTERED)
    if filtered:
        raise CopyRefused(
            f"Row-level security hides rows of {_some(filtered)} from {original.user}, so a copy "
            "would not be whole. Let a superuser type:\n"
            f"  ALTER ROLE {user} BYPASSRLS;\n"
            "or copy from a database that shows them: SAFE_MIGRATIONS['REHEARSAL']['SOURCE'] = "
            '"existing" or "template".'
        )


def require_extensions(session: Session, original: Original, server: str) -> tuple[str, ...]:
    """Raise unless a server has the extensions of the original.

    Args:
        session: on the copy's server.
        original: the database that is copied.
        server: what people call that server.

    Returns:
        notes on versions that differ.

    Raises:
        CopyRefused: some are missing.
    """
    available = dict(_pairs(session, AVAILABLE))
    missing = [name for name in original.extensions if name not in available]
    if missing:
        raise CopyRefused(
            f"{original.described} uses the extension{'s' if len(missing) > 1 else ''} "
            f"{', '.join(missing)}, which {server} does not have. Install "
            f"{'them' if len(missing) > 1 else 'it'} there, or name a server that has "
            f"{'them' if len(missing) > 1 else 'it'} in SAFE_MIGRATIONS['REHEARSAL']['SERVER']."
        )
    return tuple(
        f"extension {name} is {available[name]} on the copy, and {version} in production"
        for name, version in original.extensions.items()
        if available[name] != version
    )


def _pairs(session: Session, query: str, arguments: Any = None) -> list[tuple[Any, Any]]:
    return [(row[0], row[1]) for row in session.execute(query, arguments)]


def _some(names: list[str]) -> str:
    more = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {more} more" if more > 0 else "")
