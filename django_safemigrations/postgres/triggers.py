"""SQL of the triggers that let old and new code write at the same time.

Bodies use operators of pg_catalog only, so that no search_path can change what they do.
https://www.postgresql.org/docs/current/plpgsql-trigger.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django_safemigrations.postgres.catalog import Column, Index, Table, quote
from django_safemigrations.postgres.conversions import Both
from django_safemigrations.postgres.names import fill_name, sync_name, trigger_name

# Equal values of these types are the same value, bit by bit; for all others (numeric's
# 1.0 and 1.00, citext, json without any equality, nondeterministic collations) the
# images are compared, or a change of the image would not be carried over.
EXACT_TYPES = frozenset(
    [
        "int2",
        "int4",
        "int8",
        "bool",
        "text",
        "varchar",
        "date",
        "timestamp",
        "timestamptz",
        "time",
        "uuid",
        "bytea",
        "oid",
    ]
)
EXACT_TYPE_NAMES = {
    "smallint": "int2",
    "integer": "int4",
    "bigint": "int8",
    "boolean": "bool",
    "character varying": "varchar",
    "timestamp without time zone": "timestamp",
    "timestamp with time zone": "timestamptz",
    "time without time zone": "time",
}
# Types whose equality and hash agree and are found in pg_catalog whatever the search_path.
HASHABLE_TYPES = EXACT_TYPES | frozenset(
    ["bpchar", "numeric", "inet", "cidr", "macaddr", "jsonb", "float4", "float8", "interval"]
)
# PostgreSQL reserves 64 lock slots a connection (max_locks_per_transaction); a bulk insert
# must not take them all.
MOST_KEY_LOCKS = 32


def is_exact(column: Column) -> bool:
    """Whether IS DISTINCT FROM sees every change of a value of this column."""
    base = column.type.partition("(")[0]
    return (
        column.type_schema == "pg_catalog"
        and EXACT_TYPE_NAMES.get(base, base) in EXACT_TYPES
        and column.deterministic
    )


def distinct(left: str, right: str, column: Column) -> str:
    """Return a condition that is true when two values of a column differ in any bit."""
    if is_exact(column):
        return f"{left} IS DISTINCT FROM {right}"
    # As a function: two ROWs around an operator would be compared column by column.
    return f"pg_catalog.record_image_ne(ROW({left}), ROW({right}))"


@dataclass(frozen=True)
class TriggerFunction:
    """A trigger function and its triggers on one table."""

    schema: str
    name: str
    body: str
    table: str
    triggers: tuple[tuple[str, str, str], ...]
    """Name, event and WHEN condition (or an empty text) of each trigger."""
    conversions: tuple[Both, ...] = ()
    """Conversions whose functions the body calls; they come and go with it."""

    @property
    def qualified(self) -> str:
        """Schema and name, quoted."""
        return f"{quote(self.schema)}.{quote(self.name)}"

    def create(self) -> list[str]:
        """Return the statements that create function and triggers, or replace them.

        Locks: SHARE ROW EXCLUSIVE on the table (writes wait), no scan.
        """
        statements = [
            sql
            for both in self.conversions
            for way in (both.there, both.back)
            for sql in way.create()
        ]
        statements.append(self.create_function())
        for name, event, condition in self.triggers:
            when = f"WHEN ({condition}) " if condition else ""
            statements.append(
                f"CREATE OR REPLACE TRIGGER {quote(name)} {event} ON {self.table} "
                f"FOR EACH ROW {when}EXECUTE FUNCTION {self.qualified}()"
            )
            # Also in sessions that apply a logical replication stream or a restore.
            statements.append(f"ALTER TABLE {self.table} ENABLE ALWAYS TRIGGER {quote(name)}")
        return statements

    def create_function(self) -> str:
        """Return the statement that creates or replaces the function alone; it locks no table."""
        tag = "$dsm$"
        while tag in self.body:
            tag = f"$dsm_{tag.count('_')}_$"
        return (
            f"CREATE OR REPLACE FUNCTION {self.qualified}() RETURNS trigger "
            f"LANGUAGE plpgsql AS {tag}\n{self.body}{tag}"
        )

    def drop(self) -> list[str]:
        """Return the statements that drop triggers and function.

        Locks: ACCESS EXCLUSIVE on the table, no scan.
        """
        return [
            *(
                f"DROP TRIGGER IF EXISTS {quote(name)} ON {self.table}"
                for name, _, _ in self.triggers
            ),
            f"DROP FUNCTION IF EXISTS {self.qualified}()",
            *(
                sql
                for both in self.conversions
                for way in (both.there, both.back)
                for sql in way.drop()
            ),
        ]


def sync_trigger(
    table: Table,
    columns: Sequence[tuple[Column, str]],
    unique_indexes: Sequence[Index] = (),
    conversions: Mapping[str, Both] | None = None,
) -> TriggerFunction:
    """Return the trigger that keeps columns equal to the ones that take their places.

    INSERT: a value in the new column wins, else the old one's (or its default) is taken.
    UPDATE: the column that changed wins; the new one if both did; a NULL new column
    beside a set old one has not been filled yet and is filled.

    Args:
        table: the table.
        columns: each column that exists, and the name of the one that takes its place.
        unique_indexes: unique indexes over the old columns, whose keys are serialised,
            see `lock_key`.
        conversions: by the name of the old column, the ways to one of another type and back.
    """
    converted = conversions or {}
    function = sync_name(table.name, [name for old, new in columns for name in (old.name, new)])
    blocks = "".join(
        _convert(old, new, converted[old.name]) if old.name in converted else _sync(old, new)
        for old, new in columns
    )
    serialise = "".join(lock_key(table, columns, index) for index in unique_indexes)
    body = (
        "-- Keeps columns equal while old and new code run side by side.\n"
        "#variable_conflict use_column\n"
        f"BEGIN\n{blocks}{serialise}  RETURN NEW;\nEND\n"
    )
    changed = " OR ".join(
        condition
        for old, new in columns
        for condition in _to_look_at(old, new, converted.get(old.name))
    )
    return TriggerFunction(
        conversions=tuple(converted.values()),
        schema=table.schema,
        name=function,
        body=body,
        table=table.qualified,
        triggers=(
            (trigger_name(function, "ins"), "BEFORE INSERT", ""),
            # WHEN and not UPDATE OF: it sees what other triggers changed, and rows that are
            # touched for another reason are healed.
            (trigger_name(function, "upd"), "BEFORE UPDATE", changed),
        ),
    )


def _to_look_at(old: Column, new: str, both: Both | None) -> list[str]:
    """Return the conditions under which an UPDATE may leave two columns unlike each other."""
    a, b = quote(old.name), quote(new)
    conditions = [
        distinct(f"NEW.{a}", f"OLD.{a}", old),
        distinct(f"NEW.{b}", f"OLD.{b}", both.target if both else old),
    ]
    if both is None:
        conditions.append(distinct(f"NEW.{a}", f"NEW.{b}", old))
    else:
        conditions.append(f"(NEW.{b} IS NULL AND NEW.{a} IS NOT NULL)")
    return conditions


def _convert(old: Column, new: str, both: Both) -> str:
    """Return the part of the body that keeps two columns of different types in step.

    What changed wins, as in `_sync`. A new value that is what the old one converts to is
    no change: converted back it could lose what only the old type can hold.
    """
    a, b = quote(old.name), quote(new)
    there, back = both.there.of(f"NEW.{a}"), both.back.of(f"NEW.{b}")
    unlike = distinct(f"NEW.{b}", there, both.target)
    return (
        "  IF TG_OP = 'INSERT' THEN\n"
        f"    IF NEW.{b} IS NULL THEN NEW.{b} := {there};\n"
        f"    ELSIF {unlike} THEN NEW.{a} := {back}; END IF;\n"
        f"  ELSIF {distinct(f'NEW.{b}', f'OLD.{b}', both.target)} THEN\n"
        f"    IF {unlike} THEN NEW.{a} := {back}; END IF;\n"
        f"  ELSIF {distinct(f'NEW.{a}', f'OLD.{a}', old)} OR NEW.{b} IS NULL THEN\n"
        f"    NEW.{b} := {there};\n"
        "  END IF;\n"
    )


def _sync(old: Column, new: str) -> str:
    """Return the part of the body that keeps two columns equal."""
    a, b = quote(old.name), quote(new)
    return (
        "  IF TG_OP = 'INSERT' THEN\n"
        f"    IF NEW.{b} IS NULL THEN NEW.{b} := NEW.{a}; ELSE NEW.{a} := NEW.{b}; END IF;\n"
        f"  ELSIF {distinct(f'NEW.{b}', f'OLD.{b}', old)} THEN NEW.{a} := NEW.{b};\n"
        f"  ELSIF {distinct(f'NEW.{a}', f'OLD.{a}', old)} THEN NEW.{b} := NEW.{a};\n"
        f"  ELSIF NEW.{b} IS NULL THEN NEW.{b} := NEW.{a};\n"
        "  END IF;\n"
    )


def lock_key(table: Table, columns: Sequence[tuple[Column, str]], index: Index) -> str:
    """Return the part of the body that lets one transaction at a time insert a new key.

    With two unique indexes in step, two concurrent INSERT … ON CONFLICT DO UPDATE of the
    same key can raise on the index that their ON CONFLICT does not name: PostgreSQL
    protects only the named one. A transaction lock on the key makes the second wait, as
    it would have waited on the index. It is taken only for keys that are not there yet,
    and for few keys a transaction. A row that has the key is locked instead, as the upsert
    is about to: a look without a lock can miss one that is being updated.
    """
    hashable = len(index.key_types) == len(index.keys) and set(index.key_types) <= HASHABLE_TYPES
    if not index.immediate or not hashable or not index.built_in:
        # A deferrable index can't be named by ON CONFLICT. What is not PostgreSQL's own is
        # found through a search_path, which is the session's and may lead elsewhere.
        return ""
    values = [_of_new(key) for key in index.keys]
    present = " AND ".join(f"{k} = {v}" for k, v in zip(index.keys, values, strict=True))
    if index.predicate is not None:
        present += f" AND ({index.predicate})"
    changed = " OR ".join(
        distinct(f"NEW.{quote(old.name)}", f"OLD.{quote(old.name)}", old) for old, _ in columns
    )
    guard = [f"(TG_OP = 'INSERT' OR {changed})"]
    if index.predicate is not None:
        guard.append(f"(SELECT {index.predicate} FROM (SELECT NEW.*) AS r)")
    if index.nulls_distinct:
        guard += [f"{value} IS NOT NULL" for value in values]
    taken = "pg_catalog.current_setting('django_safemigrations.key_locks', true)"
    count = f"coalesce(nullif({taken}, ''), '0')::int"
    # A role that may write but not read the table must still be able to write: the look is
    # only planned, and its rights only checked, where the outer conditions hold.
    return (
        f"  IF {' AND '.join(guard)} AND {count} < {MOST_KEY_LOCKS}\n"
        f"     AND pg_catalog.has_table_privilege({table.oid}, 'SELECT') THEN\n"
        f"    IF pg_catalog.has_table_privilege({table.oid}, 'UPDATE') THEN\n"
        f"      PERFORM FROM {table.qualified} WHERE {present} FOR NO KEY UPDATE;\n"
        f"    ELSE\n      PERFORM FROM {table.qualified} WHERE {present};\n    END IF;\n"
        "    IF NOT FOUND THEN\n"
        "      PERFORM pg_catalog.pg_advisory_xact_lock("
        f"pg_catalog.hash_record_extended(ROW({', '.join(values)}), {index.oid})),\n"
        "              pg_catalog.set_config('django_safemigrations.key_locks', "
        f"({count} + 1)::text, true);\n"
        "    END IF;\n"
        "  END IF;\n"
    )


def _of_new(key: str) -> str:
    """Return the value of an index key, as PostgreSQL prints it, for the row being written."""
    # A key is a column or an expression over columns; both read columns of `r`.
    return f"(SELECT {key} FROM (SELECT NEW.*) AS r)"


def fill_trigger(table: Table, column: str, expression: str) -> TriggerFunction:
    """Return the trigger that puts a value where old code writes NULL.

    Args:
        table: the table.
        column: the column that becomes NOT NULL.
        expression: SQL of the value.
    """
    function = fill_name(table.name, column)
    target = f"NEW.{quote(column)}"
    return TriggerFunction(
        schema=table.schema,
        name=function,
        body=(
            "-- Fills what old code leaves NULL while the column becomes NOT NULL.\n"
            f"BEGIN\n  {target} := {expression};\n  RETURN NEW;\nEND\n"
        ),
        table=table.qualified,
        triggers=((trigger_name(function, "set"), "BEFORE INSERT OR UPDATE", f"{target} IS NULL"),),
    )
