"""Python's and Django's functions that pass rows on, gather them, or cut them into batches."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.events import Kind
from django_safemigrations.lint.python.loops import element, fetch
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Condition,
    Constant,
    Expression,
    Extent,
    Form,
    Function,
    Listing,
    Model,
    Pages,
    Part,
    Row,
    Rows,
    Tuple,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader
    from django_safemigrations.lint.python.scope import Scope

CUTTERS = ("chunk", "batch", "slice", "page", "grouper", "window", "split", "partition")
"""Words in the names of functions that cut a collection into pieces."""


def guess(name: str, args: Sequence[Value], result: Value) -> Value:
    """Return what a function that can't be followed makes of the rows it is given."""
    given = next((value for value in args if isinstance(value, Rows | Listing)), None)
    if given is None:
        return result
    if any(word in name.lower() for word in CUTTERS):
        return batches(given)
    return given


def batches(given: Rows | Listing) -> Listing:
    """Return rows in pieces, one after the other."""
    if isinstance(given, Rows):
        piece: Value = replace(given, extent=min(given.extent, Extent.PART), form=Form.LIST)
    else:
        piece = replace(given, extent=min(given.extent, Extent.PART))
    return Listing(piece, Extent.PART, turns=True)


def _list(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    if not args:
        return Listing(UNKNOWN, Extent.FEW, len(reader.loops))
    given = args[0]
    if isinstance(given, Rows):
        fetch(reader, node, given)
        if given.extent is Extent.WHOLE and not given.values and given.form is not Form.LIST:
            reader.note(Kind.GATHER, node, model=given.model, extent=given.extent, detail="list")
        return replace(given, form=Form.LIST)
    if isinstance(given, Listing):
        return given
    if isinstance(given, Constant):
        return given
    return Listing(UNKNOWN, Extent.FEW, len(reader.loops))


def _mapping(
    reader: Reader, node: ast.Call, args: Sequence[Value], kw: Mapping[str, Value], scope: Scope
) -> Value:
    given = args[0] if args else UNKNOWN
    if isinstance(given, Rows):
        fetch(reader, node, given)
        return Listing(Part(None, looped=True), given.extent, len(reader.loops))
    return _list(reader, node, args, kw, scope)


def _new(
    reader: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return Listing(UNKNOWN, Extent.FEW, len(reader.loops))


def _length(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    if args and isinstance(args[0], Rows):
        fetch(reader, node, args[0])
    return UNKNOWN


def _enumerate(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return _beside(reader, node, args[:1], first=Part(None))


def _zip(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return _beside(reader, node, args)


def _beside(
    reader: Reader, node: ast.Call, args: Sequence[Value], first: Value | None = None
) -> Value:
    parts = [first] if first is not None else []
    extent, turns, grouped = Extent.FEW, False, False
    known = False
    for given in args:
        if isinstance(given, Rows):
            fetch(reader, node, given)
            extent, known = max(extent, given.extent), True
            grouped = grouped or (given.distinct and given.values)
        elif isinstance(given, Listing):
            extent, known = max(extent, given.extent), True
            turns, grouped = turns or given.turns, grouped or given.grouped
        elif isinstance(given, Constant | Tuple):
            known = True
        parts.append(element(reader, given))
    if not known:
        return UNKNOWN
    return Listing(Tuple(tuple(parts)), extent, len(reader.loops), grouped, turns)


def _same(
    _r: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return args[0] if args else UNKNOWN


def _iter(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    if len(args) == 2 and isinstance(args[0], Function):
        # Called until it gives the sentinel: batch after batch.
        piece = reader.enter(args[0], [], {}, node.lineno)
        return Listing(piece, Extent.PART, len(reader.loops), turns=True)
    return args[0] if args else UNKNOWN


def _next(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return element(reader, args[0]) if args else UNKNOWN


def _islice(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    given = args[0] if args else UNKNOWN
    if isinstance(given, Rows | Listing):
        if isinstance(given, Listing) and given.turns:
            return given
        return replace(given, extent=min(given.extent, Extent.PART))
    return UNKNOWN


def _cut(
    _r: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    given = next((value for value in args if isinstance(value, Rows | Listing)), None)
    return batches(given) if given is not None else Listing(UNKNOWN, Extent.PART, turns=True)


def _grouped(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    given = args[0] if args else UNKNOWN
    if isinstance(given, Rows):
        fetch(reader, node, given)
    if isinstance(given, Rows | Listing):
        group = Listing(element(reader, given), Extent.PART)
        return Listing(Tuple((UNKNOWN, group)), given.extent, grouped=True)
    return UNKNOWN


def _range(
    _r: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    few = all(isinstance(a, Constant) and isinstance(a.value, int) and a.value < 100 for a in args)
    return Listing(UNKNOWN, Extent.FEW) if few else UNKNOWN


def _condition(
    _r: Reader, _n: ast.Call, args: Sequence[Value], kw: Mapping[str, Value], _s: Scope
) -> Value:
    inner = [value for value in args if isinstance(value, Condition)]
    merged = [pair for value in inner for pair in value.keywords]
    return Condition((*merged, *kw.items()), any(value.alternatives for value in inner))


def _field(
    _r: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    names = [a.value for a in args if isinstance(a, Constant) and isinstance(a.value, str)]
    return Expression(frozenset(names))


def _expression(
    _r: Reader, _n: ast.Call, args: Sequence[Value], kw: Mapping[str, Value], _s: Scope
) -> Value:
    fields: frozenset[str] = frozenset()
    for value in [*args, *kw.values()]:
        if isinstance(value, Expression):
            fields |= value.fields
    return Expression(fields)


def _paginator(
    _r: Reader, _n: ast.Call, args: Sequence[Value], kw: Mapping[str, Value], _s: Scope
) -> Value:
    given = args[0] if args else kw.get("object_list", UNKNOWN)
    return Pages(given) if isinstance(given, Rows) else UNKNOWN


def _getattr(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    from django_safemigrations.lint.python.expressions import attribute_of

    if len(args) == 2 and isinstance(args[1], Constant) and isinstance(args[1].value, str):
        return attribute_of(reader, node, args[0], args[1].value)
    if args and isinstance(args[0], Row):
        return Part(args[0], "", args[0].looped)
    return UNKNOWN


def _setattr(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], scope: Scope
) -> Value:
    if len(args) == 3 and isinstance(args[0], Model):
        reader.patched.update(str(a.value) for a in args[1:2] if isinstance(a, Constant))
    if len(args) == 3 and isinstance(args[0], Row) and isinstance(node.args[0], ast.Name):
        name = args[1].value if isinstance(args[1], Constant) else "*"
        known = replace(args[0], names=args[0].names | {str(name)})
        scope.bind(node.args[0].id, known)
    return UNKNOWN


def _partial(
    _r: Reader, _n: ast.Call, args: Sequence[Value], kw: Mapping[str, Value], _s: Scope
) -> Value:
    if args and isinstance(args[0], Function):
        return replace(
            args[0],
            before=(*args[0].before, *args[1:]),
            keywords={**args[0].keywords, **kw},
        )
    return UNKNOWN


def _apply(
    reader: Reader, node: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    """``map``: the function is called with each element."""
    if len(args) == 2 and isinstance(args[0], Function):
        with reader.looping(reader.iterate(node, args[1], [])):
            result = reader.enter(args[0], [element(reader, args[1])], {}, node.lineno)
        extent = args[1].extent if isinstance(args[1], Rows | Listing) else Extent.FEW
        return Listing(result, extent, len(reader.loops))
    return args[1] if len(args) > 1 and isinstance(args[1], Rows | Listing) else UNKNOWN


def _second(
    _r: Reader, _n: ast.Call, args: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return args[1] if len(args) > 1 else UNKNOWN


def _nothing(
    _r: Reader, _n: ast.Call, _a: Sequence[Value], _kw: Mapping[str, Value], _s: Scope
) -> Value:
    return UNKNOWN


Builtin = Callable[["Reader", ast.Call, Sequence[Value], Mapping[str, Value], "Scope"], Value]

FUNCTIONS: dict[str, Builtin] = {
    "list": _list,
    "tuple": _list,
    "set": _list,
    "frozenset": _list,
    "sorted": _list,
    "dict": _mapping,
    "defaultdict": _new,
    "OrderedDict": _mapping,
    "Counter": _mapping,
    "deque": _list,
    "len": _length,
    "bool": _length,
    "any": _length,
    "all": _length,
    "enumerate": _enumerate,
    "zip": _zip,
    "reversed": _same,
    "tqdm": _same,
    "track": _same,
    "iter": _iter,
    "next": _next,
    "map": _apply,
    "filter": _second,
    "range": _range,
    "trange": _range,
    "islice": _islice,
    "batched": _cut,
    "chunked": _cut,
    "groupby": _grouped,
    "chain": _same,
    "Q": _condition,
    "F": _field,
    "OuterRef": _expression,
    "Subquery": _expression,
    "Case": _expression,
    "When": _expression,
    "Value": _expression,
    "Concat": _expression,
    "Coalesce": _expression,
    "Lower": _expression,
    "Upper": _expression,
    "Cast": _expression,
    "ExpressionWrapper": _expression,
    "Func": _expression,
    "Paginator": _paginator,
    "getattr": _getattr,
    "setattr": _setattr,
    "partial": _partial,
    "hasattr": _nothing,
    "isinstance": _nothing,
    "print": _nothing,
    "str": _nothing,
    "int": _nothing,
}
