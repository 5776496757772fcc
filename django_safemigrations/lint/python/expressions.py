"""What an expression stands for."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django_safemigrations.lint.python.events import LoopKind, spread
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Apps,
    Bound,
    Condition,
    Connection,
    Constant,
    Cursor,
    Editor,
    Expression,
    Extent,
    Function,
    Instance,
    Listing,
    Model,
    Pages,
    Part,
    Row,
    Rows,
    Tuple,
    Unknown,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader
    from django_safemigrations.lint.python.scope import Scope


LONGEST = 100_000
"""Characters of a text that is put together; enough for any SQL."""


def evaluate(reader: Reader, node: ast.expr, scope: Scope) -> Value:
    """Return what an expression stands for; what it does is written down."""
    handler = HANDLERS.get(type(node))
    if handler is not None:
        return handler(reader, node, scope)
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.expr):
            evaluate(reader, child, scope)
    return UNKNOWN


def _constant(_reader: Reader, node: ast.Constant, _scope: Scope) -> Value:
    return Constant(node.value)


def _name(_reader: Reader, node: ast.Name, scope: Scope) -> Value:
    return scope.find(node.id)


def _attribute(reader: Reader, node: ast.Attribute, scope: Scope) -> Value:
    owner = evaluate(reader, node.value, scope)
    return attribute_of(reader, node, owner, node.attr)


def attribute_of(reader: Reader, node: ast.expr, owner: Value, name: str) -> Value:
    """Return what an attribute of a value is."""
    from django_safemigrations.lint.python import orm

    if isinstance(owner, Unknown):
        from django_safemigrations.lint.python.names import value_at

        return value_at(f"{owner.path}.{name}") if owner.path else UNKNOWN
    if isinstance(owner, Editor):
        if name == "connection":
            reader.reading.minds_alias = True
            return Connection(given=True)
        return Bound(owner, name)
    if isinstance(owner, Connection | Cursor | Apps | Listing | Pages | Condition):
        return Bound(owner, name)
    if isinstance(owner, Model):
        return orm.model_attribute(reader, node, owner, name)
    if isinstance(owner, Rows):
        return owner if name == "object_list" else Bound(owner, name)
    if isinstance(owner, Function):
        return Bound(owner, name)
    if isinstance(owner, Row):
        return orm.row_attribute(reader, node, owner, name)
    if isinstance(owner, Part):
        return replace(owner, name=name) if owner.row is None else Bound(owner, name)
    if isinstance(owner, Instance):
        return _instance_attribute(owner, name)
    if isinstance(owner, Constant | Tuple):
        return Bound(owner, name)
    return UNKNOWN


def _instance_attribute(owner: Instance, name: str) -> Value:
    from django_safemigrations.lint.python.names import function_value, value_of

    for cls in owner.cls.__mro__:
        if name in vars(cls):
            thing = vars(cls)[name]
            plain = isinstance(thing, staticmethod)
            found = function_value(thing)
            if found is None:
                return value_of(thing, "")
            if plain or (owner.is_class and not isinstance(thing, classmethod)):
                return found
            return replace(found, before=(owner, *found.before))
    return UNKNOWN


def _call(reader: Reader, node: ast.Call, scope: Scope) -> Value:
    return reader.call(node, evaluate(reader, node.func, scope), scope)


def _lambda(_reader: Reader, node: ast.Lambda, scope: Scope) -> Value:
    return Function(node, scope.names, scope)


def _collection(reader: Reader, node: Any, scope: Scope) -> Value:
    items = [evaluate(reader, element, scope) for element in node.elts]
    if isinstance(node, ast.Tuple):
        return Tuple(tuple(items))
    if items and all(isinstance(item, Constant) for item in items):
        return Constant([item.value for item in items if isinstance(item, Constant)])
    if len(items) == 1 and isinstance(node.elts[0], ast.Starred):
        return items[0] if isinstance(items[0], Rows | Listing) else Listing(UNKNOWN)
    return Listing(items[-1] if items else UNKNOWN, Extent.FEW, len(reader.loops))


def _starred(reader: Reader, node: ast.Starred, scope: Scope) -> Value:
    return evaluate(reader, node.value, scope)


def _mapping(reader: Reader, node: ast.Dict, scope: Scope) -> Value:
    for key in node.keys:
        if key is not None:
            evaluate(reader, key, scope)
    items = [evaluate(reader, value, scope) for value in node.values]
    return Listing(items[-1] if items else UNKNOWN, Extent.FEW, len(reader.loops))


def _comprehension(reader: Reader, node: Any, scope: Scope) -> Value:
    elements: Sequence[ast.expr] = (
        [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
    )
    return _generators(reader, list(node.generators), elements, scope, len(reader.loops))


def _generators(
    reader: Reader,
    generators: list[ast.comprehension],
    elements: Sequence[ast.expr],
    scope: Scope,
    born: int,
) -> Value:
    from django_safemigrations.lint.python.loops import element
    from django_safemigrations.lint.python.scope import Scope as Inner
    from django_safemigrations.lint.python.targets import assign

    if not generators:
        value = [evaluate(reader, part, scope) for part in elements][-1]
        inside = reader.loops[born:]
        # A number of turns that nobody knows, as over a tuple of names, is not the whole table.
        extent = spread(Extent.FEW, inside)
        turns = bool(inside) and inside[-1].kind is LoopKind.TURNS and isinstance(value, Rows)
        source = next((loop.model for loop in inside if loop.model), None)
        extent = Extent.PART if turns else extent
        return Listing(value, extent, born, turns=turns, source=source)
    first, *rest = generators
    inner = Inner(scope.names, scope)
    iterable = evaluate(reader, first.iter, scope)
    with reader.looping(reader.iterate(first.iter, iterable, [])):
        assign(reader, first.target, element(reader, iterable), inner)
        for test in first.ifs:
            evaluate(reader, test, inner)
        return _generators(reader, rest, elements, inner, born)


def _subscript(reader: Reader, node: ast.Subscript, scope: Scope) -> Value:
    from django_safemigrations.lint.python.loops import element, fetch

    owner = evaluate(reader, node.value, scope)
    if isinstance(node.slice, ast.Slice):
        for part in (node.slice.lower, node.slice.upper):
            if part is not None:
                evaluate(reader, part, scope)
        if isinstance(owner, Rows | Listing) and node.slice.upper is not None:
            few = is_small_number(node.slice.upper)
            smallest = Extent.FEW if few else Extent.PART
            return replace(owner, extent=min(owner.extent, smallest))
        return owner
    evaluate(reader, node.slice, scope)
    if isinstance(owner, Rows):
        one = replace(owner, extent=Extent.FEW, filtered=True)
        fetch(reader, node, one)
        return element(reader, one)
    if isinstance(owner, Listing):
        return element(reader, owner) if owner.items != UNKNOWN else UNKNOWN
    if isinstance(owner, Connection):
        return owner
    if isinstance(owner, Part):
        return owner
    if isinstance(owner, Tuple) and isinstance(node.slice, ast.Constant):
        index = node.slice.value
        if isinstance(index, int) and -len(owner.items) <= index < len(owner.items):
            return owner.items[index]
    if isinstance(owner, Constant):
        return UNKNOWN
    return UNKNOWN


def is_small_number(node: ast.expr) -> bool:
    """Return whether a slice ends after very few rows."""
    return isinstance(node, ast.Constant) and isinstance(node.value, int) and node.value <= 20


def _either(reader: Reader, node: ast.IfExp, scope: Scope) -> Value:
    evaluate(reader, node.test, scope)
    first = evaluate(reader, node.body, scope)
    second = evaluate(reader, node.orelse, scope)
    return first if isinstance(second, Constant) else second


def _logical(reader: Reader, node: ast.BoolOp, scope: Scope) -> Value:
    values = [evaluate(reader, value, scope) for value in node.values]
    return next((value for value in values if isinstance(value, Rows | Row)), values[-1])


def _operation(reader: Reader, node: ast.BinOp, scope: Scope) -> Value:
    left = evaluate(reader, node.left, scope)
    right = evaluate(reader, node.right, scope)
    if isinstance(left, Condition) and isinstance(right, Condition):
        if isinstance(node.op, ast.BitAnd):
            return Condition(
                left.keywords + right.keywords, left.alternatives or right.alternatives
            )
        return Condition(left.keywords + right.keywords, alternatives=True)
    if isinstance(left, Condition | Rows):
        return left
    if isinstance(left, Expression) or isinstance(right, Expression):
        fields: frozenset[str] = frozenset()
        for side in (left, right):
            if isinstance(side, Expression):
                fields |= side.fields
        return Expression(fields)
    if isinstance(left, Constant) and isinstance(right, Constant) and isinstance(node.op, ast.Add):
        texts = left.value, right.value
        if isinstance(texts[0], str) and isinstance(texts[1], str) and len(texts[0]) < LONGEST:
            return Constant(texts[0] + texts[1])
    if isinstance(left, Listing):
        return left
    if isinstance(left, Part):
        return left
    return UNKNOWN


def _text(reader: Reader, node: ast.JoinedStr, scope: Scope) -> Value:
    """Return an f-string, if all of it is constant."""
    parts: list[str] = []
    constant = True
    for part in node.values:
        value = evaluate(
            reader, part.value if isinstance(part, ast.FormattedValue) else part, scope
        )
        plain = not isinstance(part, ast.FormattedValue) or part.format_spec is None
        if plain and isinstance(value, Constant) and isinstance(value.value, str | int):
            parts.append(str(value.value))
        else:
            constant = False
    return Constant("".join(parts)) if constant else UNKNOWN


def _unary(reader: Reader, node: ast.UnaryOp, scope: Scope) -> Value:
    value = evaluate(reader, node.operand, scope)
    if isinstance(value, Condition):
        # A negated condition bounds nothing.
        return Condition(value.keywords, alternatives=True)
    return UNKNOWN


def _walrus(reader: Reader, node: ast.NamedExpr, scope: Scope) -> Value:
    value = evaluate(reader, node.value, scope)
    scope.bind(node.target.id, value)
    return value


def _yield(reader: Reader, node: ast.Yield, scope: Scope) -> Value:
    if node.value is not None:
        reader.give(evaluate(reader, node.value, scope))
    return UNKNOWN


def _yield_from(reader: Reader, node: ast.YieldFrom, scope: Scope) -> Value:
    from django_safemigrations.lint.python.loops import element

    value = evaluate(reader, node.value, scope)
    if isinstance(value, Rows | Listing):
        with reader.looping(reader.iterate(node, value, [])):
            reader.give(element(reader, value))
    return UNKNOWN


def _await(reader: Reader, node: ast.Await, scope: Scope) -> Value:
    return evaluate(reader, node.value, scope)


Handler = Callable[["Reader", Any, "Scope"], Value]

HANDLERS: dict[type[ast.expr], Handler] = {
    ast.Constant: _constant,
    ast.Name: _name,
    ast.Attribute: _attribute,
    ast.Call: _call,
    ast.Lambda: _lambda,
    ast.List: _collection,
    ast.Tuple: _collection,
    ast.Set: _collection,
    ast.Starred: _starred,
    ast.Dict: _mapping,
    ast.ListComp: _comprehension,
    ast.SetComp: _comprehension,
    ast.DictComp: _comprehension,
    ast.GeneratorExp: _comprehension,
    ast.Subscript: _subscript,
    ast.IfExp: _either,
    ast.BoolOp: _logical,
    ast.BinOp: _operation,
    ast.UnaryOp: _unary,
    ast.NamedExpr: _walrus,
    ast.JoinedStr: _text,
    ast.Yield: _yield,
    ast.YieldFrom: _yield_from,
    ast.Await: _await,
}
