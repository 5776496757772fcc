"""Writes the tables of the JSON document into its page: `python -m tests.rehearsal.report.documented`."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
import typing
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django_safemigrations.rehearsal.results import Rehearsal
from tests.docs.markdown import DOCS

PAGE = DOCS / "reference" / "rehearsal-report.md"
BEGINNING = "<!-- written by python -m tests.rehearsal.report.documented -->\n"
SIMPLE = {str: "string", float: "number", int: "integer", bool: "boolean"}


def page() -> str:
    """Return the page with the tables as they should be."""
    return f"{PAGE.read_text().partition(BEGINNING)[0]}{BEGINNING}\n{tables()}"


def tables() -> str:
    """Return a section for each kind of object, the outer ones first."""
    return "\n".join(section(kind) for kind in kinds(Rehearsal))


def kinds(outer: type[Any]) -> list[type[Any]]:
    """Return a kind and all that it holds."""
    found = [outer]
    for hint in typing.get_type_hints(outer).values():
        for part in (hint, *typing.get_args(hint)):
            if dataclasses.is_dataclass(part) and isinstance(part, type):
                found += kinds(part)
    return list(dict.fromkeys(found))


def section(kind: type[Any]) -> str:
    """Return heading, sentence and table of one kind of object."""
    text = inspect.cleandoc(kind.__doc__ or "")
    said = dict(attributes(text.partition("Attributes:\n")[2]))
    hints = typing.get_type_hints(kind)
    rows = [
        f"| `{name}` | {described(hints[name])} | {said[name][0].upper()}{said[name][1:]} |\n"
        for name in (field.name for field in dataclasses.fields(kind))
    ]
    head = "| Key | Type | What |\n|---|---|---|\n"
    return f"### {kind.__name__}\n\n{text.splitlines()[0]}\n\n{head}{''.join(rows)}"


def attributes(text: str) -> Iterator[tuple[str, str]]:
    """Yield the attributes that a docstring names, with what it says of them."""
    for found in re.finditer(r"^    (\w+): ((?:.|\n(?=        ))*)", text, re.MULTILINE):
        yield found[1], " ".join(found[2].split()).replace("``", "`")


def described(hint: Any) -> str:
    """Return a type in the words of JSON."""
    if typing.get_origin(hint) is tuple:
        part = typing.get_args(hint)[0]
        return f"array of {'strings' if part is str else described(part)}"
    if isinstance(hint, types.UnionType):
        return f"{described(typing.get_args(hint)[0])} or null"
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    return "string, ISO 8601" if hint is datetime else SIMPLE.get(hint, "string")


if __name__ == "__main__":
    PAGE.write_text(page())
