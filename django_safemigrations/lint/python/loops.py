"""What a loop goes through, and what an element of it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from django_safemigrations.lint.python.events import Kind, Loop, LoopKind
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Constant,
    Cursor,
    Extent,
    Form,
    Listing,
    Pages,
    Part,
    Row,
    Rows,
    Tuple,
    Value,
)

if TYPE_CHECKING:
    from django_safemigrations.lint.python.reading import Reader

KINDS = {Extent.FEW: LoopKind.FEW, Extent.PART: LoopKind.PART, Extent.WHOLE: LoopKind.WHOLE}


def loop_over(reader: Reader, node: ast.AST, iterable: Value) -> Loop:
    """Return the loop that goes through a value; if that takes a query, it is written down."""
    line = getattr(node, "lineno", 0)
    if isinstance(iterable, Rows):
        fetch(reader, node, iterable)
        kind = KINDS[iterable.extent]
        if iterable.distinct and iterable.values and kind is LoopKind.WHOLE:
            kind = LoopKind.GROUPS
        return Loop(
            kind,
            line,
            iterable.model,
            filtered=iterable.filtered,
            in_memory=iterable.form is not Form.ITERATOR and not iterable.values,
        )
    if isinstance(iterable, Listing):
        if iterable.turns:
            return Loop(LoopKind.TURNS, line)
        items = iterable.items
        parts = items.items if isinstance(items, Tuple) else (items,)
        model = next((part.model for part in parts if isinstance(part, Row)), None)
        kind = KINDS[iterable.extent]
        if iterable.grouped and kind is LoopKind.WHOLE:
            kind = LoopKind.GROUPS
        return Loop(kind, line, model)
    if isinstance(iterable, Constant | Tuple):
        return Loop(LoopKind.FEW, line)
    return Loop(LoopKind.TURNS, line)


def fetch(reader: Reader, node: ast.AST, rows: Rows) -> None:
    """Write down that a query is run, once for all if it was made outside of the loop."""
    if rows.form is Form.LIST:
        return
    reader.note(
        Kind.LOCK if rows.locked else Kind.READ,
        node,
        model=rows.model,
        extent=rows.extent,
        loops=reader.loops[: rows.born],
        using=rows.using,
    )


def element(reader: Reader, iterable: Value) -> Value:
    """Return what one element of a value is."""
    if isinstance(iterable, Rows):
        looped = iterable.extent is not Extent.FEW
        if iterable.values:
            return Part(None, looped=looped)
        return Row(
            iterable.model,
            looped=looped,
            names=iterable.names,
            joined=iterable.joined,
            using=iterable.using,
        )
    if isinstance(iterable, Listing):
        items = iterable.items
        return replace(items, born=len(reader.loops)) if isinstance(items, Rows) else items
    if isinstance(iterable, Pages):
        return replace(iterable.rows, extent=Extent.PART, born=len(reader.loops))
    if isinstance(iterable, Tuple):
        return iterable.items[-1] if iterable.items else UNKNOWN
    if isinstance(iterable, Constant) and isinstance(iterable.value, list | tuple):
        return Constant(iterable.value[0]) if len(iterable.value) == 1 else UNKNOWN
    if isinstance(iterable, Cursor):
        return Part(None)
    return UNKNOWN


def resets(body: Sequence[ast.AST]) -> frozenset[str]:
    """Return the names that statements empty: assigned anew, or cleared."""
    return frozenset(_resets(body))


def _resets(body: Sequence[ast.AST]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign):
                for target in node.targets:
                    if isinstance(target, ast.Name):
                        yield target.id
                    elif (
                        isinstance(target, ast.Subscript)
                        and isinstance(target.value, ast.Name)
                        and isinstance(target.slice, ast.Slice)
                    ):
                        yield target.value.id
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                yield node.target.id
            elif (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr == "clear"
                and isinstance(node.func.value, ast.Name)
            ):
                yield node.func.value.id
            elif isinstance(node, ast.Delete):
                for target in node.targets:
                    if isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
                        yield target.value.id


def skips(body: Sequence[ast.AST]) -> bool:
    """Return whether a loop's body leaves out rows by a condition."""
    return any(isinstance(node, ast.Continue) for part in body for node in ast.walk(part))
