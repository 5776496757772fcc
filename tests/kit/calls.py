"""Every kind of ORM call on one model, by an actor that remembers what it wrote."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from django.db import models, transaction
from django.db.models import F
from django.db.models.expressions import Expression

from tests.kit.case import Case, Generation
from tests.kit.outcomes import Failure, LastStatement, LostWriteError, differences
from tests.kit.values import Values, writable

EXPLICIT_KEYS = 1_000_000_000
"""Where the primary keys that code gives itself start, far above every sequence."""

CONTENDED_KEYS = 4
"""How few unique keys all actors upsert, unless told which is next."""

RACING = (
    "bulk_create_update_conflicts",
    "bulk_create_ignore_conflicts",
    "get_or_create",
    "update_or_create",
)
"""The calls that upsert contended keys."""


def unique_keys(model: type[models.Model]) -> list[tuple[str, ...]]:
    """Return the field names of every unique key that ON CONFLICT can name, besides the key."""
    options = model._meta
    keys: list[tuple[str, ...]] = [
        (f.name,) for f in options.concrete_fields if f.unique and not f.primary_key
    ]
    keys += [tuple(names) for names in options.unique_together]
    keys += [
        tuple(c.fields)
        for c in options.constraints
        if isinstance(c, models.UniqueConstraint)
        and c.fields
        and c.condition is None
        and c.deferrable is None
    ]
    # Racing on a key that contains another one breaks on the other one, migration or not.
    return [key for key in keys if not any(set(other) < set(key) for other in keys)]


def unique_fields(model: type[models.Model]) -> set[str]:
    """Return the names of all fields that any unique constraint is over."""
    options = model._meta
    names = {f.name for f in options.concrete_fields if f.unique}
    names.update(*options.unique_together)
    for constraint in options.constraints:
        if isinstance(constraint, models.UniqueConstraint):
            names.update(constraint.fields)
    return names


def allows_conflict_clauses(model: type[models.Model]) -> bool:
    """Return whether ON CONFLICT DO NOTHING works: not with a deferrable constraint."""
    return not any(
        isinstance(c, models.UniqueConstraint) and c.deferrable is not None
        for c in model._meta.constraints
    )


class Actor:
    """One piece of running code that works on one model.

    Args:
        case: the case, for its values.
        generation: which models it uses.
        model: the model.
        space: start of its own number range; no two living actors share one.
        using: the database alias.
        contended: start of the number range of the keys that actors fight for.
        next_key: returns which of these keys is fought for now; default: any of a few.
    """

    def __init__(
        self,
        case: Case,
        generation: Generation,
        model: type[models.Model],
        *,
        space: int,
        using: str = "default",
        contended: int = 1,
        next_key: Callable[[], int] | None = None,
    ) -> None:
        self.case = case
        self.generation = generation
        self.model = model
        self.label = model._meta.model_name or ""
        self.values = Values(
            case.values_of(generation), nulls=case.nulls, using=using, distinct=case.distinct
        )
        self.using = using
        self.space = space
        self.contended = contended
        self.number = 0
        self.random = random.Random(space)
        self.next_key = next_key or (lambda: self.random.randrange(CONTENDED_KEYS))
        self.owned: dict[Any, dict[str, Any]] = {}
        self.touched: set[Any] = set()
        self.fields = [f for f in writable(model) if not f.primary_key and not self._in_key(f)]
        keys = [
            key
            for key in unique_keys(model)
            if not any(f.is_relation and f.unique for f in map(self._field, key))
            and not (generation == "old" and key in case.lost_keys)
        ]
        self.keys = keys
        self.unique = unique_fields(model)
        self._turn = 0

    # Reading the model

    def _field(self, name: str) -> models.Field[Any, Any]:
        found: models.Field[Any, Any] = self.model._meta.get_field(name)  # type: ignore[assignment]
        return found

    def _in_key(self, candidate: models.Field[Any, Any]) -> bool:
        return candidate in self.model._meta.pk_fields

    @property
    def rows(self) -> models.QuerySet[Any]:
        return self.model._base_manager.using(self.using).all()

    def fresh(self) -> int:
        """Return a number that no other row was made from."""
        self.number += 1
        return self.space + self.number

    def row(self, *, explicit: bool = False) -> dict[str, Any]:
        """Return values for a new row; with its primary key if `explicit`."""
        n = self.fresh()
        values = self.values.row(self.model, n)
        if explicit:
            for key in self.model._meta.pk_fields:
                if key.attname not in values:
                    values[key.attname] = (
                        self.values.value(key, n) if key.is_relation else EXPLICIT_KEYS + n
                    )
        return values

    def sparse_row(self) -> dict[str, Any]:
        """Return values for what has neither a default nor NULL as a way out."""
        values = self.row()
        return {
            f.attname: values[f.attname]
            for f in writable(self.model)
            if not ((f.null and self.case.nulls) or f.has_default() or f.has_db_default())
            or self._in_key(f)
        }

    def contended_row(
        self, key: tuple[str, ...], number: int | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the values of one of the contended keys, and values for the rest."""
        # Numbers divisible by 3 stand for NULL, and NULLs never conflict.
        n = self.contended + (self.next_key() if number is None else number) * 3
        n += 1 if n % 3 == 0 else 0
        lookup = {}
        for name in key:
            key_field = self._field(name)
            lookup[key_field.attname] = self.values.value(key_field, n)
        rest = self.row()
        return lookup, {name: value for name, value in rest.items() if name not in lookup}

    def remember(self, instance: models.Model, names: Any = None) -> None:
        """Note what was written through an instance (`names`: only these attnames)."""
        self.touched.add(instance.pk)
        known = self.owned.setdefault(instance.pk, {})
        for f in writable(self.model):
            value = instance.__dict__.get(f.attname)
            if names is None or f.attname in names:
                if isinstance(value, Expression) or f.attname not in instance.__dict__:
                    known.pop(f.attname, None)
                else:
                    known[f.attname] = value

    def note(self, key: Any, values: Mapping[str, Any]) -> None:
        self.touched.add(key)
        self.owned.setdefault(key, {}).update(values)

    def pick(self) -> Any:
        """Return the key of a row that only this actor writes to."""
        if not self.owned:
            self.create()
        return self.random.choice(list(self.owned))

    def turn(self) -> models.Field[Any, Any]:
        """Return the columns one after the other."""
        self._turn += 1
        return self.fields[self._turn % len(self.fields)]

    # The calls

    def create(self) -> None:
        self.remember(self.rows.create(**self.row()))

    def create_sparse(self) -> None:
        self.remember(self.rows.create(**self.sparse_row()))

    def save_new(self) -> None:
        instance = self.model(**self.row())
        instance.save(using=self.using)
        self.remember(instance)

    def bulk_create(self) -> None:
        for instance in self.rows.bulk_create([self.model(**self.row()) for _ in range(3)]):
            self.remember(instance)

    def bulk_create_ignore_conflicts(self) -> None:
        for key in self.keys:
            lookup, rest = self.contended_row(key)
            self.rows.bulk_create([self.model(**lookup, **rest)], ignore_conflicts=True)
            self.touched.add(self.rows.values_list("pk", flat=True).get(**lookup))
        values = self.row(explicit=True)
        for _ in range(2):
            instance = self.model(**values)
            self.rows.bulk_create([instance], ignore_conflicts=True)
            self.remember(instance)

    def bulk_create_update_conflicts(self) -> None:
        names = [f.name for f in self.fields]
        if not names:
            return
        for key in self.keys:
            rest_names = [name for name in names if name not in key]
            if rest_names:
                number = self.next_key()
                # In one order everywhere: rows of one statement are locked one by one.
                several = [self.contended_row(key, number + place) for place in range(2)]
                made = self.rows.bulk_create(
                    [self.model(**lookup, **rest) for lookup, rest in several],
                    update_conflicts=True,
                    unique_fields=list(key),
                    update_fields=rest_names,
                )
                if len(self.model._meta.pk_fields) > 1:
                    # A composite key is given, and is not that of the row that was there.
                    known = [self.rows.values_list("pk", flat=True).get(**f) for f, _ in several]
                    self.touched.update(known)
                else:
                    self.touched.update(instance.pk for instance in made)
        key_names = [f.name for f in self.model._meta.pk_fields]
        values = self.row(explicit=True)
        again = self.row(explicit=True)
        for f in self.model._meta.pk_fields:
            again[f.attname] = values[f.attname]
        for row in (values, again):
            instance = self.model(**row)
            self.rows.bulk_create(
                [instance], update_conflicts=True, unique_fields=key_names, update_fields=names
            )
            self.remember(instance)

    def get_or_create(self) -> None:
        for names in self.keys:
            lookup, rest = self.contended_row(names)
            instance, _ = self.rows.get_or_create(**lookup, defaults=rest)
            self.touched.add(instance.pk)
        values = self.row(explicit=True)
        key = {f.attname: values.pop(f.attname) for f in self.model._meta.pk_fields}
        for _ in range(2):
            instance, created = self.rows.get_or_create(**key, defaults=values)
            if created:
                self.remember(instance)

    def update_or_create(self) -> None:
        for names in self.keys:
            lookup, rest = self.contended_row(names)
            key_names = {f.attname for f in self.model._meta.pk_fields}
            kept = {name: value for name, value in rest.items() if name not in key_names}
            instance, _ = self.rows.update_or_create(**lookup, defaults=kept, create_defaults=rest)
            self.touched.add(instance.pk)
        values, again = self.row(explicit=True), self.row(explicit=True)
        key = {f.attname: values.pop(f.attname) for f in self.model._meta.pk_fields}
        for f in self.model._meta.pk_fields:
            again.pop(f.attname)
        for defaults in (values, again):
            instance, _ = self.rows.update_or_create(**key, defaults=defaults)
            self.remember(instance)

    def save(self) -> None:
        instance = self.rows.get(pk=self.pick())
        for name, value in self._new_values().items():
            setattr(instance, name, value)
        instance.save(using=self.using)
        self.remember(instance)

    def save_update_fields(self) -> None:
        for f in self.fields:
            instance = self.rows.get(pk=self.pick())
            setattr(instance, f.attname, self.values.value(f, self.fresh()))
            instance.save(using=self.using, update_fields=[f.name])
            self.remember(instance, [f.attname])

    def update(self) -> None:
        key, values = self.pick(), self._new_values()
        if values:
            self._updated(self.rows.filter(pk=key).update(**values))
            self.note(key, values)

    def update_one_column(self) -> None:
        for f in self.fields:
            key, value = self.pick(), self.values.value(f, self.fresh())
            self._updated(self.rows.filter(pk=key).update(**{f.attname: value}))
            self.note(key, {f.attname: value})

    def update_with_expressions(self) -> None:
        key = self.pick()
        for f in self.fields:
            counts = (
                isinstance(f, models.IntegerField)
                and f.name not in self.case.values
                and f.name not in self.unique
            )
            expression = F(f.attname) + 1 if counts else F(f.attname)
            self._updated(self.rows.filter(pk=key).update(**{f.attname: expression}))
            known = self.owned[key].get(f.attname)
            if known is None and f.name in self.case.filled:
                self.owned[key].pop(f.attname, None)
            elif known is not None and counts:
                self.owned[key][f.attname] = known + 1

    def bulk_update(self) -> None:
        names = [f.name for f in self.fields]
        if not names:
            return
        instances = list(self.rows.filter(pk__in=list({self.pick() for _ in range(3)})))
        for instance in instances:
            for name, value in self._new_values().items():
                setattr(instance, name, value)
        self.rows.bulk_update(instances, names)
        for instance in instances:
            self.remember(instance)

    def select_for_update(self) -> None:
        with transaction.atomic(using=self.using):
            # Django cannot name a table of another schema after FOR UPDATE OF.
            of = () if '"' in self.model._meta.db_table else ("self",)
            instance = self.rows.select_for_update(of=of).get(pk=self.pick())
            for name, value in self._new_values().items():
                setattr(instance, name, value)
            instance.save(using=self.using)
        self.remember(instance)

    def delete(self) -> None:
        key = self.pick()
        self.rows.get(pk=key).delete(using=self.using)
        self.owned.pop(key)

    def delete_by_query(self) -> None:
        key = self.pick()
        self.rows.filter(pk=key).delete()
        self.owned.pop(key)

    def read(self) -> None:
        key = self.pick()
        self.check(key, self.rows.get(pk=key).__dict__)
        names = [f.attname for f in self.model._meta.concrete_fields]
        self.check(key, self.rows.filter(pk=key).values(*names).get())
        self.check(key, self.rows.values().get(pk=key))
        if not isinstance(key, tuple):
            self.check(key, self.rows.in_bulk([key])[key].__dict__)
        if self.rows.filter(pk=key).count() != 1 or not self.rows.filter(pk=key).exists():
            raise LostWriteError(f"{self.label} {key!r} is gone")

    def read_by_column(self) -> None:
        key = self.pick()
        for f in writable(self.model):
            value = self.owned[key].get(f.attname, LostWriteError)
            if value is LostWriteError or (value is None and f.name in self.case.filled):
                continue
            lookup = {f"{f.attname}__isnull": True} if value is None else {f.attname: value}
            if not self.rows.filter(**lookup, pk=key).exists():
                raise LostWriteError(f"{self.label} {key!r}: no row where {lookup}")
            list(self.rows.order_by(f.attname).values_list(f.attname, flat=True)[:3])
            list(self.rows.only(f.attname)[:2])
            list(self.rows.defer(f.attname)[:2])

    def read_relations(self) -> None:
        names = [f.name for f in self.fields if f.is_relation]
        if names:
            list(self.rows.select_related(*names)[:3])
            list(self.rows.prefetch_related(*names)[:3])

    def _new_values(self) -> dict[str, Any]:
        n = self.fresh()
        return {f.attname: self.values.value(f, n) for f in self.fields}

    def _updated(self, count: int) -> None:
        if count != 1:
            raise LostWriteError(f"{self.label}: an UPDATE of one row reported {count} rows")

    # Checking and cleaning

    def check(self, key: Any, row: Mapping[str, Any]) -> None:
        """Raise LostWriteError unless a row (by attname) holds what was last written to it."""
        wrong = differences(self.case, self.model, self.owned[key], row)
        if wrong:
            raise LostWriteError(f"{self.label} {key!r}: {wrong}")

    def calls(self) -> list[tuple[str, Callable[[], None]]]:
        """Return every kind of call by name, in an order that works from an empty start."""
        writes = [self.create, self.create_sparse, self.save_new]
        if not self.model._meta.parents:
            # Django has no bulk_create for multi-table inheritance.
            writes += [self.bulk_create, self.bulk_create_update_conflicts]
            if allows_conflict_clauses(self.model):
                writes += [self.bulk_create_ignore_conflicts]
        writes += [
            self.get_or_create,
            self.update_or_create,
            self.save,
            self.save_update_fields,
            self.update,
            self.update_one_column,
            self.update_with_expressions,
            self.bulk_update,
            self.select_for_update,
            self.read,
            self.read_by_column,
            self.read_relations,
            self.delete,
            self.delete_by_query,
        ]
        made = [call for call in writes if call.__name__ not in self.case.unmade]
        return [(f"{self.label}.{call.__name__}", call) for call in made]

    def attempt(self, name: str, call: Callable[[], None], last: LastStatement) -> Failure | None:
        """Make a call; return what went wrong, if anything."""
        last.sql = ""
        try:
            call()
        except Exception as error:  # noqa: BLE001 - whatever it is, a request failed
            cause = error.__cause__
            state = getattr(cause, "sqlstate", None)
            return Failure(
                self.generation,
                name,
                f"{type(error).__name__}{f' ({state})' if state else ''}: {error}".strip(),
                last.sql,
                traceback.format_exc(),
            )
        return None

    def clean_up(self) -> None:
        """Delete every row that this actor made."""
        self.rows.filter(pk__in=list(self.touched)).delete()
        for made in self.values.made:
            type(made)._base_manager.using(self.using).filter(pk=made.pk).delete()
        self.owned.clear()
        self.touched.clear()
        self.values.made.clear()
