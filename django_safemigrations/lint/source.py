"""Where the operations of a migration stand in its file, and which comments stand beside them."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from django_safemigrations.lint.parsing import Stamp, parse, stamp

MARK = "safemigrations:"
ORDERS = {"ignore": False, "ignore-file": True}
"""What a comment can say, and whether it counts for the whole file."""
CONTAINERS = ("SeparateDatabaseAndState", "Expand", "Contract")


@dataclass(frozen=True)
class Place:
    """Lines, counted from 1, that an operation takes in the file."""

    first: int
    last: int


@dataclass(frozen=True)
class Suppression:
    """One comment that hides findings.

    Attributes:
        line: where it stands.
        codes: as written.
        reason: as written; empty if there is none.
        whole_file: whether it counts wherever in the file a finding is.
    """

    line: int
    codes: tuple[str, ...]
    reason: str
    whole_file: bool = False


@dataclass(frozen=True)
class Source:
    """A migration file as text.

    Attributes:
        places: of the operations by their position, such as ``"3"`` and ``"3.0"``.
        class_line: of ``class Migration``; 0 if it isn't in the file.
        suppressions: comments in order.
        comment_lines: lines that hold a comment and nothing else.
        functions: of the module, by name, from their first decorator to their last line.
        names: of functions of the module that an operation is written with, by its position.
        text: all of it.
    """

    places: dict[str, Place]
    class_line: int
    suppressions: tuple[Suppression, ...]
    comment_lines: frozenset[int]
    functions: dict[str, Place] = field(default_factory=dict)
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    text: str = ""


EMPTY = Source({}, 0, (), frozenset())


def has_suppressions(path: str) -> bool:
    """Return whether a file mentions suppressions at all, without parsing it."""
    try:
        return MARK.encode() in Path(path).read_bytes()
    except OSError:
        return False


def read_source(path: str) -> Source:
    """Parse a migration file; a file without readable source has no places."""
    return _read_source(path, stamp(path))


# Kept, since a file with RunPython is parsed when its functions are read, long before the
# findings are placed; a tree would take far more memory than this.
@lru_cache(maxsize=4096)
def _read_source(path: str, _stamp: Stamp) -> Source:
    parsed = parse(path)
    if parsed is None:
        return EMPTY
    text, tree = parsed.text, parsed.tree
    migration = next(
        (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Migration"), None
    )
    suppressions, comment_lines = _comments(text) if MARK in text else ((), frozenset())
    operations = dict(_operation_nodes(migration)) if migration else {}
    functions = dict(_functions(tree))
    return Source(
        places={position: _place(node) for position, node in operations.items()},
        class_line=migration.lineno if migration else 0,
        suppressions=suppressions,
        comment_lines=comment_lines,
        functions=functions,
        names={
            position: tuple(name for name in _names(node) if name in functions)
            for position, node in operations.items()
        }
        if functions
        else {},
        text=text,
    )


def place_of(source: Source, position: str | None) -> Place | None:
    """Return the place of an operation, or of the nearest one around it that is in the file."""
    while position is not None:
        if position in source.places:
            return source.places[position]
        position = position.rpartition(".")[0] if "." in position else None
    return None


def _place(node: ast.expr) -> Place:
    return Place(node.lineno, node.end_lineno or node.lineno)


def _functions(tree: ast.Module) -> Iterator[tuple[str, Place]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            yield node.name, Place(first, node.end_lineno or node.lineno)


def _names(node: ast.expr) -> list[str]:
    return sorted({part.id for part in ast.walk(node) if isinstance(part, ast.Name)})


def _operation_nodes(migration: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    for statement in migration.body:
        value: ast.expr | None = None
        if isinstance(statement, ast.Assign):
            names = [target.id for target in statement.targets if isinstance(target, ast.Name)]
            value = statement.value if "operations" in names else None
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = statement.value if statement.target.id == "operations" else None
        if value is not None:
            yield from _listed(value, "")


def _listed(value: ast.expr, prefix: str) -> Iterator[tuple[str, ast.expr]]:
    elements = _elements(value)
    if elements is None:
        return
    for index, element in enumerate(elements):
        position = f"{prefix}{index}"
        yield position, element
        nested = _database_operations(element)
        if nested is not None:
            yield from _listed(nested, f"{position}.")


def _elements(value: ast.expr) -> list[ast.expr] | None:
    """Return the operations that a list is written with; None if it is computed."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add):
        left, right = _elements(value.left), _elements(value.right)
        return None if left is None or right is None else left + right
    if not isinstance(value, ast.List | ast.Tuple):
        return None
    if any(isinstance(element, ast.Starred) for element in value.elts):
        return None
    return value.elts


def _database_operations(element: ast.expr) -> ast.expr | None:
    if not isinstance(element, ast.Call):
        return None
    for keyword in element.keywords:
        if keyword.arg == "database_operations":
            return keyword.value
    name = getattr(element.func, "attr", getattr(element.func, "id", ""))
    if name in CONTAINERS and element.args:
        return element.args[0]
    return None


def _comments(text: str) -> tuple[tuple[Suppression, ...], frozenset[int]]:
    lines = text.splitlines()
    suppressions = []
    alone = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        row, column = token.start
        if not lines[row - 1][:column].strip():
            alone.add(row)
        for order, whole_file in ORDERS.items():
            parsed = parse_comment(token.string, order)
            if parsed is not None:
                suppressions.append(Suppression(row, *parsed, whole_file))
    return tuple(suppressions), frozenset(alone)


def parse_comment(comment: str, order: str = "ignore") -> tuple[tuple[str, ...], str] | None:
    """Read ``# safemigrations: ignore DSM101, DSM405 -- reason``; None for any other comment."""
    text = comment.lstrip("#").strip()
    if not text.lower().startswith(MARK):
        return None
    ordered, dashes, reason = text[len(MARK) :].strip().partition("--")
    words = ordered.replace(",", " ").split()
    if not words or words[0].lower() != order:
        return None
    return tuple(words[1:]), reason.strip() if dashes else ""
