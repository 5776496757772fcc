"""What code does with ManyToManyFields whose tables Django makes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db import DatabaseError

from django_safemigrations.rehearsal.generations.sides import key_of
from django_safemigrations.rehearsal.generations.work import Call, LostWrite, Work


def link_calls(work: Work) -> Iterator[Call]:
    """Yield the calls on the many-to-many fields of a model; each has to be undone."""
    fields: Any = work.model._meta.local_many_to_many
    for f in fields:
        through = f.remote_field.through
        if through._meta.auto_created:
            yield Call("{}.add(), remove(), set(), clear()", partial(_link, work, f), (f.name,))


def _link(work: Work, f: Any) -> None:
    owner = work.create()
    targets = [
        work.rows.of(f.related_model).create(**work.rows.row(f.related_model)) for _ in range(3)
    ]
    a, b, c = targets
    manager = getattr(owner, f.name)
    manager.add(a, c)
    manager.add(a)
    manager.remove(c)
    manager.set([b, c])
    manager.clear()
    manager.set([a, b])
    wanted = {a.pk, b.pk}
    _expect(set(manager.values_list("pk", flat=True)), wanted, work.side.name)
    fetched = work.all.prefetch_related(f.name).get(pk=owner.pk)
    _expect({target.pk for target in getattr(fetched, f.name).all()}, wanted, work.side.name)
    if not work.all.filter(pk=owner.pk, **{f.name: a.pk}).exists():
        raise LostWrite("a join finds nothing")
    if work.both:
        _read_as_other(work, f, owner.pk, wanted)


def _read_as_other(work: Work, f: Any, key: Any, wanted: set[Any]) -> None:
    other = work.side.partner(work.model)
    name = work.side.pairs.fields.get(key_of(work.model), {}).get(f.name)
    if other is None or name is None:
        return
    theirs = next((g for g in other._meta.local_many_to_many if g.name == name), None)
    if theirs is None:
        return
    # What it can't read at all is found out, and named, by its own calls.
    try:
        with work.rows.session.undone():
            owner = work.rows.of(other).get(pk=key)
            found = set(getattr(owner, name).values_list("pk", flat=True))
    except (DatabaseError, ObjectDoesNotExist):
        return
    _expect(found, wanted, work.side.other.name)


def _expect(found: set[Any], wanted: set[Any], who: str) -> None:
    if found != wanted:
        raise LostWrite(f"{who} code finds {len(found)} linked rows instead of {len(wanted)}")
