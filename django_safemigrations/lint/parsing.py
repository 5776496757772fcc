"""Parses Python files, each once."""

from __future__ import annotations

import ast
import tokenize
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

Stamp = tuple[int, int]
"""When a file was changed, in nanoseconds, and its size."""


@dataclass(frozen=True)
class Parsed:
    """A Python file as text and as a tree."""

    text: str
    tree: ast.Module


def stamp(path: str) -> Stamp:
    """Return what tells a changed file from the one that was read before."""
    try:
        found = Path(path).stat()
    except (OSError, ValueError):
        return 0, 0
    return found.st_mtime_ns, found.st_size


def to_tree(text: str) -> ast.Module:
    """Parse a file's text."""
    return ast.parse(text)


def parse(path: str) -> Parsed | None:
    """Return a file's text and tree; None if it can't be read or isn't Python."""
    return _parse(path, stamp(path))


# Trees are large: a few are kept, since the functions of one file are read one after the other.
@lru_cache(maxsize=32)
def _parse(path: str, _stamp: Stamp) -> Parsed | None:
    if not path.endswith(".py"):
        return None
    try:
        with tokenize.open(path) as file:
            text = file.read()
        return Parsed(text, to_tree(text))
    except (OSError, SyntaxError, ValueError, RecursionError):
        return None
