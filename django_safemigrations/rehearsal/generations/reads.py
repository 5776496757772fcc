"""Every kind of read of one model, on a handful of rows that an index leads to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Count, F, Max, Min

from django_safemigrations.rehearsal.generations.sides import AnyField
from django_safemigrations.rehearsal.generations.values import is_djangos, kind
from django_safemigrations.rehearsal.generations.work import Call, LostWrite, Work

FEW = 5
ORDERED = {"int", "decimal", "float", "text", "date", "datetime", "time", "duration"}
"""Kinds that min() and max() know in every version of PostgreSQL."""


def read_calls(work: Work) -> Iterator[Call]:
    """Yield the reads; none depends on another."""
    rows, keys = work.all, work.keys
    yield Call("all()", lambda: _use(rows[:FEW]))
    yield Call("count()", lambda: _use(rows[:FEW].count()))
    yield Call("exists()", lambda: _use(rows.exists()))
    yield Call("order_by(pk)", lambda: _use(rows.order_by("pk")[:FEW]))
    yield Call("values()", lambda: _use(rows.values()[:FEW]))
    for key in keys[:FEW]:
        yield Call("get(pk=…)", partial(rows.get, pk=key), real=True)
    if keys:
        yield Call("select_for_update()", lambda: _use(rows.select_for_update().filter(pk=keys[0])))
    for f in work.model._meta.concrete_fields:
        yield from _reads_of_field(work, f)
    yield from _reads_of_relations(work)
    if work.both and work.side.name == "new":
        for key in keys:
            call = partial(_compare, work, key)
            yield Call("get(pk=…) of a row that was there", call, real=True)


def _reads_of_field(work: Work, f: AnyField) -> Iterator[Call]:
    some = work.all.filter(pk__in=list(work.keys))
    name, attname = f.name, f.attname

    def call(what: str, run: Callable[[], None]) -> Call:
        return Call(what, run, (name,), real=True)

    def filtered(*, exclude: bool) -> None:
        values = list(some.values_list(attname, flat=True)[:FEW])
        known = [value for value in values if value is not None]
        lookup = {attname: known[0]} if known else {f"{attname}__isnull": True}
        found = some.exclude(**lookup) if exclude else some.filter(**lookup)
        if not found.exists() and known and not exclude and comparable:
            raise LostWrite(f"no row is found by the value that was read from {name}")

    comparable = is_djangos(f) and kind(f) in ORDERED | {"bool", "uuid"} and kind(f) != "float"
    yield call("values({})", lambda: _use(some.values(attname)))
    yield call("only({})", lambda: _use(some.only(name)))
    if not f.primary_key:
        yield call("defer({})", lambda: _use(some.defer(name)))
    yield call("filter({}__isnull=…)", lambda: _use(some.filter(**{f"{attname}__isnull": True})))
    yield call("annotate(Count({}))", lambda: _use(some.aggregate(Count(attname))))
    if is_djangos(f) and kind(f):
        yield call("filter({}=…)", partial(filtered, exclude=False))
        yield call("exclude({}=…)", partial(filtered, exclude=True))
        yield call("filter({}=F(…))", lambda: _use(some.filter(**{attname: F(attname)})))
        yield call("order_by({})", lambda: _use(some.order_by(attname)))
    if is_djangos(f) and kind(f) in ORDERED:
        yield call(
            "aggregate(Min({}), Max(…))", lambda: _use(some.aggregate(Min(attname), Max(attname)))
        )


def _reads_of_relations(work: Work) -> Iterator[Call]:
    some = work.all.filter(pk__in=list(work.keys))
    every: list[Any] = work.model._meta.get_fields()
    for f in every:
        if not f.is_relation or f.related_model is None:
            continue
        if f.many_to_one or (f.one_to_one and f.concrete):
            name = f.name
            yield Call("select_related({})", partial(_joined, some, name), (name,))
            yield Call("prefetch_related({})", partial(_prefetched, some, name), (name,))
            yield Call("filter({}__pk=…)", partial(_through, some, name), (name,))
        else:
            # From the other side: it may be many rows, so no prefetch.
            accessor = f.get_accessor_name() if f.auto_created else f.name
            if accessor and not accessor.endswith("+") and work.keys:
                call = partial(_related, work, accessor)
                yield Call("{}.all()", call, (accessor,))


def _use(found: Any) -> None:
    if hasattr(found, "__iter__"):
        list(found)


def _joined(rows: Any, name: str) -> None:
    list(rows.select_related(name))


def _prefetched(rows: Any, name: str) -> None:
    list(rows.prefetch_related(name))


def _through(rows: Any, name: str) -> None:
    list(rows.filter(**{f"{name}__pk__isnull": False}).order_by(f"{name}__pk"))


def _related(work: Work, accessor: str) -> None:
    instance = work.all.filter(pk=work.keys[0]).first()
    if instance is None:
        return
    try:
        related = getattr(instance, accessor)
    except ObjectDoesNotExist:
        # The other side of a one-to-one field that nobody has filled.
        return
    if hasattr(related, "all"):
        list(related.all()[:FEW])


def _compare(work: Work, key: Any) -> None:
    names = [f.attname for f in work.model._meta.concrete_fields]
    found = list(work.all.filter(pk=key).values(*names)[:1])
    if found:
        work.compare(key, found[0])
