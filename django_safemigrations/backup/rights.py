"""Which rights a dump needs, asked for before it begins, with what to type where one is missing."""

from __future__ import annotations

from django_safemigrations.exceptions import BackupFailed
from django_safemigrations.postgres.catalog import Catalog, quote

# pg_dump reads tables, sequences and the schemas that they are in; row security stops it.
UNREADABLE = """
SELECT CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN 'schema'
            WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN
              CASE WHEN c.relkind = 'S' THEN 'sequence' ELSE 'table' END
            ELSE 'rows' END,
       CASE WHEN NOT has_schema_privilege(n.oid, 'USAGE') THEN format('%I', n.nspname)
            ELSE format('%I.%I', n.nspname, c.relname) END
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S', 'm') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND n.nspname NOT LIKE 'pg\\_toast%' AND n.nspname NOT LIKE 'pg\\_temp%'
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e')
  AND (NOT has_schema_privilege(n.oid, 'USAGE') OR NOT has_table_privilege(c.oid, 'SELECT')
       OR (c.relrowsecurity AND row_security_active(c.oid)))
GROUP BY 1, 2 ORDER BY 1, 2
"""
SHOWN = 5


def refuse_unreadable(catalog: Catalog) -> None:
    """Raise unless this role can read the whole database, which pg_dump locks table by table.

    Args:
        catalog: the database.

    Raises:
        BackupFailed: names what can't be read, and what to grant.
    """
    found = catalog.rows(UNREADABLE)
    if not found:
        return
    role = quote(str(catalog.value("SELECT current_user")))
    grants = []
    for kind, name in found[:SHOWN]:
        if kind == "schema":
            grants.append(f"GRANT USAGE ON SCHEMA {name} TO {role};")
        elif kind == "rows":
            grants.append(f"ALTER ROLE {role} BYPASSRLS;  -- {name} has row security")
        else:
            grants.append(f"GRANT SELECT ON {kind.upper()} {name} TO {role};")
    more = len(found) - SHOWN
    names = ", ".join(name for _, name in found[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    raise BackupFailed(
        "\n".join(
            [
                f"No backup was taken: role {role} may not read {names}. As the owner, type:",
                *(f"  {grant}" for grant in dict.fromkeys(grants)),
                f"or, as a superuser, for all of them: GRANT pg_read_all_data TO {role};",
            ]
        )
    )
