"""The catalogue of a database as comparable text: what must be equal to plain Django's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol, TypeAlias

EXCLUDED = (
    "the order of columns",
    "the names of PostgreSQL 18's NOT NULL constraints",
    "the names, and before PostgreSQL 18 the validity, that a foreign key of or to a"
    " partitioned table has on its partitions",
    "the tables of django_safemigrations (its ledger) and django_migrations",
)
"""Everything that a comparison leaves out; nothing else may differ."""

Fingerprint: TypeAlias = dict[str, str]
"""Definition by identity, such as `index crm.order_idx` -> `CREATE INDEX … valid`."""


class Session(Protocol):
    """Anything with a DB-API cursor: a Django or a psycopg connection."""

    def cursor(self) -> Any: ...


# Relations that are looked at: not system, not ours, not an extension's.
RELATIONS = """
    ledger AS MATERIALIZED (
        SELECT c.oid FROM pg_class c
        WHERE c.relkind = 'r' AND c.relname ~ '^django_(safemigrations_|migrations$)'
    ),
    relations AS MATERIALIZED (
        SELECT c.*, format('%I.%I', n.nspname, c.relname) AS name
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
        AND c.oid NOT IN (SELECT oid FROM ledger)
        AND c.oid NOT IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (TABLE ledger))
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                        AND d.objid = c.oid AND (d.deptype = 'e' OR c.relkind = 'S'
                        AND d.deptype IN ('a', 'i') AND d.refobjid IN (TABLE ledger)))
    ),
    functions AS MATERIALIZED (
        SELECT p.*, format('%I.%I(%s)', n.nspname, p.proname,
                                  pg_get_function_identity_arguments(p.oid)) AS name
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                        AND d.objid = p.oid AND d.deptype = 'e')
    )
"""

PARTS = {
    "relation": """
        SELECT r.name, concat_ws(', ', 'kind ' || r.relkind::text,
            'persistence ' || r.relpersistence::text, 'owner ' || r.relowner::regrole::text,
            'tablespace ' || nullif(r.reltablespace, 0)::text, 'options ' || r.reloptions::text,
            'replica identity ' || r.relreplident::text,
            'row security ' || nullif(r.relrowsecurity, false)::text,
            'forced ' || nullif(r.relforcerowsecurity, false)::text,
            'grants ' || r.relacl::text,
            'comment ' || quote_literal(obj_description(r.oid, 'pg_class')),
            'partition ' || pg_get_expr(r.relpartbound, r.oid),
            'partitioned by ' || pg_get_partkeydef(r.oid),
            CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END)
        FROM relations r WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')""",
    "column": """
        SELECT r.name || '.' || quote_ident(a.attname), concat_ws(', ',
            format_type(a.atttypid, a.atttypmod),
            'collation ' || CASE WHEN a.attcollation <> t.typcollation THEN l.collname END,
            CASE WHEN a.attnotnull THEN 'not null' END,
            (SELECT 'not valid' FROM pg_constraint k WHERE k.conrelid = r.oid
             AND k.contype = 'n' AND k.conkey = ARRAY[a.attnum] AND NOT k.convalidated),
            'default ' || pg_get_expr(d.adbin, d.adrelid),
            'identity ' || nullif(a.attidentity::text, ''),
            'generated ' || nullif(a.attgenerated::text, ''),
            'storage ' || a.attstorage::text, 'compression ' || nullif(a.attcompression::text, ''),
            'options ' || a.attoptions::text, 'grants ' || a.attacl::text,
            'comment ' || quote_literal(col_description(r.oid, a.attnum)))
        FROM relations r JOIN pg_attribute a ON a.attrelid = r.oid
        JOIN pg_type t ON t.oid = a.atttypid
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        LEFT JOIN pg_attrdef d ON d.adrelid = r.oid AND d.adnum = a.attnum
        WHERE r.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
        AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraint": """
        SELECT r.name || '.' || CASE WHEN k.contype = 'f' AND k.conparentid <> 0
                                THEN replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')
                                ELSE quote_ident(k.conname) END,
            concat_ws(', ',
            CASE WHEN k.conparentid <> 0 THEN replace(pg_get_constraintdef(k.oid), ' NOT VALID', '')
                 ELSE pg_get_constraintdef(k.oid) END,
            CASE WHEN NOT k.convalidated AND k.conparentid = 0 THEN 'not validated' END,
            CASE WHEN k.condeferrable THEN 'deferrable' END,
            CASE WHEN k.condeferred THEN 'deferred' END,
            'comment ' || quote_literal(obj_description(k.oid, 'pg_constraint')))
        FROM relations r JOIN pg_constraint k ON k.conrelid = r.oid
        WHERE k.contype NOT IN ('n', 't')""",
    "index": """
        SELECT r.name, concat_ws(', ', pg_get_indexdef(i.indexrelid),
            CASE WHEN NOT i.indisvalid THEN 'INVALID' END,
            CASE WHEN NOT i.indisready THEN 'not ready' END,
            CASE WHEN NOT i.indislive THEN 'not live' END,
            CASE WHEN NOT i.indimmediate THEN 'not immediate' END,
            CASE WHEN i.indisclustered THEN 'clustered' END,
            CASE WHEN i.indisreplident THEN 'replica identity' END,
            'tablespace ' || nullif(r.reltablespace, 0)::text,
            'comment ' || quote_literal(obj_description(r.oid, 'pg_class')))
        FROM relations r JOIN pg_index i ON i.indexrelid = r.oid""",
    "trigger": """
        SELECT r.name || '.' || quote_ident(g.tgname),
            concat_ws(', ', pg_get_triggerdef(g.oid), 'enabled ' || g.tgenabled::text,
            'comment ' || quote_literal(obj_description(g.oid, 'pg_trigger')))
        FROM relations r JOIN pg_trigger g ON g.tgrelid = r.oid WHERE NOT g.tgisinternal""",
    "function": """
        SELECT f.name, concat_ws(', ',
            CASE WHEN f.prokind IN ('f', 'p') THEN pg_get_functiondef(f.oid)
                 ELSE 'kind ' || f.prokind::text END,
            'owner ' || f.proowner::regrole::text, 'grants ' || f.proacl::text,
            'comment ' || quote_literal(obj_description(f.oid, 'pg_proc')))
        FROM functions f""",
    "sequence": """
        SELECT r.name, concat_ws(', ', format_type(s.seqtypid, NULL),
            format('start %s by %s from %s to %s cache %s cycle %s', s.seqstart, s.seqincrement,
                   s.seqmin, s.seqmax, s.seqcache, s.seqcycle),
            'grants ' || r.relacl::text,
            (SELECT format('owned by %s.%I (%s)', d.refobjid::regclass, a.attname, d.deptype)
                FROM pg_depend d JOIN pg_attribute a
                ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
                WHERE d.classid = 'pg_class'::regclass AND d.objid = r.oid
                AND d.deptype IN ('a', 'i')))
        FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid""",
    "policy": """
        SELECT r.name || '.' || quote_ident(p.polname), concat_ws(', ', p.polcmd::text,
            CASE WHEN p.polpermissive THEN 'permissive' END,
            'to ' || p.polroles::regrole[]::text, 'using ' || pg_get_expr(p.polqual, r.oid),
            'check ' || pg_get_expr(p.polwithcheck, r.oid))
        FROM relations r JOIN pg_policy p ON p.polrelid = r.oid""",
    "rule": """
        SELECT r.name || '.' || quote_ident(w.rulename), pg_get_ruledef(w.oid)
        FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid
        WHERE w.rulename <> '_RETURN'""",
    "statistics": """
        SELECT r.name || '.' || quote_ident(x.stxname), pg_get_statisticsobjdef(x.oid)
        FROM relations r JOIN pg_statistic_ext x ON x.stxrelid = r.oid""",
    "schema": """
        SELECT quote_ident(n.nspname),
            concat_ws(', ', 'owner ' || n.nspowner::regrole::text, 'grants ' || n.nspacl::text)
        FROM pg_namespace n
        WHERE n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'""",
}


def fingerprint(session: Session) -> Fingerprint:
    """Return every object of the session's database with its full definition."""
    union = " UNION ALL ".join(
        f"SELECT '{part} ' || o.name, coalesce(o.def, '') FROM ({query}) AS o(name, def)"
        for part, query in PARTS.items()
    )
    with session.cursor() as cursor:
        cursor.execute(f"WITH {RELATIONS} {union}")
        objects = cursor.fetchall()
    found = dict(objects)
    if len(found) != len(objects):
        raise AssertionError("two objects have the same identity in the fingerprint")
    return found


def diff(got: Mapping[str, str], wanted: Mapping[str, str]) -> list[str]:
    """Return one readable line for each object that is missing, extra or different."""
    lines = []
    for identity in sorted({*got, *wanted}):
        if identity not in got:
            lines.append(f"missing {identity}: {wanted[identity]}")
        elif identity not in wanted:
            lines.append(f"extra {identity}: {got[identity]}")
        elif got[identity] != wanted[identity]:
            lines.append(
                f"different {identity}:\n    got    {got[identity]}\n    wanted {wanted[identity]}"
            )
    return lines


def rows(session: Session, leave_out: Collection[str] = ()) -> dict[str, str]:
    """Return the rows of every table as `row schema.table n` -> JSON, in a fixed order.

    Args:
        session: the database to read.
        leave_out: columns whose values are not repeatable, as `table.column`; they
            are compared by being NULL or not.
    """
    found: dict[str, str] = {}
    with session.cursor() as cursor:
        cursor.execute(
            f"WITH {RELATIONS} SELECT name, relname FROM relations"
            " WHERE relkind = 'r' OR relkind = 'p' ORDER BY name"
        )
        for name, table in cursor.fetchall():
            hidden = [entry.split(".")[1] for entry in leave_out if entry.split(".")[0] == table]
            row = "to_jsonb(t)" + "".join(
                # A column may come or go with the case.
                f" || CASE WHEN jsonb_exists(to_jsonb(t), '{column}') THEN"
                f" jsonb_build_object('{column}', to_jsonb(t) ->> '{column}' IS NULL)"
                " ELSE '{}' END"
                for column in hidden
            )
            cursor.execute(f"SELECT ({row})::text FROM {name} t ORDER BY 1")
            for number, (text,) in enumerate(cursor.fetchall()):
                found[f"row {name} {number}"] = text
    return found
