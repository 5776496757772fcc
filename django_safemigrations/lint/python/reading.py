"""Follows a function statement by statement, as it would run, with values of which little is known.

Both ways of a condition are followed, and the body of a loop once. What is called is followed,
too, as long as it is the project's own code, to a depth of `DEPTH`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from django_safemigrations.lint.python import outside
from django_safemigrations.lint.python.calls import call
from django_safemigrations.lint.python.events import Event, Kind, Loop, LoopKind, Reading
from django_safemigrations.lint.python.expressions import evaluate
from django_safemigrations.lint.python.facts import Facts
from django_safemigrations.lint.python.forms import (
    bind_arguments,
    fills_a_cache,
    generated,
    now_and_then,
    written,
)
from django_safemigrations.lint.python.loops import element, loop_over, resets, skips
from django_safemigrations.lint.python.names import bindings, readable, value_at
from django_safemigrations.lint.python.scope import Scope
from django_safemigrations.lint.python.targets import assign, assign_in_place
from django_safemigrations.lint.python.values import (
    UNKNOWN,
    Apps,
    Constant,
    Editor,
    Extent,
    Function,
    Listing,
    Unknown,
    Value,
)

DEPTH = 8
CALLS = 400
"""How many functions are entered at most; what comes after is not followed."""


@dataclass(frozen=True)
class Frame:
    """A function that is being followed.

    Attributes:
        function: it.
        line: of the call that led here.
        depth: the number of loops around that call.
    """

    function: Function
    line: int
    depth: int = 0


def read(code: Callable[..., Any], facts: Facts, path: str) -> Reading:
    """Read the function that a RunPython runs.

    Args:
        code: the function; it is not called.
        facts: of the models at that place.
        path: of the migration's file.

    Raises:
        Unreadable: its source can't be found.
    """
    function = readable(code, anywhere=True)
    name = getattr(function.node, "name", "lambda")
    reader = Reader(facts, path, name)
    if function.names.path == path:
        reader.reading.line = function.node.lineno
    reader.enter(function, [Apps(historical=True), Editor()], {}, 0)
    return reader.reading


class Reader:
    """What is around the statement that is being followed."""

    def __init__(self, facts: Facts, path: str, name: str) -> None:
        self.facts = facts
        self.path = path
        self.reading = Reading(name)
        self.frames: list[Frame] = []
        self.loops: tuple[Loop, ...] = ()
        self.outside: int | None = None
        self.savepoints = 0
        self.periodic = False
        self.guards = 0
        self.results: list[list[Value]] = []
        self.yields: list[list[Listing]] = []
        self.calls = 0
        self.patched: set[str] = set()
        self.tolerant = 0

    def note(self, kind: Kind, node: ast.AST, **details: Any) -> None:
        """Write down what was seen."""
        if self.tolerant and kind in (Kind.ABSENT, Kind.LACKS):
            # It asks whether something is there, or catches the error.
            return
        line, where = self.place(node)
        loops = details.pop("loops", self.loops)
        outer = self.outside
        details.setdefault("text", written(node))
        details.setdefault("node", node)
        details.setdefault("savepoints", self.savepoints)
        self.reading.events.append(
            Event(
                kind,
                line,
                where,
                loops=loops,
                outside=outer if outer is None else min(outer, len(loops)),
                periodic=self.periodic,
                guarded=self.guards > 0,
                **details,
            )
        )

    def place(self, node: ast.AST) -> tuple[int, str]:
        """Return the line in the migration's file, and the true place if that is elsewhere."""
        line = getattr(node, "lineno", 0)
        if not self.frames or self.frames[-1].function.names.path == self.path:
            return line, ""
        where = f"{Path(self.frames[-1].function.names.path).name}:{line}"
        for frame, inner in zip(reversed(self.frames[:-1]), reversed(self.frames), strict=False):
            if frame.function.names.path == self.path:
                return inner.line, where
        return 0, where

    def enter(
        self,
        function: Function,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Follow a function with arguments, and return what it returns or yields."""
        node = function.node
        if (
            len(self.frames) >= DEPTH
            or self.calls >= CALLS
            or any(frame.function.node is node for frame in self.frames)
        ):
            return UNKNOWN
        self.calls += 1
        scope = Scope(function.names, function.closure)
        given = [*function.before, *arguments]
        bind_arguments(node, scope, given, {**function.keywords, **keywords})
        self.frames.append(Frame(function, line, len(self.loops)))
        self.results.append([])
        self.yields.append([])
        guards, self.guards = self.guards, self.guards
        try:
            if isinstance(node, ast.Lambda):
                self.results[-1].append(evaluate(self, node.body, scope))
            elif self.runs_atomic(node, scope):
                with self.transaction():
                    self.run(node.body, scope)
            else:
                self.run(node.body, scope)
        finally:
            self.guards = guards
            self.frames.pop()
            results, yields = self.results.pop(), self.yields.pop()
        if yields:
            return generated(yields, len(self.loops))
        known = [result for result in results if result not in (UNKNOWN, Constant(None))]
        return known[-1] if known else UNKNOWN

    def runs_atomic(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> bool:
        """Return whether a decorator runs a function in a transaction."""
        return any(is_atomic(decorator, scope, self) for decorator in node.decorator_list)

    def give(self, value: Value) -> None:
        """Note what a generator yields."""
        if not self.frames:
            return
        inside = self.loops[self.frames[-1].depth :]
        each = any(loop.kind in (LoopKind.WHOLE, LoopKind.GROUPS) for loop in inside)
        if each and not self.periodic:
            self.yields[-1].append(Listing(value, Extent.WHOLE))
        else:
            self.yields[-1].append(Listing(value, Extent.PART, turns=True))

    def run(self, body: Sequence[ast.stmt], scope: Scope) -> None:
        """Follow statements one after the other."""
        for statement in body:
            handler = HANDLERS.get(type(statement))
            if handler is not None:
                handler(self, statement, scope)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Follow something inside a transaction of its own."""
        before = self.outside
        if before is None:
            self.outside = len(self.loops)
        self.savepoints += 1
        try:
            yield
        finally:
            self.outside = before
            self.savepoints -= 1

    @contextmanager
    def looping(self, loop: Loop) -> Iterator[None]:
        """Follow the body of a loop."""
        before = self.loops, self.periodic
        self.loops = (*self.loops, loop)
        if loop.kind is LoopKind.WHOLE:
            self.periodic = False
        try:
            yield
        finally:
            self.loops, self.periodic = before

    def iterate(self, node: ast.AST, iterable: Value, body: Sequence[ast.AST]) -> Loop:
        """Return the loop over a value; reading a query is written down."""
        loop = loop_over(self, node, iterable)
        return replace(loop, resets=resets(body), skips=skips(body))

    def for_loop(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        """Follow ``for``."""
        iterable = evaluate(self, node.iter, scope)
        loop = self.iterate(node.iter, iterable, node.body)
        with self.looping(loop):
            assign(self, node.target, element(self, iterable), scope)
            outside.note_resave(self, node, iterable, scope)
            self.run(node.body, scope)
        self.run(node.orelse, scope)

    def while_loop(self, node: ast.While, scope: Scope) -> None:
        """Follow ``while``, as often as nobody knows."""
        loop = Loop(LoopKind.TURNS, node.lineno, resets=resets(node.body), skips=skips(node.body))
        with self.looping(loop):
            evaluate(self, node.test, scope)
            self.run(node.body, scope)
        self.run(node.orelse, scope)

    def condition(self, node: ast.If, scope: Scope) -> None:
        """Follow both ways of ``if``."""
        evaluate(self, node.test, scope)
        before = self.periodic, self.guards
        if now_and_then(node.test) or fills_a_cache(node):
            self.periodic = True
        else:
            self.guards += 1
        self.run(node.body, scope)
        self.periodic, self.guards = before[0], before[1] + 1
        self.run(node.orelse, scope)
        self.guards = before[1]

    def with_block(self, node: ast.With | ast.AsyncWith, scope: Scope) -> None:
        """Follow ``with``."""
        self._with(list(node.items), node, scope)

    def _with(
        self, items: list[ast.withitem], node: ast.With | ast.AsyncWith, scope: Scope
    ) -> None:
        if not items:
            self.run(node.body, scope)
            return
        item, *rest = items
        if is_atomic(item.context_expr, scope, self):
            with self.transaction():
                self._with(rest, node, scope)
            return
        value = evaluate(self, item.context_expr, scope)
        if item.optional_vars is not None:
            assign(self, item.optional_vars, value, scope)
        self._with(rest, node, scope)

    def attempt(self, node: ast.Try, scope: Scope) -> None:
        """Follow ``try``, and what happens to its errors."""
        start, outer = len(self.reading.events), self.savepoints
        expects = outside.expects_absence(node)
        self.tolerant += expects
        self.run(node.body, scope)
        self.tolerant -= expects
        tried = self.reading.events[start:]
        outside.note_swallowed(self, node, tried, scope, outer)
        for handler in node.handlers:
            self.guards += 1
            self.run(handler.body, scope)
            self.guards -= 1
        self.run(node.orelse, scope)
        self.run(node.finalbody, scope)

    def assignment(self, node: ast.Assign, scope: Scope) -> None:
        """Follow ``=``."""
        value = evaluate(self, node.value, scope)
        for target in node.targets:
            assign(self, target, value, scope)

    def annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        """Follow ``name: type = value``."""
        if node.value is not None:
            assign(self, node.target, evaluate(self, node.value, scope), scope)

    def in_place(self, node: ast.AugAssign, scope: Scope) -> None:
        """Follow ``+=`` and its kin."""
        assign_in_place(self, node, evaluate(self, node.value, scope), scope)

    def expression(self, node: ast.Expr, scope: Scope) -> None:
        """Follow an expression for what it does."""
        evaluate(self, node.value, scope)

    def result(self, node: ast.Return, scope: Scope) -> None:
        """Follow ``return``."""
        if node.value is not None:
            self.results[-1].append(evaluate(self, node.value, scope))

    def definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        """Remember a function that is defined inside."""
        scope.bind(node.name, Function(node, scope.names, scope))

    def importing(self, node: ast.Import | ast.ImportFrom, scope: Scope) -> None:
        """Bind what an import inside the function brings, without importing it."""
        for name, path in bindings(node, scope.names.package):
            scope.bind(name, value_at(path))

    def raising(self, node: ast.Raise, scope: Scope) -> None:
        """Follow what is raised."""
        if node.exc is not None:
            evaluate(self, node.exc, scope)

    def testing(self, node: ast.Assert, scope: Scope) -> None:
        """Follow ``assert``."""
        evaluate(self, node.test, scope)

    def call(self, node: ast.Call, value: Value, scope: Scope) -> Value:
        """Follow a call."""
        return call(self, node, value, scope)


def is_atomic(node: ast.expr, scope: Scope, reader: Reader) -> bool:
    """Return whether an expression is ``transaction.atomic``, called or not."""
    target = node.func if isinstance(node, ast.Call) else node
    value = evaluate(reader, target, scope)
    return isinstance(value, Unknown) and value.path in outside.ATOMIC


Handler = Callable[[Reader, Any, Scope], None]

HANDLERS: dict[type[ast.stmt], Handler] = {
    ast.For: Reader.for_loop,
    ast.AsyncFor: Reader.for_loop,
    ast.While: Reader.while_loop,
    ast.If: Reader.condition,
    ast.With: Reader.with_block,
    ast.AsyncWith: Reader.with_block,
    ast.Try: Reader.attempt,
    ast.Assign: Reader.assignment,
    ast.AnnAssign: Reader.annotated,
    ast.AugAssign: Reader.in_place,
    ast.Expr: Reader.expression,
    ast.Return: Reader.result,
    ast.FunctionDef: Reader.definition,
    ast.AsyncFunctionDef: Reader.definition,
    ast.Import: Reader.importing,
    ast.ImportFrom: Reader.importing,
    ast.Raise: Reader.raising,
    ast.Assert: Reader.testing,
}
