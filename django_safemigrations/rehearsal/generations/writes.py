"""Every kind of write of one model, each on rows of its own or on a few that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.db import DatabaseError, models
from django.db.models import F

from django_safemigrations.rehearsal.generations.sides import (
    AnyField,
    changeable,
    key_of,
    unique_fields,
    upsert_keys,
    writable,
)
from django_safemigrations.rehearsal.generations.values import extremes
from django_safemigrations.rehearsal.generations.work import Call, LostWrite, Work

EXISTING = 4
"""So many existing rows are saved as they are."""
CHILDREN = 5
"""Relations from other models that a deletion has to cascade to."""


def write_calls(work: Work) -> Iterator[Call]:
    """Yield the writes; each has to be undone before the next."""
    yield from _creates(work)
    yield from _updates(work)
    yield from _upserts(work)
    yield from _deletes(work)


def short_write_calls(work: Work) -> Iterator[Call]:
    """Yield the writes of a model that is only related to what the plan touches."""
    yield Call("create(…)", partial(_create, work, {}))
    for f in changeable(work.model):
        if f.is_relation:
            yield Call("update({}=…)", partial(_update, work, f), (f.name,))
    yield from _deletes(work)


def _given(instance: models.Model) -> dict[str, Any]:
    """Return what an instance was given for the columns that code writes."""
    values = instance.__dict__
    names = [f.attname for f in writable(type(instance))]
    return {name: values[name] for name in names if name in values}


# Creating


def _creates(work: Work) -> Iterator[Call]:
    yield Call("create(every field)", partial(_create, work, {}))
    yield Call("create(only what has no default)", partial(_create_sparse, work))
    if any(f.null for f in changeable(work.model)):
        yield Call("create(NULL wherever allowed)", partial(_create, work, {"null": True}))
    yield Call("create(the same values again)", partial(_create_again, work))
    if not work.model._meta.parents:
        # Django has no bulk_create for multi-table inheritance.
        yield Call("bulk_create()", partial(_bulk_create, work))
    for f in changeable(work.model):
        if f.is_relation and not getattr(f, "db_constraint", True):
            yield Call("create({}=a missing row)", partial(_create_dangling, work, f), (f.name,))


def _create(work: Work, how: dict[str, Any]) -> None:
    made = work.all.create(**work.rows.row(work.model, **how))
    work.verify(made.pk, _given(made))


def _create_sparse(work: Work) -> None:
    made = work.all.create(**work.rows.sparse(work.model))
    work.verify(made.pk, _given(made))


def _create_again(work: Work) -> None:
    """Make two rows that are the same in all that the generation's models let be the same."""
    single = unique_fields(work.model)
    values = work.rows.row(work.model)
    again = work.rows.row(work.model)
    for f in changeable(work.model):
        if f.name not in single and not f.unique:
            again[f.attname] = values[f.attname]
    work.all.create(**values)
    work.all.create(**again)


def _create_dangling(work: Work, f: AnyField) -> None:
    related: Any = f.related_model
    target: Any = f.target_field  # type: ignore[attr-defined]
    values = work.rows.row(work.model)
    values[f.attname] = work.rows.value(related, target) if not isinstance(
        target, models.AutoField | models.BigAutoField | models.SmallAutoField
    ) else 2_000_000_001  # fmt: skip
    made = work.all.create(**values)
    work.verify(made.pk, _given(made))


def _bulk_create(work: Work) -> None:
    # With more than one row Django sends arrays: UNNEST instead of VALUES.
    made = work.all.bulk_create([work.model(**work.rows.row(work.model)) for _ in range(3)])
    for instance in made:
        work.verify(instance.pk, _given(instance))


# Updating


def _updates(work: Work) -> Iterator[Call]:
    fields = changeable(work.model)
    for key in work.keys[:EXISTING]:
        yield Call("save() of a row that was there", partial(_save_existing, work, key), real=True)
    if fields:
        yield Call("save()", partial(_save, work))
        yield Call("bulk_update(every field)", partial(_bulk_update, work))
    for f in fields:
        name = (f.name,)
        yield Call("update({}=…)", partial(_update, work, f), name)
        yield Call("save(update_fields=[{}])", partial(_save_field, work, f), name)
        yield Call("update({}=F(…))", partial(_update_by_expression, work, f), name, real=True)
        if f.null:
            yield Call("update({}=None)", partial(_update_to, work, f, None), name)
        partner = work.side.partner_field(f)
        for what, value in extremes(f, partner, work.rows.session.connection):
            call = partial(_update_to, work, f, value, compare=False)
            yield Call(f"update({{}}=<{what}>)", call, name, extreme=True)


def _save_existing(work: Work, key: Any) -> None:
    instance = work.all.filter(pk=key).first()
    if instance is None:
        return
    before = _given(instance)
    instance.save(using=work.rows.session.alias)
    work.verify(key, before, real=True)


def _save(work: Work) -> None:
    instance = work.all.get(pk=work.create().pk)
    changed = {f.attname: work.rows.value(work.model, f) for f in _by_instance(work)}
    for name, value in changed.items():
        setattr(instance, name, value)
    instance.save(using=work.rows.session.alias)
    work.verify(instance.pk, changed)


def _save_field(work: Work, f: AnyField) -> None:
    instance = work.all.get(pk=work.create().pk)
    before = _given(instance)
    if f not in _by_instance(work):
        return
    value = work.rows.value(work.model, f)
    setattr(instance, f.attname, value)
    instance.save(using=work.rows.session.alias, update_fields=[f.name])
    work.verify(instance.pk, {**before, f.attname: value})


def _by_instance(work: Work) -> list[AnyField]:
    # An ImageField opens the file that it is given, to know its size.
    return [f for f in changeable(work.model) if not isinstance(f, models.FileField)]


def _bulk_update(work: Work) -> None:
    made = [work.create() for _ in range(2)]
    instances = list(work.all.filter(pk__in=[instance.pk for instance in made]))
    fields = _by_instance(work)
    for instance in instances:
        for f in fields:
            setattr(instance, f.attname, work.rows.value(work.model, f))
    if fields:
        work.all.bulk_update(instances, [f.name for f in fields])
    for instance in instances:
        work.verify(instance.pk, {f.attname: instance.__dict__[f.attname] for f in fields})


def _update(work: Work, f: AnyField) -> None:
    _update_to(work, f, work.rows.value(work.model, f))


def _update_to(work: Work, f: AnyField, value: Any, *, compare: bool = True) -> None:
    key = work.create().pk
    before = work.all.values(*[g.attname for g in changeable(work.model)]).get(pk=key)
    _changed(work.all.filter(pk=key).update(**{f.attname: value}))
    if compare:
        work.verify(key, {**before, f.attname: value})


def _update_by_expression(work: Work, f: AnyField) -> None:
    single = f.name in unique_fields(work.model)
    counts = isinstance(f, models.IntegerField) and not single and not f.choices
    if work.keys:
        # Real values that a trigger has to convert.
        work.all.filter(pk__in=list(work.keys)).update(**{f.attname: F(f.attname)})
    made = work.create()
    value = made.__dict__.get(f.attname)
    expression = F(f.attname) + 1 if counts else F(f.attname)
    _changed(work.all.filter(pk=made.pk).update(**{f.attname: expression}))
    if isinstance(value, int) and counts:
        work.verify(made.pk, {f.attname: value + 1})


def _changed(count: int) -> None:
    if count != 1:
        raise LostWrite(f"an UPDATE of one row reported {count} rows")


# Upserts


def _upserts(work: Work) -> Iterator[Call]:
    keys: list[tuple[str, ...]] = [tuple(f.name for f in work.model._meta.pk_fields)]
    keys += upsert_keys(work.model)
    for names in keys:
        yield Call("get_or_create({})", partial(_get_or_create, work, names), names, key=True)
        call = partial(_update_or_create, work, names)
        yield Call("update_or_create({})", call, names, key=True)
        if work.model._meta.parents:
            continue
        yield Call(
            "bulk_create(update_conflicts, unique_fields=[{}])",
            partial(_bulk_upsert, work, names),
            names,
            key=True,
        )
        if not _has_deferrable(work):
            call = partial(_bulk_ignore, work, names)
            yield Call("bulk_create(ignore_conflicts) on {}", call, names, key=True)


def _has_deferrable(work: Work) -> bool:
    """Whether ON CONFLICT DO NOTHING would meet a deferrable constraint, which it can't."""
    return any(
        isinstance(c, models.UniqueConstraint) and c.deferrable is not None
        for c in work.model._meta.constraints
    )


def _twice(work: Work, names: tuple[str, ...]) -> tuple[dict[str, Any], ...]:
    """Return the values of a key, and two times values for the rest."""
    fields: list[Any] = [work.model._meta.get_field(name) for name in names]
    first = work.rows.row(work.model, explicit=any(f.primary_key for f in fields))
    second = work.rows.row(work.model)
    attnames = [f.attname for f in fields]
    lookup = {name: first.pop(name) for name in attnames if name in first}
    # Not the key, which stays; and no files, which an ImageField would open to know their size.
    kept = {f.attname for f in _by_instance(work)} - set(lookup)
    again = {name: value for name, value in second.items() if name in kept}
    return lookup, first, again


def _get_or_create(work: Work, names: tuple[str, ...]) -> None:
    lookup, values, _ = _twice(work, names)
    for _ in range(2):
        instance, _created = work.all.get_or_create(**lookup, defaults=values)
    work.verify(instance.pk, {**values, **lookup})


def _update_or_create(work: Work, names: tuple[str, ...]) -> None:
    lookup, values, again = _twice(work, names)
    work.all.update_or_create(**lookup, defaults=values)
    instance, _ = work.all.update_or_create(**lookup, defaults=again, create_defaults=values)
    work.verify(instance.pk, {**again, **lookup})


def _bulk_upsert(work: Work, names: tuple[str, ...]) -> None:
    lookup, values, again = _twice(work, names)
    changed = [f.name for f in changeable(work.model) if f.name not in names]
    if not changed:
        return
    for given in (values, {**values, **again}):
        work.all.bulk_create(
            [work.model(**lookup, **given)],
            update_conflicts=True,
            unique_fields=list(names),
            update_fields=changed,
        )
    found = work.all.get(**lookup)
    written = {f.attname: again[f.attname] for f in changeable(work.model) if f.attname in again}
    work.verify(found.pk, written)


def _bulk_ignore(work: Work, names: tuple[str, ...]) -> None:
    lookup, values, again = _twice(work, names)
    pk = {f.attname: values[f.attname] for f in work.model._meta.pk_fields if f.attname in values}
    for given in (values, {**values, **again}):
        work.all.bulk_create([work.model(**lookup, **given)], ignore_conflicts=True)
    found = work.all.get(**lookup)
    work.verify(found.pk, {k: v for k, v in values.items() if k not in pk})


# Deleting


def _deletes(work: Work) -> Iterator[Call]:
    yield Call("delete()", partial(_delete, work))
    yield Call("filter(…).delete()", partial(_delete_by_query, work))
    children = 0
    for relation in work.model._meta.related_objects:
        child = relation.related_model
        if relation.many_to_many or children >= CHILDREN or child._meta.auto_created:
            continue
        f: Any = relation.field
        if child._meta.managed and not child._meta.proxy and f.model is child:
            if getattr(f.remote_field, "parent_link", False):
                continue
            children += 1
            name = ".".join([*key_of(child), f.name])
            run: Callable[[], None] = partial(_delete_with_child, work, f)
            yield Call("delete() with a row of {} pointing at it", run, (name,))


def _delete(work: Work) -> None:
    made = work.create()
    key = made.pk
    work.all.get(pk=key).delete(using=work.rows.session.alias)
    _gone(work, key)


def _delete_by_query(work: Work) -> None:
    key = work.create().pk
    work.all.filter(pk=key).delete()
    _gone(work, key)


def _delete_with_child(work: Work, f: Any) -> None:
    made = work.create()
    values = work.rows.row(f.model)
    values[f.attname] = getattr(made, f.target_field.attname)
    work.rows.of(f.model).create(**values)
    made.delete(using=work.rows.session.alias)


def _gone(work: Work, key: Any) -> None:
    if work.all.filter(pk=key).exists():
        raise LostWrite("the row is still there after it was deleted")
    other = work.side.partner(work.model)
    if work.both and other is not None and len(work.shared()) > 0:
        try:
            with work.rows.session.undone():
                left = work.rows.of(other).filter(pk=key).exists()
        except DatabaseError:
            # What it can't read at all is found out, and named, by its own calls.
            return
        if left:
            raise LostWrite(f"{work.side.other.name} code still finds the row")
