"""The forms of a function's source: its parameters, its conditions, what it yields."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import replace

from django_safemigrations.lint.python.scope import Scope
from django_safemigrations.lint.python.sources import FunctionNode
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Constant,
    Listing,
    Tuple,
    Value,
)


def bind_arguments(
    node: FunctionNode, scope: Scope, given: Sequence[Value], keywords: Mapping[str, Value]
) -> None:
    """Bind the parameters of a function to what it is called with."""
    arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    names = [argument.arg for argument in positional]
    for argument in [*positional, *arguments.kwonlyargs]:
        scope.bind(argument.arg, UNKNOWN)
    defaults = arguments.defaults
    for name, default in zip(names[len(names) - len(defaults) :], defaults, strict=True):
        bind_default(scope, name, default)
    for argument, keyword in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword is not None:
            bind_default(scope, argument.arg, keyword)
    for name, value in zip(names, given, strict=False):
        scope.bind(name, value)
    if arguments.vararg is not None:
        scope.bind(arguments.vararg.arg, Tuple(tuple(given[len(names) :])))
    for name, value in keywords.items():
        if name in scope.local:
            scope.bind(name, value)
    if arguments.kwarg is not None:
        scope.bind(arguments.kwarg.arg, UNKNOWN)


def bind_default(scope: Scope, name: str, default: ast.expr) -> None:
    """Bind a parameter to its default, if that is a constant."""
    if isinstance(default, ast.Constant):
        scope.bind(name, Constant(default.value))
    elif isinstance(default, ast.Name):
        scope.bind(name, scope.names.find(default.id))


def generated(yields: Sequence[Listing], born: int) -> Value:
    """Return what a generator gives: one batch after the other, or row by row."""
    batches = [listing for listing in yields if listing.turns]
    return replace((batches or yields)[-1], born=born)


def now_and_then(test: ast.expr) -> bool:
    """Return whether a condition is that a list is full, or that a number of rows has passed."""
    for node in ast.walk(test):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return True
        if (
            isinstance(node, ast.Compare)
            and isinstance(node.left, ast.Call)
            and isinstance(node.left.func, ast.Name)
            and node.left.func.id == "len"
            and isinstance(node.ops[0], ast.Gt | ast.GtE | ast.Eq)
        ):
            comparator = node.comparators[0]
            return not (isinstance(comparator, ast.Constant) and comparator.value in (0, 1))
    return False


def fills_a_cache(node: ast.If) -> bool:
    """Return whether a condition asks for what is missing, and the body remembers it."""
    asks = any(
        (isinstance(part, ast.UnaryOp) and isinstance(part.op, ast.Not))
        or (isinstance(part, ast.Compare) and isinstance(part.ops[0], ast.NotIn | ast.Is))
        for part in ast.walk(node.test)
    )
    return asks and any(
        isinstance(statement, ast.Assign)
        and any(
            isinstance(part, ast.Subscript)
            for target in statement.targets
            for part in ast.walk(target)
        )
        for statement in node.body
    )


def written(node: ast.AST) -> str:
    """Return code as it is written, in one short line."""
    try:
        text = " ".join(ast.unparse(node).split())
    except (ValueError, RecursionError):
        return ""
    return text if len(text) <= 60 else f"{text[:57]}…"
