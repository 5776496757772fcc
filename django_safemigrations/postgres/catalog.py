"""What the catalog says of one table, always by OID: names alone mislead across schemas and cases."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper

from django_safemigrations.exceptions import UnsupportedChange


@dataclass(frozen=True)
class Table:
    """A table as the session's search_path resolves it."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class.relkind: 'r' table, 'p' partitioned table, 'v' view, …"""
    is_partition: bool
    qualified: str
    """Schema and name, quoted, ready to be put into SQL."""


@dataclass(frozen=True)
class Column:
    """A column and everything of it that a faithful copy has to have."""

    attnum: int
    name: str
    type: str
    type_oid: int
    type_schema: str
    collation: str | None
    """Quoted name of a collation that is not its type's default."""
    deterministic: bool
    not_null: bool
    default: str | None
    comment: str | None
    identity: str
    generated: str
    statistics: int | None
    storage: str | None
    compression: str | None
    options: tuple[str, ...]


@dataclass(frozen=True)
class Index:
    """An index, valid or not, and the constraint that it backs."""

    oid: int
    schema: str
    name: str
    valid: bool
    unique: bool
    primary: bool
    immediate: bool
    nulls_distinct: bool
    tail: str
    """Its definition from the access method on: ``btree (lower(email)) WHERE …``."""
    constraint: str | None
    constraint_type: str | None
    deferrable: bool
    deferred: bool
    comment: str | None
    constraint_comment: str | None
    tablespace: str | None
    clustered: bool
    replica_identity: bool
    being_built: bool
    keys: tuple[str, ...]
    key_types: tuple[str, ...]
    predicate: str | None
    built_in: bool
    """Whether its expressions use nothing but what PostgreSQL brings along."""
    partitioned: bool
    """Whether it has no storage of its own, and is valid when every partition's part is."""
    part_of: int | None
    """OID of the partitioned index that it is attached to."""

    @property
    def qualified(self) -> str:
        """Schema and name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"


@dataclass(frozen=True)
class Check:
    """A CHECK constraint."""

    name: str
    definition: str
    validated: bool
    comment: str | None


@dataclass(frozen=True)
class ForeignKey:
    """A foreign key, by column names."""

    name: str
    table_oid: int
    table: str
    columns: tuple[str, ...]
    to_table_oid: int
    to_table: str
    to_columns: tuple[str, ...]
    on_update: str
    on_delete: str
    on_delete_columns: tuple[str, ...]
    match: str
    deferrable: bool
    deferred: bool
    validated: bool
    comment: str | None


def quote(name: str) -> str:
    """Quote one identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a string constant (standard_conforming_strings is on in every supported version)."""
    return "'" + text.replace("'", "''") + "'"


class Catalog:
    """Reads the catalog through one connection; never writes."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.connection = connection

    def rows(self, sql: str, params: tuple[Any, ...] | list[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query and return all its rows."""
        with self.connection.cursor() as cursor:
            # Without parameters nothing is interpolated, so a literal % stays as it is.
            cursor.execute(sql, params or None)
            return list(cursor.fetchall())

    def value(self, sql: str, params: tuple[Any, ...] | list[Any] = ()) -> Any:
        """Run a query and return the first column of its first row, or None."""
        rows = self.rows(sql, params)
        return rows[0][0] if rows else None

    def find_table(self, db_table: str) -> Table | None:
        """Return the table that a model's db_table names, or None.

        Args:
            db_table: as in ``Meta.db_table``; the forms ``schema"."table`` and
                ``"schema"."table"`` name a table of another schema.
        """
        rows = self.rows(
            """
            SELECT c.oid::bigint, n.nspname, c.relname, c.relkind, c.relispartition,
                   format('%%I.%%I', n.nspname, c.relname)
            FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE c.oid = to_regclass(%s)
            """,
            [self.connection.ops.quote_name(db_table)],
        )
        return Table(*rows[0]) if rows else None

    def table(self, db_table: str) -> Table:
        """Return the table that a model's db_table names.

        Raises:
            UnsupportedChange: there is no such table, or it isn't an ordinary table.
        """
        table = self.find_table(db_table)
        if table is None:
            raise UnsupportedChange(
                f"Table {self.connection.ops.quote_name(db_table)} does not exist in the search_path "
                "of this connection. Apply the migrations before this one, or correct db_table."
            )
        return table

    def has_pages(self, db_table: str) -> bool:
        """Whether the table may hold a row: it is there, and is no table that was never written to.

        Args:
            db_table: as for `find_table`.
        """
        found = self.value(
            "SELECT relkind <> 'r' OR pg_relation_size(oid) > 0 FROM pg_class"
            " WHERE oid = to_regclass(%s)",
            [self.connection.ops.quote_name(db_table)],
        )
        return bool(found)

    def is_empty(self, table: Table) -> bool:
        """Whether the table has no row (an instant look; take a lock to be sure)."""
        return not self.value(f"SELECT EXISTS (SELECT FROM {table.qualified})")

    def column(self, table: Table, name: str) -> Column | None:
        """Return a column, or None if the table has none of that name."""
        rows = self.rows(
            """
            SELECT a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.atttypid::bigint,
                   tn.nspname,
                   CASE WHEN a.attcollation <> t.typcollation AND a.attcollation <> 0
                        THEN format('%%I.%%I', cn.nspname, c.collname) END,
                   coalesce(c.collisdeterministic, true), a.attnotnull,
                   CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END,
                   col_description(a.attrelid, a.attnum), a.attidentity, a.attgenerated,
                   nullif(a.attstattarget, -1),
                   CASE WHEN a.attstorage <> t.typstorage THEN
                     CASE a.attstorage WHEN 'p' THEN 'PLAIN' WHEN 'e' THEN 'EXTERNAL'
                       WHEN 'm' THEN 'MAIN' ELSE 'EXTENDED' END END,
                   CASE a.attcompression WHEN 'p' THEN 'pglz' WHEN 'l' THEN 'lz4' END,
                   coalesce(a.attoptions, '{}')
            FROM pg_attribute a
            JOIN pg_type t ON t.oid = a.atttypid
            JOIN pg_namespace tn ON tn.oid = t.typnamespace
            LEFT JOIN pg_collation c ON c.oid = a.attcollation
            LEFT JOIN pg_namespace cn ON cn.oid = c.collnamespace
            LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
            WHERE a.attrelid = %s AND a.attname = %s AND a.attnum > 0 AND NOT a.attisdropped
            """,
            [table.oid, name],
        )
        if not rows:
            return None
        *values, options = rows[0]
        read: list[Any] = [*values, tuple(options)]
        return Column(*read)

    def not_null_is_proven(self, table: Table, column: str) -> bool:
        """Whether NOT NULL is set and, on PostgreSQL 18, validated."""
        found = self.column(table, column)
        if found is None or not found.not_null:
            return False
        return not self.value(
            """
            SELECT EXISTS (SELECT FROM pg_constraint
                           WHERE conrelid = %s AND contype = 'n' AND NOT convalidated
                             AND conkey = ARRAY[%s]::int2[])
            """,
            [table.oid, found.attnum],
        )

    def primary_key(self, table: Table) -> list[tuple[str, str]]:
        """Return name and type of the primary key's columns, or of a NOT NULL unique index's."""
        rows = self.rows(
            """
            SELECT a.attname, format_type(a.atttypid, a.atttypmod)
            FROM (SELECT * FROM pg_index i
                  WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate
                    AND i.indpred IS NULL AND i.indexprs IS NULL
                    AND NOT EXISTS (SELECT FROM pg_attribute k
                                    WHERE k.attrelid = i.indrelid
                                      AND k.attnum = ANY (i.indkey[0:i.indnkeyatts - 1])
                                      AND NOT k.attnotnull)
                  ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid LIMIT 1) i
            CROSS JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) WITH ORDINALITY AS k (attnum, n)
            JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
            ORDER BY k.n
            """,
            [table.oid],
        )
        return [(name, type_) for name, type_ in rows]

    def some_keys(self, table: Table, condition: str) -> str:
        """Return the keys of a few rows that meet a condition, for messages: " (id = 1; 7)"."""
        key = [name for name, _ in self.primary_key(table)]
        if not key:
            return ""
        rows = self.rows(
            f"SELECT concat_ws(', ', {', '.join(map(quote, key))}) FROM {table.qualified} "
            f"WHERE {condition} LIMIT 6"
        )
        shown = "; ".join(row[0] for row in rows[:5]) + (", …" if len(rows) > 5 else "")
        return f" ({', '.join(key)} = {shown})"

    def indexes(self, table: Table, column: str | None = None) -> list[Index]:
        """Return the table's indexes, or those that use a column in keys, expressions or WHERE."""
        rows = self.rows(
            """
            SELECT i.indexrelid::bigint, n.nspname, c.relname, i.indisvalid AND i.indisready,
                   i.indisunique, i.indisprimary, i.indimmediate,
                   -- PostgreSQL 14 has neither this column nor confdelsetcols below.
                   NOT coalesce((to_jsonb(i) ->> 'indnullsnotdistinct')::bool, false),
                   pg_get_indexdef(i.indexrelid),
                   format('CREATE %%sINDEX %%I ON %%s%%I.%%I USING ',
                          CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname,
                          CASE WHEN c.relkind = 'I' THEN 'ONLY ' ELSE '' END,
                          tn.nspname, t.relname),
                   k.conname, k.contype, coalesce(k.condeferrable, false),
                   coalesce(k.condeferred, false),
                   obj_description(c.oid, 'pg_class'), obj_description(k.oid, 'pg_constraint'),
                   s.spcname, i.indisclustered, i.indisreplident,
                   -- Of another role's build only its pid is shown, but locks are shown to all:
                   -- a concurrent build holds this one from its beginning to its end.
                   EXISTS (SELECT FROM pg_stat_progress_create_index p
                           JOIN pg_locks l ON l.pid = p.pid
                           WHERE coalesce(p.index_relid, c.oid) = c.oid
                             AND p.pid <> pg_backend_pid()
                             AND l.locktype = 'relation' AND l.relation = i.indrelid
                             AND l.database = (SELECT oid FROM pg_database
                                               WHERE datname = current_database())
                             AND l.mode = 'ShareUpdateExclusiveLock' AND l.granted),
                   ARRAY(SELECT pg_get_indexdef(c.oid, a.attnum, false) FROM pg_attribute a
                         WHERE a.attrelid = c.oid AND a.attnum <= i.indnkeyatts ORDER BY a.attnum),
                   ARRAY(SELECT y.typname::text FROM pg_attribute a JOIN pg_type y
                         ON y.oid = a.atttypid AND y.typnamespace = 'pg_catalog'::regnamespace
                         WHERE a.attrelid = c.oid AND a.attnum <= i.indnkeyatts ORDER BY a.attnum),
                   pg_get_expr(i.indpred, i.indrelid),
                   -- Dependencies on what is built in are not recorded.
                   NOT EXISTS (SELECT FROM pg_depend d
                               WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                 AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass,
                                                      'pg_type'::regclass, 'pg_opclass'::regclass)),
                   c.relkind = 'I',
                   (SELECT h.inhparent::bigint FROM pg_inherits h WHERE h.inhrelid = c.oid)
            FROM pg_index i
            JOIN pg_class c ON c.oid = i.indexrelid
            JOIN pg_namespace n ON n.oid = c.relnamespace
            JOIN pg_class t ON t.oid = i.indrelid
            JOIN pg_namespace tn ON tn.oid = t.relnamespace
            LEFT JOIN pg_tablespace s ON s.oid = c.reltablespace
            LEFT JOIN pg_constraint k ON k.conindid = c.oid AND k.conrelid = i.indrelid
                                     AND k.contype IN ('p', 'u', 'x')
            WHERE i.indrelid = %s
              AND (%s::text IS NULL OR EXISTS (
                SELECT FROM pg_attribute a
                WHERE a.attrelid = i.indrelid AND a.attname = %s
                  AND (a.attnum = ANY (i.indkey)
                       OR EXISTS (SELECT FROM pg_depend d
                                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                                    AND d.refclassid = 'pg_class'::regclass
                                    AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum))))
            ORDER BY i.indexrelid
            """,
            [table.oid, column, column],
        )
        found = []
        for row in rows:
            definition, prefix = row[8], row[9]
            if not definition.startswith(prefix):
                raise UnsupportedChange(f"Can't read the definition of an index: {definition}")
            tail = definition[len(prefix) :]
            keys, key_types = tuple(row[20]), tuple(row[21])
            read: list[Any] = [*row[:8], tail, *row[10:20], keys, key_types, *row[22:]]
            found.append(Index(*read))
        return found

    def index(self, table: Table, name: str) -> Index | None:
        """Return the table's index of that name, or None."""
        return next((index for index in self.indexes(table) if index.name == name), None)

    def checks(self, table: Table, column: str | None = None) -> list[Check]:
        """Return the table's CHECK constraints, or those that use a column."""
        rows = self.rows(
            """
            SELECT k.conname, pg_get_constraintdef(k.oid), k.convalidated,
                   obj_description(k.oid, 'pg_constraint')
            FROM pg_constraint k
            WHERE k.conrelid = %s AND k.contype = 'c'
              AND (%s::text IS NULL OR EXISTS (SELECT FROM pg_attribute a
                WHERE a.attrelid = k.conrelid AND a.attname = %s AND a.attnum = ANY (k.conkey)))
            ORDER BY k.oid
            """,
            [table.oid, column, column],
        )
        return [Check(*row) for row in rows]

    def foreign_keys(self, table: Table, column: str) -> list[ForeignKey]:
        """Return the foreign keys from and to a column of the table."""
        rows = self.rows(
            """
            SELECT k.conname, k.conrelid::bigint, format('%%I.%%I', fn.nspname, f.relname),
                   ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u (n, i)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY i),
                   k.confrelid::bigint, format('%%I.%%I', tn.nspname, t.relname),
                   ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u (n, i)
                         JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY i),
                   k.confupdtype, k.confdeltype,
                   ARRAY(SELECT a.attname::text
                         FROM jsonb_array_elements_text(
                           CASE jsonb_typeof(to_jsonb(k) -> 'confdelsetcols')
                           WHEN 'array' THEN to_jsonb(k) -> 'confdelsetcols' ELSE '[]' END) u (n)
                         JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n::int2),
                   k.confmatchtype, k.condeferrable, k.condeferred, k.convalidated,
                   obj_description(k.oid, 'pg_constraint')
            FROM pg_constraint k
            JOIN pg_class f ON f.oid = k.conrelid JOIN pg_namespace fn ON fn.oid = f.relnamespace
            JOIN pg_class t ON t.oid = k.confrelid JOIN pg_namespace tn ON tn.oid = t.relnamespace
            WHERE k.contype = 'f' AND k.conparentid = 0
              AND EXISTS (SELECT FROM pg_attribute a
                          WHERE a.attrelid = %s AND a.attname = %s
                            AND ((k.conrelid = a.attrelid AND a.attnum = ANY (k.conkey))
                                 OR (k.confrelid = a.attrelid AND a.attnum = ANY (k.confkey))))
            ORDER BY k.oid
            """,
            [table.oid, column],
        )
        # Arrays come as lists; a frozen value holds tuples.
        read: list[list[Any]] = [
            [tuple(value) if isinstance(value, list) else value for value in row] for row in rows
        ]
        return [ForeignKey(*row) for row in read]

    def constraint_exists(self, table_oid: int, name: str) -> tuple[bool, bool]:
        """Return whether a table has a constraint of that name, and whether it is validated."""
        rows = self.rows(
            "SELECT convalidated FROM pg_constraint WHERE conrelid = %s AND conname = %s",
            [table_oid, name],
        )
        return bool(rows), bool(rows and rows[0][0])

    def unvalidated_checks(self, table: Table) -> list[tuple[str, str]]:
        """Return name and condition of the CHECKs that were added NOT VALID and never validated."""
        rows = self.rows(
            "SELECT conname, pg_get_expr(conbin, conrelid) FROM pg_constraint "
            "WHERE conrelid = %s AND contype = 'c' AND NOT convalidated ORDER BY conname",
            [table.oid],
        )
        return [(name, condition) for name, condition in rows]

    def sync_triggers(self, table: Table, column: str) -> list[str]:
        """Return the triggers of other renames that a column takes part in."""
        rows = self.rows(
            """
            SELECT DISTINCT g.tgname
            FROM pg_trigger g
            JOIN pg_depend d ON d.classid = 'pg_trigger'::regclass AND d.objid = g.oid
                            AND d.refobjid = g.tgrelid
            JOIN pg_attribute a ON a.attrelid = g.tgrelid AND a.attnum = d.refobjsubid
            WHERE g.tgrelid = %s AND a.attname = %s AND g.tgname LIKE 'zzz_dsm_sync_%%'
            """,
            [table.oid, column],
        )
        return [row[0] for row in rows]

    def trigger_exists(self, table: Table, name: str) -> bool:
        """Whether the table has a trigger of that name."""
        return bool(
            self.value(
                "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = %s AND tgname = %s)",
                [table.oid, name],
            )
        )

    def other_dependents(self, table: Table, column: str) -> list[str]:
        """Describe what depends on a column and is neither an index nor a constraint nor its default.

        Views, policies, generated columns, triggers with WHEN or UPDATE OF, extended
        statistics, publications with a column list, sequences owned by the column.
        """
        rows = self.rows(
            """
            SELECT DISTINCT pg_describe_object(
                     CASE WHEN w.oid IS NOT NULL THEN 'pg_class'::regclass ELSE d.classid END,
                     coalesce(w.ev_class, d.objid),
                     CASE WHEN w.oid IS NOT NULL THEN 0 ELSE d.objsubid END)
            FROM pg_depend d
            JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
            LEFT JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND w.oid = d.objid
            LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
            LEFT JOIN pg_attrdef f ON d.classid = 'pg_attrdef'::regclass AND f.oid = d.objid
            LEFT JOIN pg_trigger g ON d.classid = 'pg_trigger'::regclass AND g.oid = d.objid
            WHERE d.refclassid = 'pg_class'::regclass AND a.attrelid = %s AND a.attname = %s
              AND d.classid <> 'pg_constraint'::regclass
              AND (c.oid IS NULL OR c.relkind NOT IN ('i', 'I', 't'))
              AND (f.oid IS NULL OR f.adrelid <> a.attrelid OR f.adnum <> a.attnum)
              AND (g.oid IS NULL OR g.tgname NOT LIKE 'zz__dsm_%%')
              -- A view under a renamed table's old name does without the column when it goes.
              AND coalesce(obj_description(w.ev_class, 'pg_class'), '')
                  NOT LIKE 'django_safemigrations: %%'
            ORDER BY 1
            """,
            [table.oid, column],
        )
        return [row[0] for row in rows]

    def column_grants(self, table: Table, column: str) -> list[tuple[str, str, bool]]:
        """Return privilege, quoted grantee and grant option of a column's own grants."""
        rows = self.rows(
            """
            SELECT x.privilege_type,
                   CASE WHEN x.grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(x.grantee)) END,
                   x.is_grantable
            FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x
            WHERE a.attrelid = %s AND a.attname = %s AND a.attacl IS NOT NULL
            ORDER BY 1, 2
            """,
            [table.oid, column],
        )
        return [(privilege, grantee, bool(option)) for privilege, grantee, option in rows]
