"""What an assignment does to names, rows and collections."""

from __future__ import annotations

import ast
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.events import LoopKind, spread
from django_safemigrations.lint.python.expressions import evaluate
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Constant,
    Extent,
    Listing,
    Model,
    Row,
    Rows,
    Tuple,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader
    from django_safemigrations.lint.python.scope import Scope


def assign(reader: Reader, target: ast.expr, value: Value, scope: Scope) -> None:
    """Follow the assignment of a value to a target."""
    if isinstance(target, ast.Name):
        scope.bind(target.id, value)
    elif isinstance(target, ast.Tuple | ast.List):
        items = value.items if isinstance(value, Tuple) else ()
        fits = len(items) == len(target.elts)
        for index, part in enumerate(target.elts):
            inner = part.value if isinstance(part, ast.Starred) else part
            rest = value if not isinstance(value, Tuple | Row | Rows | Listing) else UNKNOWN
            assign(reader, inner, items[index] if fits else rest, scope)
    elif isinstance(target, ast.Attribute):
        _assign_attribute(reader, target, value, scope)
    elif isinstance(target, ast.Subscript):
        evaluate(reader, target.slice, scope)
        if isinstance(target.value, ast.Name) and not isinstance(target.slice, ast.Slice):
            gather(reader, target.value, value, scope)
        else:
            evaluate(reader, target.value, scope)


def _assign_attribute(reader: Reader, target: ast.Attribute, value: Value, scope: Scope) -> None:
    owner = evaluate(reader, target.value, scope)
    if isinstance(owner, Model):
        # The historical class is given what it lacks.
        reader.patched.add(target.attr)
    if isinstance(owner, Row) and isinstance(target.value, ast.Name):
        known = replace(owner, names=owner.names | {target.attr})
        if target.attr in ("pk", "id") and isinstance(value, Constant) and value.value is None:
            # Saved without a key, a row is a copy.
            known = replace(known, fresh=True)
        scope.bind(target.value.id, known)


def assign_in_place(reader: Reader, node: ast.AugAssign, value: Value, scope: Scope) -> None:
    """Follow ``+=``: a collection that grows stays a collection."""
    target = node.target
    if not isinstance(target, ast.Name):
        evaluate(reader, target, scope)
        return
    if isinstance(scope.find(target.id), Listing) and isinstance(value, Listing):
        gather(reader, target, value.items, scope)
    elif isinstance(scope.find(target.id), Listing) and isinstance(value, Rows):
        gather(reader, target, UNKNOWN if value.values else Row(value.model), scope, value.extent)
    else:
        scope.bind(target.id, UNKNOWN)


def gather(
    reader: Reader,
    target: ast.expr,
    item: Value,
    scope: Scope,
    extent: Extent = Extent.FEW,
    *,
    grouped: bool = False,
) -> None:
    """Follow how something is put into a collection."""
    while isinstance(target, ast.Subscript | ast.Attribute | ast.Call):
        grouped = grouped or isinstance(target, ast.Subscript)
        target = target.func if isinstance(target, ast.Call) else target.value
    if not isinstance(target, ast.Name):
        return
    holder = scope.find(target.id)
    if isinstance(holder, Constant) and isinstance(holder.value, list | dict | set | tuple):
        holder = Listing(UNKNOWN)
    if not isinstance(holder, Listing):
        return
    loops = reader.loops[holder.born :]
    emptied = [loop for loop in loops if target.id in loop.resets]
    many = spread(extent, loops)
    if emptied and many is Extent.WHOLE:
        whole = [loop for loop in loops if loop.kind >= LoopKind.GROUPS]
        many = Extent.PART if all(loop in emptied for loop in whole) else many
    scope.bind(
        target.id,
        replace(
            holder,
            items=item if item != UNKNOWN or holder.extent is Extent.FEW else holder.items,
            extent=max(many, holder.extent),
            grouped=holder.grouped or grouped,
            source=holder.source or next((loop.model for loop in loops if loop.model), None),
        ),
    )
