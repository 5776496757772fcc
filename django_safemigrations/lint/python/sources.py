"""Finds the definition of a function object in the text of its module."""

from __future__ import annotations

import ast
import functools
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType, MethodType
from typing import Any

from django_safemigrations.lint.finding import SITE_DIRECTORIES
from django_safemigrations.lint.parsing import parse

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda

STANDARD_LIBRARY = sysconfig.get_path("stdlib")


class Unreadable(Exception):
    """There is no source to read; the message says why, after the function's name."""


@dataclass(frozen=True)
class Found:
    """A function object without its wrappings.

    Attributes:
        function: that has the code.
        before: arguments given ahead by partials, outermost first.
        keywords: the same by name.
        owner: the object that a method is bound to.
    """

    function: FunctionType
    before: tuple[Any, ...] = ()
    keywords: Mapping[str, Any] = field(default_factory=dict)
    owner: object = None


def unwrap(code: Callable[..., Any]) -> Found:
    """Return the plain function behind partials, bound methods, decorators and callable objects.

    Raises:
        Unreadable: there is none.
    """
    before: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    owner: object = None
    target: Any = code
    for _ in range(20):
        if isinstance(target, functools.partial):
            before = (*target.args, *before)
            keywords = {**target.keywords, **keywords}
            target = target.func
        elif isinstance(target, MethodType):
            owner, target = target.__self__, target.__func__
        elif isinstance(target, staticmethod | classmethod) or (
            hasattr(target, "__wrapped__") and callable(target.__wrapped__)
        ):
            target = target.__wrapped__
        elif isinstance(target, FunctionType):
            return Found(target, before, keywords, owner)
        elif isinstance(target, type):
            raise Unreadable("is a class")
        elif isinstance(call := _call_of(type(target)), FunctionType):
            owner, target = target, call
        else:
            break
    raise Unreadable("is not written in Python")


def _call_of(cls: type) -> object:
    """Return the function that runs when an instance is called; None if it has none."""
    return next((vars(c)["__call__"] for c in cls.__mro__ if "__call__" in vars(c)), None)


def find_definition(code: CodeType) -> tuple[FunctionNode, ast.Module, str]:
    """Return the definition that a code object was compiled from, its module and its file.

    Raises:
        Unreadable: the file is not at hand, or not what was compiled.
    """
    path = code.co_filename
    parsed = parse(path)
    if parsed is None:
        raise Unreadable(f"has no source file ({path})")
    tree = parsed.tree
    # Nearly always it is a function of the module, and the whole tree need not be walked.
    fitting = _fitting(tree.body, code) or _fitting(ast.walk(tree), code)
    if len(fitting) > 1:
        fitting = [node for node in fitting if _holds(node, code)] or fitting
    if not fitting:
        raise Unreadable(f"is not found in {path} at line {code.co_firstlineno}")
    return fitting[-1], tree, path


def _fitting(nodes: Iterable[ast.AST], code: CodeType) -> list[FunctionNode]:
    return [
        node
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        and first_line(node) == code.co_firstlineno
        and getattr(node, "name", "<lambda>") == code.co_name
    ]


def first_line(node: FunctionNode) -> int:
    """Return the line that a code object calls its first: that of the first decorator."""
    decorators = getattr(node, "decorator_list", [])
    lines: list[int] = [node.lineno, *(decorator.lineno for decorator in decorators)]
    return min(lines)


def _holds(node: FunctionNode, code: CodeType) -> bool:
    """Return whether the code's instructions lie between the first and last column of a node."""
    places = [p for p in code.co_positions() if p[0] is not None and p[2] is not None and p[3]]
    inner = node.body if isinstance(node, ast.Lambda) else node
    start = (inner.lineno, inner.col_offset)
    end = (inner.end_lineno or 0, inner.end_col_offset or 0)
    return bool(places) and all(
        start <= (p[0] or 0, p[2] or 0) and (p[1] or 0, p[3] or 0) <= end
        for p in places
        if (p[2], p[3]) != (0, 0)
    )


def closure_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the names that a function takes from the functions around it, with their values."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield name, cell.cell_contents
        except ValueError:
            # The cell is still empty: a name that is assigned later.
            continue


def is_of_project(path: str) -> bool:
    """Return whether a file is the user's own: no installed package, nor Python itself."""
    parts = Path(path).parts
    return SITE_DIRECTORIES.isdisjoint(parts) and not path.startswith(STANDARD_LIBRARY)
