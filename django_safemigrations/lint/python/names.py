"""What the names of a module stand for: read from its text, made exact by the loaded module."""

from __future__ import annotations

import ast
import functools
import inspect
import sys
from collections.abc import Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any

from django.apps import apps as todays_apps
from django.conf import settings
from django.db import models

from django_safemigrations.lint.python.sources import (
    Unreadable,
    closure_of,
    find_definition,
    is_of_project,
    unwrap,
)
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Apps,
    Connection,
    Constant,
    Function,
    Instance,
    Model,
    Unknown,
    Value,
)

SIMPLE = (str, int, float, bool, bytes, type(None))
COLLECTIONS = (list, tuple, set, frozenset, dict)
SETTINGS = "django.conf.settings."
KNOWN: dict[str, Value] = {
    "django.apps.apps": Apps(historical=False),
    "django.apps.registry.apps": Apps(historical=False),
    "django.db.connection": Connection(given=False),
    "django.db.connections": Connection(given=False),
}
CODE = (FunctionType, functools.partial, staticmethod, classmethod)


class Names:
    """The names of one module.

    Args:
        tree: of its source.
        path: of its file.
        package: dotted name of the package it is in, for relative imports.
        loaded: its namespace, if it is loaded; nothing in it is called.
    """

    def __init__(
        self, tree: ast.Module, path: str, package: str, loaded: Mapping[str, Any] | None
    ) -> None:
        self.tree = tree
        self.path = path
        self.package = package
        self.loaded = loaded
        self._found: dict[str, Value] = {}

    @functools.cached_property
    def imports(self) -> dict[str, str]:
        """Dotted names of what the module's own import statements bind."""
        return dict(
            binding
            for node in _statements(self.tree)
            if isinstance(node, ast.Import | ast.ImportFrom)
            for binding in bindings(node, self.package)
        )

    @functools.cached_property
    def definitions(self) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
        """Functions that the module defines."""
        return {
            node.name: node
            for node in _statements(self.tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }

    @functools.cached_property
    def assignments(self) -> dict[str, ast.expr]:
        """Values that are assigned to names of the module."""
        return {
            target.id: node.value
            for node in _statements(self.tree)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }

    def find(self, name: str) -> Value:
        """Return what a name of the module, or a builtin, stands for."""
        if name not in self._found:
            self._found[name] = self._look_up(name)
        return self._found[name]

    def _look_up(self, name: str) -> Value:
        path = self.imports.get(name, "")
        if self.loaded is not None and name in self.loaded:
            return value_of(self.loaded[name], path or name)
        if path:
            return value_at(path)
        if name in self.definitions:
            return Function(self.definitions[name], self)
        if name in self.assignments:
            return self._assigned(self.assignments[name])
        return Unknown(name)

    def _assigned(self, value: ast.expr) -> Value:
        if isinstance(value, ast.Lambda):
            return Function(value, self)
        try:
            return Constant(ast.literal_eval(value))
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            return UNKNOWN


def _statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those below ``if`` and ``try`` as well."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.If | ast.Try):
            waiting += [*node.body, *node.orelse]


def bindings(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[tuple[str, str]]:
    """Yield the names that an import statement binds, each with what it stands for."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, alias.name
            else:
                first = alias.name.partition(".")[0]
                yield first, first
        return
    base = node.module or ""
    if node.level:
        parts = package.split(".") if package else []
        kept = parts[: len(parts) - node.level + 1]
        base = ".".join([*kept, *([node.module] if node.module else [])])
    for alias in node.names:
        yield alias.asname or alias.name, f"{base}.{alias.name}" if base else alias.name


def value_at(path: str) -> Value:
    """Return what a dotted name stands for, by the modules that are loaded already."""
    if path in KNOWN:
        return KNOWN[path]
    module, _, name = path.rpartition(".")
    if path.startswith(SETTINGS) and settings.configured:
        return value_of(getattr(settings, path.removeprefix(SETTINGS), UNKNOWN), path)
    loaded = sys.modules.get(module)
    if loaded is not None and name in vars(loaded):
        return value_of(vars(loaded)[name], path)
    parts = path.split(".")
    if len(parts) > 2 and "models" in parts[:-1] and name[:1].isupper() and not name.isupper():
        # Not loaded, so by the habits of naming alone.
        return Model(
            parts[parts.index("models") - 1].lower(), name.lower(), historical=False, shown=name
        )
    return Unknown(path)


def value_of(thing: Any, path: str) -> Value:
    """Return what an object that is loaded stands for; it is looked at and never called."""
    if path in KNOWN:
        return KNOWN[path]
    if thing is todays_apps:
        return Apps(historical=False)
    # isinstance() would wake what is lazy, such as the settings: it asks for __class__.
    kind = type(thing)
    if kind in SIMPLE or kind in COLLECTIONS:
        return Constant(thing)
    if issubclass(kind, ModuleType):
        return Unknown(thing.__name__)
    if issubclass(kind, type):
        if issubclass(thing, models.Model) and hasattr(thing, "_meta"):
            meta = thing._meta
            return Model(
                meta.app_label, meta.model_name or "", historical=False, shown=thing.__name__
            )
        if is_own_class(thing):
            return Instance(thing, is_class=True)
        return Unknown(f"{thing.__module__}.{thing.__qualname__}")
    if issubclass(kind, CODE) or inspect.getattr_static(thing, "__wrapped__", None) is not None:
        return function_value(thing) or Unknown(path)
    return Unknown(path)


def is_own_class(cls: type) -> bool:
    """Return whether a class is written in the project."""
    module = sys.modules.get(cls.__module__)
    path = getattr(module, "__file__", None)
    return bool(path) and is_of_project(path or "") and not issubclass(cls, models.Field)


def function_value(thing: Any) -> Function | None:
    """Return a function of the project for reading; None if it is not the project's."""
    try:
        return readable(thing)
    except Unreadable:
        return None


def readable(thing: Any, *, anywhere: bool = False) -> Function:
    """Return a function object's definition with the names that it sees.

    Args:
        thing: a function, or what wraps one.
        anywhere: whether code of installed packages is read as well.

    Raises:
        Unreadable: its source can't be found, or isn't the project's.
    """
    found = unwrap(thing)
    code = found.function.__code__
    if not anywhere and not is_of_project(code.co_filename):
        raise Unreadable("belongs to an installed package")
    node, tree, path = find_definition(code)
    space = found.function.__globals__
    names = Names(tree, path, space.get("__package__") or "", space)
    before = tuple(value_of(value, "") for value in found.before)
    keywords = {name: value_of(value, "") for name, value in found.keywords.items()}
    if found.owner is not None:
        owner = found.owner
        is_class = isinstance(owner, type)
        cls = owner if isinstance(owner, type) else type(owner)
        before = (Instance(cls, is_class=is_class), *before)
    closure = None
    free = dict(closure_of(found.function))
    if free:
        from django_safemigrations.lint.python.scope import Scope

        closure = Scope(names, None, {name: value_of(value, "") for name, value in free.items()})
    return Function(node, names, closure, before, keywords)
