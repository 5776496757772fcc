"""Rows that the database takes: made up, or where a constraint wants more, after one that is there."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from django.db import DatabaseError, models

from django_safemigrations.rehearsal.generations.pairs import Key
from django_safemigrations.rehearsal.generations.session import Session, driver_error
from django_safemigrations.rehearsal.generations.sides import (
    AnyField,
    AnyModel,
    Side,
    key_of,
    unique_fields,
    unique_sets,
    writable,
)
from django_safemigrations.rehearsal.generations.values import NoValue, kind, make, plain

WINDOW = 50
"""How many keys at either end of a table are looked through for rows to work on."""
ENDS = 2
AMONG = 2
"""Rows that are worked on: so many at either end, so many in between, and those with NULLs."""
DEPTH = 3
"""How many rows are made one after the other for a foreign key to have something to point at."""
TRIES = 6
EXPLICIT_KEYS = 2_000_000_000
"""Serial keys that code gives itself are counted down from here, far above every sequence."""


class Rows:
    """Makes and finds rows for one generation.

    Args:
        side: whose models.
        session: where.
        numbers: numbers that no other value was made from.
        copied: attnames, by model, of fields that get the values of an existing row; kept
            between checks, and added to by `learn`.
        chance: picks rows; seeded, so that it picks the same ones again.
    """

    def __init__(
        self,
        side: Side,
        session: Session,
        numbers: Iterator[int],
        copied: dict[Key, set[str]],
        chance: random.Random,
    ) -> None:
        self.side = side
        self.session = session
        self.numbers = numbers
        self.copied = copied
        self.chance = chance
        self._templates: dict[AnyModel, dict[str, Any] | None] = {}
        self._targets: dict[tuple[AnyModel, str], list[Any]] = {}
        self._distinct: dict[AnyModel, set[str]] = {}
        self.keys: dict[AnyModel, list[Any]] = {}

    def of(self, model: AnyModel) -> models.QuerySet[Any]:
        """Return all rows of a model, on the session."""
        return model._base_manager.using(self.session.alias).all()

    # Rows that are there

    def look_at(self, wanted: Iterable[AnyModel]) -> None:
        """Note the rows that calls on some models are made with, before any call adds others."""
        for model in wanted:
            if model in self.keys:
                continue
            self.keys[model] = self._look(partial(self._sample, model)) or []
            self._templates[model] = self._look(partial(self._last, model))
            for field in model._meta.concrete_fields:
                if field.is_relation:
                    self._look_at_targets(field)

    def _look_at_targets(self, field: Any) -> None:
        target, name = field.remote_field.model, field.target_field.attname
        if (target, name) in self._targets:
            return

        def find() -> list[Any]:
            rows = self.of(target).order_by("pk")
            return list(rows.values_list(name, flat=True)[:3])

        self._targets[target, name] = self._look(find) or []
        # It may have to be made, and then needs targets itself.
        for other in target._meta.concrete_fields:
            if other.is_relation:
                self._look_at_targets(other)

    def _look(self, find: Callable[[], Any]) -> Any:
        """Read something that calls need; what can't be read, the calls report themselves."""
        with self.session.undone():
            try:
                return find()
            except (DatabaseError, ValueError, TypeError):
                return None

    def _last(self, model: AnyModel) -> dict[str, Any] | None:
        names = [f.attname for f in model._meta.concrete_fields]
        found = list(self.of(model).order_by("-pk").values(*names)[:1])
        return {name: plain(value) for name, value in found[0].items()} if found else None

    def _sample(self, model: AnyModel) -> list[Any]:
        rows = self.of(model)
        first = list(rows.order_by("pk").values_list("pk", flat=True)[:WINDOW])
        if len(first) < WINDOW:
            window = first
        else:
            last = list(rows.order_by("-pk").values_list("pk", flat=True)[:WINDOW])
            window = list(dict.fromkeys([*first, *reversed(last)]))
        chosen = [*window[:ENDS], *window[-ENDS:]]
        if len(window) > WINDOW and all(type(key) is int for key in (window[0], window[-1])):
            place = self.chance.randint(window[0], window[-1])
            middle = rows.order_by("pk").filter(pk__gte=place)
            chosen += list(middle.values_list("pk", flat=True)[:1])
        if len(window) > 2 * ENDS:
            chosen += self.chance.sample(window[ENDS:-ENDS], min(AMONG, len(window) - 2 * ENDS))
        nullable = [f for f in model._meta.concrete_fields if f.null]
        if nullable and window:
            tests = [models.Q(**{f"{f.attname}__isnull": True}) for f in nullable]
            marked = list(
                rows.filter(pk__in=window).values_list(
                    "pk", *[models.ExpressionWrapper(t, models.BooleanField()) for t in tests]
                )
            )
            for place in range(len(nullable)):
                chosen += [row[0] for row in marked if row[place + 1]][:1]
        return list(dict.fromkeys(chosen))

    def _unique(self, model: AnyModel) -> set[str]:
        if model not in self._distinct:
            # Of a key of several fields one is enough: the others go with CHECKs like start < end.
            alone = {key[0] for key in unique_sets(model) if len(key) == 1}
            self._distinct[model] = alone | {f.name for f in model._meta.pk_fields}
        return self._distinct[model]

    def template(self, model: AnyModel) -> dict[str, Any] | None:
        """Return an existing row by attname, None if there is none."""
        return self._templates.get(model)

    # Rows that are made

    def value(self, model: AnyModel, field: AnyField, *, null: bool = False, depth: int = 0) -> Any:
        """Return a value for a field's attname, not given to it before if it is unique.

        Raises:
            NoValue: none can be made.
        """
        if null and field.null:
            return None
        if field.is_relation:
            return self._target(model, field, depth)
        template = self.template(model)
        single = field.unique or field.primary_key
        if field.attname in self.copied.get(key_of(model), ()) and template and not single:
            return template.get(field.attname)
        try:
            distinct = single or field.name in self._unique(model)
            partner = self.side.partner_field(field)
            return make(field, next(self.numbers), partner, distinct=distinct)
        except NoValue:
            if template is not None and not single:
                return template.get(field.attname)
            if field.null:
                return None
            raise

    def _target(self, model: AnyModel, field: Any, depth: int) -> Any:
        target, name = field.remote_field.model, field.target_field.attname
        known = self._targets.get((target, name), [])
        template = self.template(model)
        if field.attname in self.copied.get(key_of(model), ()) and template:
            return template.get(field.attname)
        if known and not field.unique:
            return known[next(self.numbers) % len(known)]
        if depth and field.null:
            return None
        if depth >= DEPTH:
            raise NoValue(f"no row for {field.name} to point at")
        made = self.of(target).create(**self.row(target, depth=depth + 1))
        return getattr(made, name)

    def row(
        self, model: AnyModel, *, explicit: bool = False, null: bool = False, depth: int = 0
    ) -> dict[str, Any]:
        """Return a value for every writable column, by attname.

        Args:
            model: whose columns.
            explicit: give its serial key, too.
            null: NULL wherever it is allowed.
            depth: how many rows are already being made for the sake of another one.
        """
        values = {f.attname: self.value(model, f, null=null, depth=depth) for f in writable(model)}
        if explicit:
            for key in model._meta.pk_fields:
                if key.attname not in values:
                    small = isinstance(key, models.SmallAutoField)
                    n = next(self.numbers)
                    values[key.attname] = 32_000 - n % 1_000 if small else EXPLICIT_KEYS - n % 10**6
        return values

    def sparse(self, model: AnyModel) -> dict[str, Any]:
        """Return values for what has neither a default nor NULL as a way out."""
        values = self.row(model)
        return {
            f.attname: values[f.attname]
            for f in writable(model)
            if not (f.null or f.has_default() or f.has_db_default()) or f in model._meta.pk_fields
        }

    def learn(self, model: AnyModel, excused: Callable[[BaseException], bool]) -> str:
        """Find out how a row is made that the database takes.

        Args:
            model: of which model.
            excused: whether an error is about what made-up values can't know.

        Returns:
            why there is no way, or "".
        """
        copied = self.copied.setdefault(key_of(model), set())
        reason = ""
        for _ in range(TRIES):
            failed = self._try_to_make(model)
            if failed is None:
                return ""
            if isinstance(failed, NoValue):
                return str(failed)
            if not excused(failed):
                return ""
            reason = f"{type(failed).__name__}: {failed}".splitlines()[0]
            more = self._to_copy(model, failed) - copied
            if self.template(model) is None or not more:
                break
            copied |= more
        return reason

    def _try_to_make(self, model: AnyModel) -> Exception | None:
        with self.session.undone():
            try:
                self.of(model).create(**self.row(model))
                self.session.settle()
            except Exception as error:  # noqa: BLE001 - the calls judge it
                return error
        return None

    def _to_copy(self, model: AnyModel, error: BaseException) -> set[str]:
        """Return the attnames of what an error is about; of all fields if it does not say."""
        unique = unique_fields(model)
        candidates = {f.attname for f in writable(model) if f.name not in unique and kind(f)}
        candidates |= {f.attname for f in writable(model) if f.is_relation and not f.unique}
        columns = set(constraint_columns(self.session, error))
        named = {f.attname for f in writable(model) if f.column in columns}
        return named & candidates or candidates


def constraint_columns(session: Session, error: BaseException) -> list[str]:
    """Return the columns of the constraint or unique index that an error names."""
    found = driver_error(error)
    diag = found.diag if found is not None else None
    if diag is None or not diag.constraint_name:
        return []
    with session.undone(), session.connection.cursor() as cursor:
        # Outside of a constraint, a unique index or an index that a constraint stands on.
        cursor.execute(
            """
            SELECT a.attname FROM pg_class r JOIN pg_namespace n ON n.oid = r.relnamespace
            JOIN pg_attribute a ON a.attrelid = r.oid
            WHERE n.nspname = %(schema)s AND r.relname = %(table)s AND (
                EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = r.oid
                        AND k.conname = %(name)s AND a.attnum = ANY (k.conkey))
                OR EXISTS (SELECT FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
                           WHERE i.indrelid = r.oid AND x.relname = %(name)s
                           AND a.attnum = ANY (i.indkey::int2[])))
            ORDER BY a.attnum
            """,
            {
                "schema": diag.schema_name,
                "table": diag.table_name,
                "name": diag.constraint_name,
            },
        )
        return [name for (name,) in cursor.fetchall()]
