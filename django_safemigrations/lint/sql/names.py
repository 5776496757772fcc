"""Names of tables and types as the state spells them."""

from __future__ import annotations

from collections.abc import Sequence

from django_safemigrations.lint.sql.tree import Node
from django_safemigrations.postgres.type_changes import ALIASES

DEFAULT_SCHEMAS = ("", "public", "pg_catalog")
SERIALS = frozenset({"serial", "bigserial", "smallserial", "serial2", "serial4", "serial8"})


def dotted(parts: Sequence[str]) -> str:
    """Return a name without a schema that needn't be said."""
    *schema, name = parts
    return ".".join([*(part for part in schema if part not in DEFAULT_SCHEMAS), name])


def relation(node: Node | None) -> str:
    """Return the name of a table, view or index that a RangeVar means."""
    if node is None:
        return ""
    return dotted([node.text("schemaname"), node.text("relname")])


def strings(nodes: Sequence[Node]) -> list[str]:
    """Return the words of a list of String nodes."""
    return [node.text("sval") for node in nodes if node.is_a("String")]


def object_name(node: Node) -> str:
    """Return the name of an object of a DROP or ALTER statement."""
    if node.is_a("List"):
        return dotted(strings(node.children("items")) or [""])
    if node.is_a("String"):
        return node.text("sval")
    if node.is_a("RangeVar"):
        return relation(node)
    if node.is_a("TypeName"):
        return dotted(strings(node.children("names")) or [""])
    if node.is_a("ObjectWithArgs"):
        return dotted(strings(node.children("objname")) or [""])
    return ""


def type_text(node: Node | None) -> str:
    """Return a type with its modifiers, such as ``varchar(20)`` or ``integer[]``."""
    if node is None:
        return ""
    name = dotted(strings(node.children("names")) or [""])
    numbers = [
        str(integer.number("ival"))
        for modifier in node.children("typmods")
        if (integer := modifier.child("ival") if modifier.is_a("A_Const") else None) is not None
    ]
    if name == "interval":
        # The first number says which fields there are; the second is the precision.
        numbers = numbers[1:]
    size = f"({', '.join(numbers)})" if numbers else ""
    return f"{ALIASES.get(name, name)}{size}{'[]' * len(node.children('array_bounds'))}"


def is_serial(node: Node | None) -> bool:
    """Return whether a column's type is one of the serials."""
    return node is not None and dotted(strings(node.children("names")) or [""]) in SERIALS


def quoted(name: str) -> str:
    """Return a name as it is written into SQL."""
    return ".".join(
        part if part.isidentifier() and part == part.lower() and part.isascii() else f'"{part}"'
        for part in name.split(".")
    )
