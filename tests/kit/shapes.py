"""The same change on another kind of table: what the models say, or what a DBA made of the tables."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Any

from django.db import models

from tests.kit.case import LABEL, Case, Dress, define, dressing

LONGEST = 63
CLERK = "pg_monitor"
"""A role that every server has, so that none is left behind in somebody's cluster."""


class Shape(StrEnum):
    """The kinds of tables; the values are the columns of the support matrix."""

    ORDINARY = "ordinary table"
    QUOTED = "mixed case, other schema"
    LONG = "names of 63 bytes"
    COMPOSITE = "composite primary key"
    KEYLESS = "no primary key in the database"
    CHILD = "multi-table child"
    PARTITIONED = "partitioned"
    SECURED = "row-level security, grants"
    SWAPPABLE = "swappable model"
    ELSEWHERE = "routed elsewhere"


class Inapplicable(Exception):
    """A shape that the models of a case can't have; says why."""


def shaped(case: Case, shape: Shape) -> Case:
    """Return the same change on tables of another kind.

    Args:
        case: a case on ordinary tables.
        shape: the kind.

    Raises:
        Inapplicable: none of the case's tables can be of this kind.
    """
    if shape in (Shape.ORDINARY, Shape.ELSEWHERE):
        # Where the router sends an app is none of its models' business.
        return case if shape is Shape.ORDINARY else replace(case, shape=shape.value)
    if case.after_creation and shape in MODELS:
        raise Inapplicable("what a DBA added names the tables")
    targets = referred_to(case)
    dress = MODELS[shape](case, targets) if shape in MODELS else None
    dressed = replace(
        case,
        name=f"{shape}: {case.name}",
        old=lambda: _dressed(case.old, dress),
        new=lambda: _dressed(case.new, dress),
        after_creation=(),
        # They name tables as the ordinary case has them.
        not_repeatable=(),
        shape=shape.value,
        extra=True,
    )
    if dress is not None and not _differ(case, dressed):
        raise Inapplicable(REASONS[shape])
    sql = list(case.after_creation)
    if shape in TABLES:
        without = targets if shape in KEYS else set()
        fit = [m for m in own_tables(dressed, without) if can_be(dressed, m, shape)]
        made = [TABLES[shape](model) for model in fit]
        if not made:
            raise Inapplicable(REASONS[shape])
        sql += itertools.chain.from_iterable(made)
    unmade = UPSERTS if shape is Shape.KEYLESS else ()
    hidden = [_renamed(entry, case, dressed) for entry in case.not_repeatable]
    if shape is Shape.PARTITIONED:
        hidden += [
            ".".join((_part(e.split(".")[0], n), e.split(".")[1])) for e in hidden for n in (0, 1)
        ]
    return replace(
        dressed,
        after_creation=tuple(sql),
        repair=tuple(_retold(statement, case, dressed) for statement in case.repair),
        unmade=unmade,
        not_repeatable=tuple(hidden),
    )


def _retold(statement: str, case: Case, dressed: Case) -> str:
    """Return a statement about the tables of a case with the names of the dressed one's."""
    for old in case.models("old"):
        new = dressed.model("old", old._meta.model_name or "")
        for written in (f'"{old._meta.db_table}"', f" {old._meta.db_table} "):
            statement = statement.replace(written, f' "{new._meta.db_table}" ')
    return statement


def _bare(model: type[models.Model]) -> str:
    """Return the name of a model's table without its schema."""
    return str(model._meta.db_table).rpartition('"')[2]


def can_be(case: Case, model: type[models.Model], shape: Shape) -> bool:
    """Whether PostgreSQL has such a table: all unique keys of a partitioned one hold its key."""
    if shape is not Shape.PARTITIONED:
        return True
    later = case.apps("new").all_models[LABEL].get(model._meta.model_name or "", model)
    return not (_has_other_keys(model) or _has_other_keys(later))


def _has_other_keys(model: type[models.Model]) -> bool:
    """Whether a model has a unique key without its primary key's first column."""
    options: Any = model._meta
    first = options.pk_fields[0].name
    constraints = [c for c in options.constraints if not isinstance(c, models.CheckConstraint)]
    return bool(
        any(f.unique and not f.primary_key for f in options.local_fields)
        or any(first not in names for names in options.unique_together)
        or any(first not in getattr(c, "fields", ()) for c in constraints)
    )


def _part(table: str, number: int) -> str:
    return f"{table[:50]}_part{number}"


UPSERTS = ("bulk_create_update_conflicts", "bulk_create_ignore_conflicts")
"""ON CONFLICT names the primary key, which a table without one does not have."""


def referred_to(case: Case) -> set[str]:
    """Return the models, by lower-case name, that another one refers to or inherits from."""
    found: set[str] = set()
    for generation in ("old", "new"):
        for model in case.apps(generation).get_models():
            fields: list[Any] = [*model._meta.local_fields, *model._meta.local_many_to_many]
            for field in fields:
                if field.remote_field is not None:
                    found.add(field.remote_field.model._meta.model_name)
                if field.many_to_many:
                    found.add(model._meta.model_name or "")
    return found


def own_tables(case: Case, without: set[str]) -> list[type[models.Model]]:
    """Return the old models with a table that are not among some."""
    return [
        model
        for model in case.models("old")
        if model._meta.model_name not in without and not model._meta.auto_created
    ]


def _dressed(define_models: Callable[[], Any], dress: Dress | None) -> None:
    if dress is None:
        define_models()
        return
    numbers = itertools.count(1)

    def numbered(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        plain = meta.get("proxy") or meta.get("abstract") or meta.get("managed") is False
        if plain:
            return base
        meta["_place"] = next(numbers)
        try:
            return dress(name, base, meta, attributes)
        finally:
            del meta["_place"]

    with wearing(numbered):
        define_models()


@contextmanager
def wearing(dress: Dress) -> Iterator[None]:
    """Dress every model that is defined inside."""
    token = dressing.set(dress)
    try:
        yield
    finally:
        dressing.reset(token)


def _differ(case: Case, dressed: Case) -> bool:
    """Whether any table of the old models looks different."""

    def looks(of: Case) -> list[Any]:
        return [
            (m._meta.db_table, m._meta.swappable, [f.name for f in m._meta.local_fields])
            for m in of.models("old")
        ]

    return looks(case) != looks(dressed)


def _renamed(entry: str, case: Case, dressed: Case) -> str:
    """Return a `table.column` of a case with the names that the dressed one has."""
    table, column = entry.split(".")
    for old in case.models("new"):
        for field in old._meta.local_fields:
            if (old._meta.db_table, field.column) == (table, column):
                new = dressed.model("new", old._meta.model_name or "")
                found: Any = new._meta.get_field(field.name)
                return f"{_bare(new)}.{found.column}"
    return entry


# What the models say


def quoted(case: Case, targets: set[str]) -> Dress:
    def dress(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        table = meta.get("db_table", f"The {name}")
        if '"' not in table:
            meta["db_table"] = f'Mixed Schema"."{table}'
        return base

    return dress


def long(case: Case, targets: set[str]) -> Dress:
    kept = {name.split(".")[-1] for pair in case.renames.items() for name in pair}
    # What the operator types names columns, too.
    kept |= set(" ".join(case.repair).replace('"', " ").split())

    def dress(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        table = meta.get("db_table", name.lower())
        if '"' not in table:
            meta["db_table"] = _lengthened(table)
        for field_name, field in attributes.items():
            if (
                isinstance(field, models.Field)
                and not field.many_to_many
                and not field.primary_key
                and field.db_column is None
                and field_name not in kept
            ):
                field.db_column = _lengthened(field_name)
        return base

    return dress


def _lengthened(name: str) -> str:
    return (name + "_with_a_name_that_takes_up_as_many_bytes_as_postgresql_leaves_it")[:LONGEST]


def composite(case: Case, targets: set[str]) -> Dress:
    def dress(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        if base is models.Model and name.lower() not in targets and not _has_key(attributes):
            attributes["tenant"] = models.IntegerField()
            attributes["serial"] = models.TextField()
            attributes["pk"] = models.CompositePrimaryKey("tenant", "serial")
        return base

    return dress


def child(case: Case, targets: set[str]) -> Dress:
    def dress(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        # Another model's default may name the key of a row, which a child has from its parent.
        if base is not models.Model or name.lower() in targets or _has_key(attributes):
            return base
        token = dressing.set(None)
        try:
            about = models.CharField(max_length=20)
            return define(f"Thing{meta['_place']}", about=about)
        finally:
            dressing.reset(token)

    return dress


def swappable(case: Case, targets: set[str]) -> Dress:
    def dress(name: str, base: Any, meta: dict[str, Any], attributes: dict[str, Any]) -> Any:
        meta["swappable"] = f"KIT_MODEL_{meta['_place']}"
        return base

    return dress


def _has_key(attributes: dict[str, Any]) -> bool:
    return "pk" in attributes or any(
        getattr(field, "primary_key", False) for field in attributes.values()
    )


MODELS: dict[Shape, Callable[[Case, set[str]], Dress]] = {
    Shape.QUOTED: quoted,
    Shape.LONG: long,
    Shape.COMPOSITE: composite,
    Shape.CHILD: child,
    Shape.SWAPPABLE: swappable,
}

# What a DBA does


def _name(model: type[models.Model]) -> str:
    table = model._meta.db_table
    return f'"{table}"'


def without_key(model: type[models.Model]) -> list[str]:
    """Return the statement that takes a table's primary key away, but not its columns' NOT NULL."""
    return [
        f"""
        DO $dba$ BEGIN EXECUTE (
          SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
          FROM pg_constraint WHERE conrelid = '{_name(model)}'::regclass AND contype = 'p'
        ); END $dba$
        """
    ]


def secured(model: type[models.Model]) -> list[str]:
    """Return the statements that let another role see and change some rows of a table."""
    name = _name(model)
    return [
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY",
        f"ALTER TABLE {name} FORCE ROW LEVEL SECURITY",
        f'CREATE POLICY "The clerk\'s" ON {name} TO {CLERK} USING (true) WITH CHECK (true)',
        f"CREATE POLICY nobody ON {name} AS RESTRICTIVE FOR DELETE USING (false)",
        f"GRANT SELECT, INSERT, UPDATE ON {name} TO {CLERK} WITH GRANT OPTION",
        f"GRANT REFERENCES ON {name} TO PUBLIC",
    ]


def partitioned(model: type[models.Model]) -> list[str]:
    """Return the statement that makes a table a partitioned one, by hash of its key's first column."""
    return [PARTITION.replace("{table}", _name(model).replace("'", "''"))]


PARTITION = """
DO $dba$
DECLARE
  whole oid := '{table}'::regclass;
  name text; place text; key text; columns text; item record;
  make text[] := '{}'; sequence text;
BEGIN
  SELECT c.relname, n.nspname INTO name, place FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = whole;
  SELECT a.attname INTO key FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] WHERE i.indrelid = whole AND i.indisprimary;
  SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns FROM pg_attribute
    WHERE attrelid = whole AND attnum > 0 AND NOT attisdropped AND attgenerated = '';
  sequence := pg_get_serial_sequence(whole::regclass::text, key);
  FOR item IN SELECT conname, conrelid::regclass::text AS owner, pg_get_constraintdef(oid) AS text
      FROM pg_constraint WHERE whole IN (conrelid, confrelid) AND conparentid = 0 AND contype IN ('f', 'p', 'u')
      ORDER BY contype = 'f', contype LOOP
    make := make || format('ALTER TABLE %s ADD CONSTRAINT %I %s', item.owner, item.conname, item.text);
  END LOOP;
  FOR item IN SELECT conname, conrelid::regclass::text AS owner FROM pg_constraint
      WHERE whole IN (conrelid, confrelid) AND conparentid = 0 AND contype IN ('f', 'p', 'u') ORDER BY contype <> 'f' LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', item.owner, item.conname);
  END LOOP;
  FOR item IN SELECT indexrelid::regclass AS index, pg_get_indexdef(indexrelid) AS text
      FROM pg_index WHERE indrelid = whole LOOP
    make := make || item.text;
    EXECUTE format('DROP INDEX %s', item.index);
  END LOOP;
  EXECUTE format('ALTER TABLE %s RENAME TO dba_whole', whole::regclass);
  EXECUTE format('CREATE TABLE %I.%I (LIKE %I.dba_whole INCLUDING DEFAULTS INCLUDING IDENTITY '
    'INCLUDING CONSTRAINTS INCLUDING COMMENTS INCLUDING GENERATED INCLUDING STORAGE) '
    'PARTITION BY HASH (%I)', place, name, place, key);
  FOR n IN 0..1 LOOP
    EXECUTE format('CREATE TABLE %I.%I PARTITION OF %I.%I FOR VALUES WITH (MODULUS 2, REMAINDER %s)',
      place, left(name, 50) || '_part' || n, place, name, n);
  END LOOP;
  EXECUTE format('INSERT INTO %I.%I (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %I.dba_whole',
    place, name, columns, columns, place);
  EXECUTE format('DROP TABLE %I.dba_whole', place);
  IF sequence IS NOT NULL THEN
    EXECUTE format('ALTER SEQUENCE %s RENAME TO %I',
      pg_get_serial_sequence(format('%I.%I', place, name), key),
      (parse_ident(sequence))[2]);
    EXECUTE format('SELECT setval(%L, coalesce(max(%I), 1)) FROM %I.%I', sequence, key, place, name);
  END IF;
  FOR n IN 1..coalesce(array_length(make, 1), 0) LOOP EXECUTE make[n]; END LOOP;
END $dba$
"""

TABLES: dict[Shape, Callable[[type[models.Model]], list[str]]] = {
    Shape.KEYLESS: without_key,
    Shape.PARTITIONED: partitioned,
    Shape.SECURED: secured,
}
KEYS = {Shape.KEYLESS}
"""Shapes that a table can't have while a foreign key refers to its primary key."""

REASONS = {
    **dict.fromkeys(Shape, "no table of its own"),
    Shape.COMPOSITE: "a composite key takes part in no relation, and is of no other kind",
    Shape.KEYLESS: "a foreign key needs the key it refers to",
    Shape.CHILD: "the key of a child is its parent's",
    Shape.PARTITIONED: "PostgreSQL wants the partition key in every unique key",
}
