"""What each method of a manager or queryset does with the rows."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.bounds import bounded
from django_safemigrations.lint.python.events import Kind
from django_safemigrations.lint.python.loops import fetch
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Condition,
    Constant,
    Expression,
    Extent,
    Form,
    Listing,
    Model,
    Part,
    Row,
    Rows,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader

Keywords = Mapping[str, Value]
Arguments = Sequence[Value]


def check_names(reader: Reader, node: ast.AST, rows: Rows, names: Iterable[str]) -> None:
    """Write down lookups that begin with what is no field of the state."""
    if "*" in rows.names or not rows.model.historical:
        return
    for name in names:
        first = name.partition("__")[0]
        if first in rows.names or name in rows.names:
            continue
        if missing := reader.facts.missing_field(rows.model, name):
            reader.note(Kind.ABSENT, node, model=rows.model, detail=missing, fields=(name,))


def strings(values: Iterable[Value]) -> list[str]:
    """Return the constant strings among values, those of lists as well."""
    found: list[str] = []
    for value in values:
        if isinstance(value, Constant):
            inner = value.value if isinstance(value.value, list | tuple | set) else [value.value]
            found += [name for name in inner if isinstance(name, str)]
    return found


def _merged(args: Arguments, keywords: Keywords) -> dict[str, Value] | None:
    """Return all conditions as keywords; None if one of them is an alternative."""
    merged = dict(keywords)
    for value in args:
        if isinstance(value, Condition):
            if value.alternatives:
                continue
            merged.update(value.keywords)
    return merged


def _checked(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> None:
    names = [*kw]
    for value in args:
        if isinstance(value, Condition):
            names += [name for name, _ in value.keywords]
    check_names(reader, node, rows, names)


def _filter(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    _checked(reader, node, rows, args, kw)
    return bounded(reader, rows, _merged(args, kw) or {})


def _exclude(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    _checked(reader, node, rows, args, kw)
    return replace(rows, filtered=True, manager=False)


def _same(_reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, manager=False)


def _all(reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, manager=False, born=len(reader.loops))


def _ordered(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, _kw: Keywords) -> Value:
    names = [name.lstrip("-+") for name in strings(args) if name != "?"]
    check_names(reader, node, rows, names)
    return replace(rows, manager=False)


def _values(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    check_names(reader, node, rows, strings(args))
    return replace(rows, values=True, manager=False, names=rows.names | set(kw))


def _joined(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, _kw: Keywords) -> Value:
    names = strings(args)
    check_names(reader, node, rows, names)
    joined = {"*"} if not args else {*names, *(name.partition("__")[0] for name in names)}
    return replace(rows, joined=rows.joined | joined, manager=False)


def _prefetched(
    _reader: Reader, _node: ast.Call, rows: Rows, args: Arguments, _kw: Keywords
) -> Value:
    names = set(strings(args))
    extra = set() if all(isinstance(value, Constant) for value in args) else {"*"}
    # A Prefetch object can put its rows anywhere.
    return replace(
        rows,
        joined=rows.joined | names | {name.partition("__")[0] for name in names} | extra,
        names=rows.names | extra,
        manager=False,
    )


def _annotated(
    _reader: Reader, _node: ast.Call, rows: Rows, args: Arguments, kw: Keywords
) -> Value:
    extra = {"*"} if args else set()
    return replace(rows, names=rows.names | set(kw) | extra, manager=False)


def _extra(_reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, names=rows.names | {"*"}, manager=False, filtered=True)


def _distinct(
    _reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords
) -> Value:
    return replace(rows, distinct=True, manager=False)


def _using(_reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, using=True, manager=False)


def _none(_reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, extent=Extent.FEW, form=Form.LIST, manager=False)


def _locked(_reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(rows, locked=True, manager=False)


def _iterator(
    _reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords
) -> Value:
    return rows if rows.form is Form.LIST else replace(rows, form=Form.ITERATOR, manager=False)


def _one(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    _checked(reader, node, rows, args, kw)
    if rows.form is Form.LIST:
        return UNKNOWN
    reader.note(Kind.LOCK if rows.locked else Kind.READ, node, model=rows.model, using=rows.using)
    if rows.values:
        return Part(None)
    return Row(rows.model, names=rows.names, joined=rows.joined, using=rows.using)


def _figure(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    if rows.form is not Form.LIST:
        reader.note(Kind.READ, node, model=rows.model, using=rows.using, detail="figure")
    return Part(None)


def _bulk(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    keys = args[0] if args else kw.get("id_list", UNKNOWN)
    found = bounded(reader, rows, {"pk__in": keys}) if keys is not UNKNOWN or args else rows
    fetch(reader, node, found)
    return Listing(Row(rows.model, names=rows.names), found.extent, len(reader.loops))


def _create(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    check_names(reader, node, rows, kw)
    reader.note(Kind.INSERT, node, model=rows.model, using=rows.using)
    return Row(rows.model)


def _get_or_create(
    reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords
) -> Value:
    check_names(reader, node, rows, [name for name in kw if "defaults" not in name])
    reader.note(
        Kind.INSERT,
        node,
        model=rows.model,
        using=rows.using,
        detail="reentrant",
        savepoints=reader.savepoints + 1,
    )
    from django_safemigrations.lint.python.values import Tuple

    return Tuple((Row(rows.model, using=rows.using), Constant(value=True)))


def _objects(args: Arguments, kw: Keywords, model: Model) -> tuple[Extent, Model]:
    """Return how many objects a bulk method gets, and the model whose rows decide that."""
    given = args[0] if args else kw.get("objs", UNKNOWN)
    if isinstance(given, Rows):
        return given.extent, given.model
    if isinstance(given, Listing):
        return given.extent, given.source or model
    return Extent.FEW, model


def _bulk_create(
    reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords
) -> Value:
    extent, source = _objects(args, kw, rows.model)
    again = bool({"ignore_conflicts", "update_conflicts"} & set(kw))
    reader.note(
        Kind.INSERT,
        node,
        model=rows.model,
        extent=extent,
        using=rows.using,
        detail="reentrant" if again else "bulk",
    )
    if extent is Extent.WHOLE and "batch_size" not in kw and len(args) < 2:
        reader.note(Kind.GATHER, node, model=source, extent=extent, detail="bulk_create")
    return Listing(Row(rows.model), extent, len(reader.loops))


def _bulk_update(
    reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords
) -> Value:
    extent, source = _objects(args, kw, rows.model)
    named = args[1] if len(args) > 1 else kw.get("fields", UNKNOWN)
    check_names(reader, node, rows, strings([named]))
    reader.note(
        Kind.UPDATE,
        node,
        model=rows.model,
        extent=extent,
        using=rows.using,
        detail="bulk",
        fields=tuple(strings([named])),
    )
    if extent is Extent.WHOLE and "batch_size" not in kw and len(args) < 3:
        reader.note(Kind.GATHER, node, model=source, extent=extent, detail="bulk_update")
    return UNKNOWN


def _update(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    check_names(reader, node, Rows(rows.model), kw)
    added = any(isinstance(v, Expression) and name in v.fields for name, v in kw.items())
    reader.note(
        Kind.UPDATE,
        node,
        model=rows.model,
        extent=rows.extent,
        using=rows.using,
        detail="increments" if added and not rows.filtered else "",
        fields=tuple(kw),
        emptied=tuple(n for n, v in kw.items() if isinstance(v, Constant) and v.value is None),
    )
    return Part(None)


def _delete(reader: Reader, node: ast.Call, rows: Rows, args: Arguments, kw: Keywords) -> Value:
    reader.note(Kind.DELETE, node, model=rows.model, extent=rows.extent, using=rows.using)
    return UNKNOWN


def _raw(reader: Reader, _node: ast.Call, rows: Rows, _args: Arguments, _kw: Keywords) -> Value:
    return replace(
        rows, names=frozenset({"*"}), filtered=True, manager=False, born=len(reader.loops)
    )


Query = Callable[["Reader", ast.Call, Rows, Arguments, Keywords], Value]

QUERIES: dict[str, Query] = {
    "all": _all,
    "get_queryset": _all,
    "filter": _filter,
    "complex_filter": _filter,
    "exclude": _exclude,
    "order_by": _ordered,
    "only": _ordered,
    "defer": _ordered,
    "reverse": _same,
    "union": _same,
    "intersection": _same,
    "difference": _same,
    "values": _values,
    "values_list": _values,
    "dates": _extra,
    "datetimes": _extra,
    "select_related": _joined,
    "prefetch_related": _prefetched,
    "annotate": _annotated,
    "alias": _annotated,
    "extra": _extra,
    "distinct": _distinct,
    "using": _using,
    "db_manager": _using,
    "none": _none,
    "select_for_update": _locked,
    "iterator": _iterator,
    "get": _one,
    "first": _one,
    "last": _one,
    "earliest": _one,
    "latest": _one,
    "count": _figure,
    "exists": _figure,
    "aggregate": _figure,
    "contains": _figure,
    "in_bulk": _bulk,
    "create": _create,
    "get_or_create": _get_or_create,
    "update_or_create": _get_or_create,
    "bulk_create": _bulk_create,
    "bulk_update": _bulk_update,
    "update": _update,
    "delete": _delete,
    "_raw_delete": _delete,
    "raw": _raw,
}
